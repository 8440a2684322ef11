"""Incidents in the database: grouped, told, silenced, reminded of, decided about; on both databases."""

import threading

import pytest
from sqlalchemy import func, select

from alerting.alert import State, step
from alerting.finding import Kind, instant
from monitor.incidents.actions import NoIncident
from monitor.store import engine as engines
from monitor.store import incidents, schema
from monitor.store.engine import immediate, reading
from monitor.store.queries import incidents as queries
from monitor.store.tables import incident, incident_alert, performance_value
from schemas.errors import UsageError
from tests.alerting.factory import START_MS, WINDOW_MS, window
from tests.monitor.incident_world import HOUR_MS, NOW_MS, World, missing


@pytest.fixture
def make(database_url):
    engine = engines.create(database_url)
    schema.upgrade(engine)
    yield lambda **alerts: World(engine, database_url, **alerts)
    engine.dispose()


@pytest.fixture
def world(make):
    return make()


def test_alerts_that_start_together_are_told_as_one(world):
    drift = world.see(window(0, ["age", "score"]))
    world.see(window(1, [missing(index=1)], kind=Kind.QUALITY))
    late = world.see(window(9, ["f1"], kind=Kind.PERFORMANCE))
    assert world.ids() == [late.id, drift.id]
    assert world.events(drift.id) == [("opened", ["hook"]), ("updated", ["hook"])]
    assert world.messages() == [("hook", "opened"), ("hook", "opened"), ("hook", "updated")]
    notice = world.latest()
    assert (notice.alert.id, notice.change.sequence, notice.members_total) == (drift.id, 2, 2)
    assert [cause.name for cause in notice.causes] == ["age"]


def test_models_with_the_same_cause_are_told_as_one(world):
    first = world.see(window(0, [missing()], kind=Kind.QUALITY, model="a"))
    for name in ("b", "c"):
        world.see(window(0, [missing()], kind=Kind.QUALITY, model=name))
    assert world.ids() == [first.id]
    assert world.latest().alert.summary.endswith("Other models with the same: b v1, c v1.")
    with reading(world.engine) as connection:
        assert [id_ for _, id_ in queries.incident_ids(connection, (), "c", None, 9)] == [first.id]


def test_an_incident_does_not_grow_beyond_what_people_read(world, monkeypatch):
    monkeypatch.setattr(incidents, "MOST_TOGETHER", 3)
    for number in range(7):
        world.see(window(0, ["age"], model=f"m{number}"))
    world.see(window(0, [missing()], kind=Kind.QUALITY, model="m0"))  # of the same model always
    with reading(world.engine) as connection:
        sizes = [len(incidents.alerts_of(connection, id_)) for id_ in world.ids()]
    assert sorted(sizes) == [1, 3, 4]


def test_the_end_of_one_of_two_alerts_is_not_the_end(world):
    drift = world.see(window(0, ["age"]))
    world.see(window(0, [missing()], kind=Kind.QUALITY))
    world.see(*(window(index) for index in (1, 2, 3)))
    with reading(world.engine) as connection:
        assert connection.execute(select(incident.c.state)).scalar_one() == "firing"
    world.see(*(window(index, kind=Kind.QUALITY) for index in (1, 2, 3)))
    assert [change for change, _ in world.events(drift.id)] == ["opened", "updated", "updated", "resolved"]
    with reading(world.engine) as connection:
        row = connection.execute(select(incident)).one()
    assert (row.state, row.closed_at_ms, row.look_at_ms) == ("resolved", START_MS + 4 * WINDOW_MS, None)


def test_who_opens_alerts_at_the_same_time_makes_one_incident(make):
    world = make()
    kinds = [Kind.DRIFT, Kind.QUALITY, Kind.PERFORMANCE, Kind.FAIRNESS]
    barrier, failures = threading.Barrier(len(kinds)), []

    def open_(kind, version):
        barrier.wait()
        try:
            world.see(window(0, [missing()], kind=kind, version=version))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_, args=(kind, str(at))) for at, kind in enumerate(kinds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with reading(world.engine) as connection:
        assert connection.execute(select(func.count()).select_from(incident)).scalar_one() == 1
        assert connection.execute(select(func.count()).select_from(incident_alert)).scalar_one() == 4
        assert connection.execute(select(incident.c.sequence)).scalar_one() == 4
    assert len(world.messages()) == 4


def test_an_alert_from_before_there_were_incidents_goes_on_where_its_messages_are(world):
    from monitor.store import alerts

    made, changes = step(None, window(0, ["age"]), world.configuration.alerts.policy)
    assert made is not None
    with immediate(world.engine) as connection:
        alerts.save(connection, made, changes, NOW_MS)
    world.see(window(1, ["age", "score"]))
    assert world.ids() == [made.id]
    with reading(world.engine) as connection:
        assert [row.sequence for row in queries.events(connection, made.id)] == [2]


# --- what time brings ---------------------------------------------------------------------------------------


def test_what_was_silenced_is_told_when_the_silence_ends(world):
    alert = world.see(window(0, ["age"]))
    assert world.actions.silence(alert.id, "ada", HOUR_MS, "known") == "silenced for 1h"
    world.see(window(1, ["age", "score"]))
    assert world.messages() == [("hook", "opened"), ("hook", "silenced")]
    assert world.pass_time(HOUR_MS - 1) == 0
    assert world.pass_time(1) == 1
    assert world.messages()[2:] == [("hook", "updated")]
    assert world.latest().change.cause == "no longer silenced by ada: known"
    assert world.pass_time(10 * HOUR_MS) == 0


def test_an_incident_that_ends_in_silence_says_so_to_those_who_know(world):
    alert = world.see(window(0, ["age"]))
    world.actions.silence(alert.id, "ada", HOUR_MS)
    world.see(*(window(index) for index in (1, 2, 3)))
    assert world.messages() == [("hook", "opened"), ("hook", "silenced"), ("hook", "resolved")]
    assert world.pass_time(2 * HOUR_MS) == 0


def test_planned_work_holds_back(make):
    begin, end = (instant(at_ms).isoformat() for at_ms in (NOW_MS - HOUR_MS, NOW_MS + HOUR_MS))
    world = make(maintenance=[{"match": {"model": "churn"}, "from": begin, "until": end, "reason": "moving"}])
    alert = world.see(window(0, ["age"]))
    other = world.see(window(0, ["wait"], model="fraud", version="2"))
    assert world.events(alert.id) == [("opened", [])]
    assert world.events(other.id) == [("opened", ["hook"])]
    assert world.pass_time(HOUR_MS) == 1
    assert world.latest().change.cause == "no longer silenced for maintenance: moving"


def test_nobody_answers_so_others_are_told(make):
    route = {"match": {}, "to": ["hook"], "repeat": "4h", "escalate": {"after": "1h", "to": ["boss"]}}
    world = make(routes=[route])
    alert = world.see(window(0, ["score"]))
    assert [world.pass_time(HOUR_MS) for _ in range(6)] == [1, 0, 0, 0, 1, 0]
    assert world.messages() == [
        ("hook", "opened"),
        ("boss", "escalated"),
        ("hook", "escalated"),
        ("boss", "reminded"),
        ("hook", "reminded"),
    ]
    world.actions.acknowledge(alert.id, "ada")
    assert [world.pass_time(HOUR_MS) for _ in range(9)] == [0] * 9


def test_two_who_remind_at_the_same_time_remind_once(make):
    world = make(routes=[{"match": {}, "to": ["hook"], "repeat": "1h"}])
    world.see(window(0, ["score"]))
    world.clock.advance(HOUR_MS)
    found, threads = [], []
    for _ in range(4):
        threads.append(threading.Thread(target=lambda: found.append(world.reminders.sweep())))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 0, 0, 1]
    assert world.messages() == [("hook", "opened"), ("hook", "reminded")]


# --- what people decide -------------------------------------------------------------------------------------


def test_a_decision_is_about_all_alerts_and_told_once(world):
    alert = world.see(window(0, ["age"]))
    world.see(window(0, [missing()], kind=Kind.QUALITY))
    assert world.actions.acknowledge(alert.id, "ada", "on it") == "acknowledged"
    assert world.actions.acknowledge(alert.id, "bob") == "was acknowledged already"
    assert world.actions.comment(alert.id, "ada", " upstream is mended ") == "noted"
    assert world.actions.resolve(alert.id, "ada") == "resolved"
    assert [kind for _, kind in world.messages()] == [
        "opened", "updated", "acknowledged", "commented", "resolved",
    ]  # fmt: skip
    with reading(world.engine) as connection:
        known = incidents.load(connection, alert.id)
        last = queries.events(connection, alert.id)[-1]
    assert {one.state for one in known.alerts} == {State.RESOLVED}
    assert (last.actor, last.cause, last.at_ms) == ("ada", "declared over", NOW_MS)


@pytest.mark.parametrize("act", ["acknowledge", "resolve", "silence", "comment"])
def test_decisions_that_cannot_be_say_why(world, act):
    more = {"silence": (HOUR_MS,), "comment": ("text",)}.get(act, ())
    with pytest.raises(NoIncident, match="there is no incident 'x'"):
        getattr(world.actions, act)("x", "ada", *more)
    alert = world.see(window(0, ["age"]), *(window(index) for index in (1, 2, 3)))
    if act == "comment":
        assert world.actions.comment(alert.id, "ada", "it was the deployment") == "noted"
        with pytest.raises(UsageError, match="needs a text"):
            world.actions.comment(alert.id, "ada", "  ")
        return
    with pytest.raises(UsageError, match="is over already"):
        getattr(world.actions, act)(alert.id, "ada", *more)


def test_what_has_not_fired_needs_no_acknowledging(make):
    world = make(policy={"min_windows": 3})
    alert = world.see(window(0, ["age"]))
    assert world.messages() == []
    with pytest.raises(UsageError, match="is pending"):
        world.actions.acknowledge(alert.id, "ada")
    world.see(window(1, ["age"]), window(2, ["age"]))
    assert world.messages() == [("hook", "opened")]


@pytest.mark.parametrize("span_ms", [0, -1, 91 * 24 * HOUR_MS])
def test_a_silence_has_an_end(world, span_ms):
    alert = world.see(window(0, ["age"]))
    with pytest.raises(UsageError, match="at most 12w6d"):
        world.actions.silence(alert.id, "ada", span_ms)


# --- what it costs ------------------------------------------------------------------------------------------


def measure(world, index, value, kind="realised", n=400, metric="recall"):
    row = {
        "model": "churn", "version": "1", "window": "10m", "start_ms": START_MS + index * WINDOW_MS,
        "segment": "", "kind": kind, "metric": metric, "value": value, "low": value - 0.1,
        "high": value + 0.1, "n": n, "coverage": 0.5 if kind == "realised" else None, "computed_at_ms": 0,
    }  # fmt: skip
    with immediate(world.engine) as connection:
        connection.execute(performance_value.insert(), [row])


def test_an_incident_says_what_it_costs(world):
    measure(world, -2, 0.8, n=100)
    measure(world, -1, 0.6, n=300)
    measure(world, -1, 0.1, metric="accuracy")
    measure(world, 0, 0.3, kind="estimated")
    world.see(window(0, ["age"]))
    notice = world.latest()
    words = "recall is 0.300 (0.200–0.400), estimated without labels; before it was 0.650"
    assert notice.impact.words == words
    measure(world, 1, 0.4)
    measure(world, 2, 0.2, n=5)  # too few labels say nothing: the latest window with enough counts
    world.see(window(1, ["age", "score"]))
    impact = world.latest().impact
    assert (impact.kind, impact.before) == ("realised", pytest.approx(0.65))
