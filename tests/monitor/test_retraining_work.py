"""What is worked on at the same time, fails as nobody has foreseen, or speaks for itself, is started once."""

import random

import pytest
from sqlalchemy import event, update

from alerting.retraining.run import RunState
from monitor.retraining.retrainer import FOLLOWED_FOR_MS, LEASE_MS, Retrainer
from monitor.store import engine as engines
from monitor.store import retraining, schema
from monitor.store.engine import immediate, reading
from monitor.store.tables import incident, retraining_run
from schemas.errors import RetryLater, UsageError
from tests.alerting.factory import window
from tests.alerting.servers import Answer
from tests.monitor.training_world import DAY_MS, launched, training


@pytest.fixture
def engine(sqlite_url):
    made = engines.create(sqlite_url)
    event.listen(made, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    schema.upgrade(made)
    yield made
    made.dispose()


@pytest.fixture
def make(engine, sqlite_url):
    with training(engine, sqlite_url) as made:
        yield made


def another(world):
    """A second process on the same ledger."""
    parts = (world.clock, random.Random(2), world.telemetry)
    return Retrainer(world.configuration, world.engine, {"train": world.target}, *parts)


def around_start(world, monkeypatch, before=None, after=None):
    """Let something happen before and after each start."""
    start = world.target.start

    def surrounded(request):
        if before:
            before(request)
        run = start(request)
        if after:
            after(request)
        return run

    monkeypatch.setattr(world.target, "start", surrounded)


def states(world):
    return {row.model: row.state for row in world.rows()}


# --- at the same time ---------------------------------------------------------------------------------------


def test_what_the_lease_is_too_short_for_is_given_back_untried(make, monkeypatch):
    world = make("argo_events")
    other = another(world)
    for name in ("a", "b"):
        world.see(window(0, ["age"], model=name))
    started = []

    def slow(request):
        started.append(request.model)
        world.clock.advance(100_000)
        if len(started) == 2:
            other.work()  # looks whether a lease has run out

    around_start(world, monkeypatch, after=slow)
    while world.work():
        pass
    assert sorted(started) == ["a", "b"]
    assert states(world) == {"a": "started", "b": "started"}
    assert [row.attempts for row in world.rows()] == [1, 1]


def test_a_rejection_loses_against_a_start_that_came_between(make, monkeypatch):
    world = make()
    world.see(window(0, ["score"]))
    get = retraining.get

    def claimed_meanwhile(connection, id_):
        row = get(connection, id_)
        retraining.claim(connection, ["train"], world.clock.now_ms(), world.clock.now_ms() + 1, "t", 1)
        return row

    monkeypatch.setattr(retraining, "get", claimed_meanwhile)
    with pytest.raises(UsageError, match="is being started"):
        world.decisions.reject(world.row().id, "ada")


# --- what nobody has foreseen -------------------------------------------------------------------------------


def test_a_bug_in_a_target_is_logged_without_its_text_and_stops_no_other(make, monkeypatch, caplog):
    world = make()
    for name in ("a", "b"):
        world.see(window(0, ["age"], model=name))
    secret = "Bearer 1"

    def broken(request):
        if request.model == "a":
            raise KeyError(secret)

    around_start(world, monkeypatch, before=broken)
    world.work()
    assert states(world) == {"a": "due", "b": "started"}
    failed = next(row for row in world.rows() if row.model == "a")
    assert failed.last_error == "unexpected KeyError, see the log"
    assert "KeyError" in caplog.text
    assert secret not in caplog.text


def test_a_request_that_cannot_be_read_stops_no_other(make):
    world = make()
    for name in ("a", "b"):
        world.see(window(0, ["age"], model=name))
    with immediate(world.engine) as connection:
        of_a = update(retraining_run).where(retraining_run.c.model == "a")
        connection.execute(of_a.values(request="{}"))
    world.work()
    assert states(world) == {"a": "due", "b": "started"}
    world.work(4 * DAY_MS)
    assert states(world)["a"] == "failed"


def test_an_incident_that_cannot_be_read_loses_no_run(make, caplog):
    world = make("argo_events")
    world.see(window(0, ["score"]))
    with immediate(world.engine) as connection:
        connection.execute(update(incident).values(record_bytes=b"?"))
    world.work()
    assert (world.row().state, launched(world.server)) == ("started", 1)
    assert "cannot be told of its run" in caplog.text


def test_a_run_whose_target_is_away_for_good_is_let_go(make):
    world = make()
    world.see(window(0, ["score"]))
    world.work()

    def away(run):
        msg = "no answer"
        raise RetryLater(msg)

    world.target.follow = away
    world.work(DAY_MS)
    assert world.row().state == "started"
    world.work(FOLLOWED_FOR_MS)
    row = world.row()
    assert (row.state, row.reason) == ("lost", "it was followed for two weeks, at last in vain: no answer")


# --- a run that speaks for itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["argo_events", "airflow"])
def test_a_run_that_ends_before_its_start_is_noted_has_ended(make, monkeypatch, name):
    world = make(name)
    alert = world.see(window(0, ["score"]))
    id_ = world.row().id
    around_start(world, monkeypatch, after=lambda _: world.decisions.report(id_, RunState.SUCCEEDED))
    world.work()
    for _ in range(3):
        world.work(2 * DAY_MS)
    row = world.row()
    assert (row.state, row.reason) == ("succeeded", "the pipeline says: succeeded")
    assert row.started_at_ms is not None, "or nobody would watch the version that comes of it"
    assert row.run_id
    assert world.told(alert.id)[-1][0] == "the pipeline says: succeeded"


def test_a_run_that_ends_while_its_target_still_says_otherwise_has_ended(make, monkeypatch):
    world = make()
    world.see(window(0, ["score"]))
    world.work()
    world.server.become(RunState.RUNNING)
    follow = world.target.follow

    def told(run):
        found = follow(run)
        world.decisions.report(world.row().id, RunState.FAILED)
        return found

    monkeypatch.setattr(world.target, "follow", told)
    world.work(DAY_MS)
    assert world.row().state == "failed"
    assert world.work(LEASE_MS) == 0


def test_what_was_never_started_cannot_have_ended(make):
    world = make()
    world.see(window(0, ["score"]))
    with pytest.raises(UsageError, match="is not started yet"):
        world.decisions.report(world.row().id, RunState.SUCCEEDED)
    world.work()
    assert (world.row().state, launched(world.server)) == ("started", 1)


def test_a_run_that_was_lost_and_says_that_it_runs_is_believed(make):
    world = make("argo_events", cooldown="1d")
    world.see(window(0, ["score"]))
    world.work()
    world.work(DAY_MS)
    assert world.row().state == "lost"
    world.decisions.report(world.row().id, RunState.RUNNING)
    world.work(DAY_MS - 1)
    assert world.row().state == "started"
    world.decisions.report(world.row().id, RunState.SUCCEEDED)
    assert world.row().state == "succeeded"


def test_a_run_that_only_told_itself_that_it_runs_is_found_and_followed(make):
    world = make("airflow", cooldown="1h")
    world.see(window(0, ["score"]))
    world.server.launch_faults.append(Answer(drop=True, is_kept=True))
    world.work()
    assert world.row().state == "due"
    world.decisions.report(world.row().id, RunState.RUNNING)
    world.server.become(RunState.SUCCEEDED)
    world.work(2 * 3_600_000)
    assert (launched(world.server), world.row().state) == (1, "succeeded")
    with reading(world.engine) as connection:
        assert retraining.get(connection, world.row().id).run_id
