"""Every watch of a version that came of a run ends, and says how."""

import json

import pytest
from sqlalchemy import update

from monitor.retraining import watch as watching
from monitor.retraining.deployments import Deployment, note
from monitor.retraining.watch import LOOKS, WATCHED_FOR_MS, Watch
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate
from monitor.store.tables import performance_value, retraining_run
from tests.alerting.factory import START_MS, WINDOW_MS, window
from tests.monitor.training_world import DAY_MS, training

HOUR_MS = 3_600_000


@pytest.fixture
def world(sqlite_url):
    engine = engines.create(sqlite_url)
    schema.upgrade(engine)
    with training(engine, sqlite_url) as made:
        yield made()
    engine.dispose()


def measure(world, version, values, begin=0, model="churn"):
    same = {"model": model, "version": version, "window": "10m", "segment": "", "metric": "recall"}
    figures = {"kind": "realised", "low": None, "high": None, "n": 400, "coverage": 0.5, "computed_at_ms": 0}
    rows = [
        {**same, **figures, "start_ms": START_MS + (begin + at) * WINDOW_MS, "value": value}
        for at, value in enumerate(values)
    ]
    with immediate(world.engine) as connection:
        connection.execute(performance_value.insert(), rows)


def deploy(world, version="2", model="churn", at_ms=None):
    at_ms = world.clock.now_ms() if at_ms is None else at_ms
    with immediate(world.engine) as connection:
        told = Deployment(model, version, at_ms, "api")
        note(connection, world.configuration, told, world.clock.now_ms())


def watch_of(world):
    return Watch(world.configuration, world.engine, world.clock)


def swinging(count):
    return [0.5 + 0.1 * (-1) ** at for at in range(count)]


def state(row):
    return None if row.outcome is None else json.loads(row.outcome)["state"]


def test_after_the_last_look_it_is_said_that_nothing_is_sure(world):
    alert = world.see(window(0, ["score"]))
    world.work()
    world.clock.advance(HOUR_MS)
    deploy(world)
    watch = watch_of(world)
    watch.sweep()
    measure(world, "1", swinging(6))
    measure(world, "2", swinging(LOOKS[-1] - 1), begin=6)
    assert (watch.sweep(), state(world.row())) == (0, "watching")
    measure(world, "2", [0.5], begin=100)
    assert [watch.sweep(), watch.sweep()] == [1, 0]
    assert state(world.row()) == "unclear"
    assert world.told(alert.id)[-1][0].startswith(
        "version 2 does neither better nor worse for sure: recall 0.5"
    )


def test_after_thirty_days_it_is_said_what_is_known_by_then(world):
    alert = world.see(window(0, ["score"]))
    world.work()
    world.clock.advance(HOUR_MS)
    deploy(world)
    watch = watch_of(world)
    watch.sweep()
    world.clock.advance(WATCHED_FOR_MS)
    assert [watch.sweep(), watch.sweep()] == [1, 0]
    assert state(world.row()) == "unclear"
    words = "whether version 2 does better is not known: too few windows of it and of the one before"
    assert world.told(alert.id)[-1][0] == words


def test_a_run_of_which_no_version_came_is_let_go_in_silence(world):
    world.see(window(0, ["score"]))
    world.work()
    world.clock.advance(WATCHED_FOR_MS + DAY_MS)
    deploy(world)
    assert (watch_of(world).sweep(), state(world.row())) == (0, None)


def test_a_version_is_watched_from_when_it_comes(world):
    world.see(window(0, ["score"]))
    world.work()
    deploy(world, at_ms=world.clock.now_ms() + DAY_MS)
    assert (watch_of(world).sweep(), state(world.row())) == (0, None)
    world.clock.advance(DAY_MS)
    assert (watch_of(world).sweep(), state(world.row())) == (1, "watching")


def test_runs_that_are_done_with_leave_room_for_others(world, monkeypatch):
    monkeypatch.setattr(watching, "PORTION", 2)
    for name in "abcde":
        world.see(window(0, ["age"], model=name))
        world.work()
        world.clock.advance(1)
    world.clock.advance(HOUR_MS)
    for name in "abcde":
        deploy(world, model=name)
    with immediate(world.engine) as connection:
        done = update(retraining_run).where(retraining_run.c.model.in_(["a", "b"]))
        connection.execute(done.values(outcome=json.dumps({"state": "better"})))
    assert watch_of(world).sweep() == 3
    assert {row.model for row in world.rows() if state(row) == "watching"} == set("cde")


def test_a_run_that_cannot_be_compared_stops_no_other(world, caplog):
    for name in "ab":
        world.see(window(0, ["age"], model=name))
        world.work()
        world.clock.advance(1)
    world.clock.advance(HOUR_MS)
    for name in "ab":
        deploy(world, model=name)
    with immediate(world.engine) as connection:
        connection.execute(update(retraining_run).where(retraining_run.c.model == "a").values(request="?"))
    watch = watch_of(world)
    assert [watch.sweep(), watch.sweep()] == [1, 0]
    assert {row.model: state(row) for row in world.rows()} == {"a": None, "b": "watching"}
    assert caplog.text.count("cannot be watched") == 1
