"""An incident starts training once, whatever dies and whoever asks; guards and people decide before."""

import random
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event

from alerting.finding import Kind, instant
from alerting.retraining.catalog import targets
from alerting.retraining.guards import Case, Earlier, Standing, rule
from alerting.retraining.options import TargetOptions
from alerting.retraining.run import RunState
from monitor.retraining.decisions import NoRequest
from monitor.retraining.proposals import read_request
from monitor.retraining.retrainer import FOLLOWED_FOR_MS, LEASE_MS, PATIENCE_MS
from monitor.store import engine as engines
from monitor.store import retraining, schema
from monitor.store.engine import immediate
from monitor.store.tables import performance_value
from schemas.errors import Unavailable, UsageError
from schemas.verdict import Lane
from tests.alerting.factory import START_MS, WINDOW_MS, finding, window
from tests.alerting.servers import Answer
from tests.monitor.training_world import DAY_MS, NOW_MS, launched, training


class Killed(BaseException):
    """The process died here."""


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


@pytest.fixture
def world(make):
    return make()


# --- the thin line ------------------------------------------------------------------------------------------


def test_an_incident_starts_one_run_which_is_followed_to_its_end(world):
    alert = world.see(window(0, ["score", finding("age", segment="origin=JFK")]))
    world.see(window(1, ["score", "age"]))
    assert world.row().state == "due"
    assert world.work() == 1
    row = world.row()
    assert (row.state, launched(world.server)) == ("started", 1)
    assert row.run_url.startswith(world.server.address)
    assert world.told(alert.id) == [(f"started by train: {row.run_url}", ["hook"])]
    (run,) = world.server.runs.values()
    conf = run.body["conf"]
    assert (conf["id"], conf["model"], conf["columns"]) == (row.id, "churn", ["score", "age"])
    assert conf["incident"] == {
        "id": alert.id,
        "url": f"https://driftline.example/incidents/{alert.id}",
    }
    assert conf["data"] == {"from": "2026-01-01T10:00:00Z", "to": "2026-01-01T10:10:00Z"}  # what was known
    assert conf["segments"] == ["origin=JFK"]
    world.server.become(RunState.RUNNING)
    assert world.work(20_000) == 1
    assert world.row().state == "started"
    world.server.become(RunState.SUCCEEDED)
    world.work(600_000)
    assert (world.row().state, world.row().finished_at_ms) == ("succeeded", world.clock.now_ms())
    assert world.told(alert.id)[-1][0].startswith(f"run {row.run_id} succeeded")
    assert world.work(DAY_MS) == 0


def test_what_goes_on_asks_for_nothing_more(world):
    world.see(window(0, ["score"]))
    world.work()
    for index in range(1, 6):
        world.see(window(index, ["score", f"column {index}"]))
        world.work(60_000)
    assert (len(world.rows()), launched(world.server)) == (1, 1)


def test_each_model_of_an_incident_is_trained(world):
    for name in ("a", "b"):
        world.see(window(0, ["age"], model=name))
    world.work()
    assert sorted(run.body["conf"]["model"] for run in world.server.runs.values()) == ["a", "b"]


# --- once ---------------------------------------------------------------------------------------------------


ALL = [
    pytest.param(name, at, id=f"{name}-{at}")
    for name, cls in targets().items()
    for at, _ in enumerate(cls.examples())
]


@contextmanager
def dying(monkeypatch, where):
    """Let the process die when it comes to write what became of a run."""

    def die(*_args, **_options):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(retraining, where, die)
        yield


@pytest.mark.parametrize(("name", "at"), ALL)
def test_who_dies_after_the_start_does_not_start_again(make, monkeypatch, name, at):
    world = make(name, at)
    world.see(window(0, ["score"]))
    with dying(monkeypatch, "record_run"), pytest.raises(Killed):
        world.work()
    assert (launched(world.server), world.row().state) == (1, "due")
    assert world.work() == 0  # the lease of the dead
    world.work(LEASE_MS)
    assert launched(world.server) == 1
    certain = world.target.idempotent or world.target.can_find
    assert world.row().state == ("started" if certain else "lost")


@pytest.mark.parametrize(("name", "at"), ALL)
def test_an_answer_that_was_lost_does_not_start_again(make, name, at):
    world = make(name, at)
    world.see(window(0, ["score"]))
    world.server.launch_faults.append(Answer(drop=True, is_kept=True))
    world.work()
    assert launched(world.server) == 1
    assert (world.row().state, world.row().attempts) == ("due", 1)
    for _ in range(3):
        world.work(LEASE_MS)
    assert launched(world.server) == 1
    certain = world.target.idempotent or world.target.can_find
    assert world.row().state == ("started" if certain else "lost")


def test_fifty_kills_start_one_run(make, monkeypatch):
    world, rng = make(), random.Random(5)
    world.see(window(0, ["score"]))
    real = retraining.record_run
    deaths: Counter[str] = Counter()

    def sometimes(*args):
        if deaths["all"] < 50 and rng.random() < 0.9:
            deaths["all"] += 1
            raise Killed
        return real(*args)

    monkeypatch.setattr(retraining, "record_run", sometimes)
    for _ in range(80):
        try:
            world.work(LEASE_MS)
        except Killed:
            continue
    assert deaths["all"] >= 40
    assert (launched(world.server), world.row().state) == (1, "started")


def test_a_database_that_is_away_loses_no_run(world, monkeypatch):
    world.see(window(0, ["score"]))

    def away(*_args):
        msg = "gone"
        raise Unavailable(msg)

    with monkeypatch.context() as patched:
        patched.setattr(retraining, "record_run", away)
        with pytest.raises(Unavailable):
            world.work()
    world.work(LEASE_MS)
    assert (launched(world.server), world.row().state) == (1, "started")


def test_a_target_that_is_down_is_tried_again_and_given_up_after_days(world):
    alert = world.see(window(0, ["score"]))
    for _ in range(400):
        world.server.launch_faults.append(Answer(503, {}))
        world.work(3_600_000)
        if world.row().state != "due":
            break
    row = world.row()
    assert (row.state, launched(world.server)) == ("failed", 0)
    assert row.finished_at_ms - row.created_at_ms > PATIENCE_MS
    assert world.told(alert.id)[0][0].startswith("failed: given up after three days: ")
    assert world.decisions.retry(row.id, "ada") == "will be started again"
    world.server.launch_faults.clear()
    world.work()
    assert (world.row().state, launched(world.server)) == ("started", 1)


def test_a_target_that_refuses_is_not_asked_again(world):
    world.see(window(0, ["score"]))
    world.server.has_pipeline = False
    world.work()
    assert (world.row().state, world.work(DAY_MS)) == ("failed", 0)
    assert "404" in world.row().reason


def test_a_run_that_never_ends_is_let_go(world):
    world.see(window(0, ["score"]))
    world.work()
    world.server.become(RunState.RUNNING)
    world.work(FOLLOWED_FOR_MS + 1)
    assert (world.row().state, world.row().reason) == (
        "lost",
        "it was followed for two weeks and has not ended",
    )


# --- guards -------------------------------------------------------------------------------------------------


def options(**changes):
    return TargetOptions.model_validate({"type": "airflow", **changes})


def case(*earlier, lanes=(Lane.PERFORMANCE,), labels=0, now_ms=30 * DAY_MS, by_person=False):
    return Case(lanes, labels, earlier, now_ms, by_person)


@pytest.mark.parametrize(
    ("guards", "at_hand", "reason"),
    [
        ({}, case(lanes=(Lane.QUALITY,)), "no finding is of a kind that may start training"),
        ({"min_labels": 10}, case(labels=9), "9 of the 10 labels"),
        (
            {"cooldown": "2d"},
            case(Earlier(Standing.SUCCEEDED, 29 * DAY_MS)),
            "the cooldown of 2d goes on for 1d",
        ),
        ({"cooldown": "1h"}, case(Earlier(Standing.STARTED, 20 * DAY_MS)), "still under way"),
        (
            {"cooldown": "1h", "max_per_week": 2},
            case(Earlier(Standing.FAILED, 28 * DAY_MS), Earlier(Standing.SUCCEEDED, 24 * DAY_MS)),
            "2 runs were started within a week, 2 are allowed",
        ),
    ],
)
def test_guards_say_why_nothing_is_started(guards, at_hand, reason):
    found = rule(options(**guards), at_hand)
    assert found.standing is Standing.REFUSED
    assert reason in found.reason


@pytest.mark.parametrize(
    ("guards", "at_hand", "standing"),
    [
        ({}, case(), Standing.DUE),
        ({"evidence": ["quality"]}, case(lanes=(Lane.QUALITY,)), Standing.DUE),
        ({"cooldown": "1d"}, case(Earlier(Standing.SUCCEEDED, 29 * DAY_MS)), Standing.DUE),
        (
            {},
            case(Earlier(Standing.REJECTED, 30 * DAY_MS), Earlier(Standing.DRY_RUN, 30 * DAY_MS)),
            Standing.DUE,
        ),
        ({"one_in_flight": False, "cooldown": "0s"}, case(Earlier(Standing.STARTED, 9)), Standing.DUE),
        ({"approval": "manual"}, case(), Standing.PROPOSED),
        ({"approval": "manual"}, case(by_person=True), Standing.DUE),
        ({"approval": "manual", "dry_run": True}, case(), Standing.DRY_RUN),
        ({}, case(lanes=(), by_person=True), Standing.DUE),
    ],
)
def test_guards_let_through_what_they_should(guards, at_hand, standing):
    assert rule(options(**guards), at_hand).standing is standing


def test_what_a_guard_refused_is_looked_at_again_when_the_incident_goes_on(make):
    world = make(min_labels=500)
    world.see(window(0, ["score"]))
    assert (world.row().state, world.work()) == ("refused", 0)
    row = {
        "model": "churn", "version": "1", "window": "10m", "start_ms": START_MS, "segment": "",
        "kind": "realised", "metric": "f1", "value": 0.5, "n": 600, "computed_at_ms": 0,
    }  # fmt: skip
    with immediate(world.engine) as connection:
        connection.execute(performance_value.insert(), [row, {**row, "metric": "recall"}])
    world.see(window(1, ["score", "age"]))
    assert world.row().state == "due"
    world.work()
    assert launched(world.server) == 1


def test_data_that_is_broken_is_not_learned(world):
    words = "12 % missing"
    broken = finding(
        "age", lane=Lane.QUALITY, psi=None, moved=(), explanation=words, detector="quality.missing"
    )
    world.see(window(0, [broken], kind=Kind.QUALITY))
    assert world.row().state == "refused"


def test_a_second_incident_waits_for_the_first_run(world):
    world.see(window(0, ["score"]), window(1), window(2), window(3))
    world.work()
    world.see(window(20, ["score"]))
    first, second = world.rows()
    assert (first.state, second.state) == ("started", "refused")
    assert "still under way" in second.reason


def test_a_dry_run_only_says_what_it_would_do(make):
    world = make(dry_run=True)
    world.see(window(0, ["score"]))
    assert (world.row().state, world.work(DAY_MS), launched(world.server)) == ("dry_run", 0, 0)


def test_planned_work_and_silences_start_nothing(make):
    world = make()
    alert = world.see(window(0, [finding("age", lane=Lane.QUALITY)], kind=Kind.QUALITY))
    world.actions.silence(alert.id, "ada", DAY_MS)
    world.see(window(0, ["score"]))
    assert world.row().state == "refused"
    assert world.row().reason.startswith("no finding is of a kind")


# --- people -------------------------------------------------------------------------------------------------


def test_a_person_approves(make):
    world = make(approval="manual")
    alert = world.see(window(0, ["score"]))
    assert (world.row().state, world.work()) == ("proposed", 0)
    world.see(window(1, ["score", "wait"]), window(2, ["score", "age"]))
    assert read_request(world.row().request).columns == ("score", "age", "wait")
    assert world.decisions.approve(world.row().id, "ada", "looks real") == "approved"
    with pytest.raises(UsageError, match="is due"):
        world.decisions.approve(world.row().id, "bob")
    world.work()
    assert launched(world.server) == 1
    assert next(words for words, _ in world.told(alert.id)) == "approved by ada: looks real"


def test_a_person_rejects(make):
    world = make(approval="manual")
    world.see(window(0, ["score"]))
    assert world.decisions.reject(world.row().id, "ada") == "rejected"
    assert (world.work(), world.row().actor) == (0, "ada")
    with pytest.raises(UsageError, match="is rejected"):
        world.decisions.approve(world.row().id, "ada")


def test_what_is_being_started_cannot_be_rejected(world):
    world.see(window(0, ["score"]))
    world.server.launch_faults.append(Answer(503, {}))
    world.work()
    with pytest.raises(UsageError, match="is being started"):
        world.decisions.reject(world.row().id, "ada")


def test_a_person_asks_whatever_the_evidence(world):
    broken = finding("age", lane=Lane.QUALITY, psi=None, moved=(), detector="quality.missing")
    alert = world.see(window(0, [broken], kind=Kind.QUALITY))
    found = world.decisions.ask(alert.id, "train", "churn", "ada", "mended upstream")
    assert found.standing is Standing.DUE
    assert (world.row().trigger, world.row().actor) == ("person", "ada")
    world.work()
    assert launched(world.server) == 1
    with pytest.raises(UsageError, match="has asked train for a run already"):
        world.decisions.ask(alert.id, "train", "churn", "ada")
    with pytest.raises(UsageError, match="use one of: train"):
        world.decisions.ask(alert.id, "hook", "churn", "ada")
    with pytest.raises(UsageError, match="no incident"):
        world.decisions.ask("x", "train", "churn", "ada")
    with pytest.raises(NoRequest):
        world.decisions.approve("x", "ada")


def test_an_incident_that_is_taken_back_takes_its_proposal_with_it(make):
    world = make(approval="manual")
    world.see(window(0, ["score"]), window(0, revision=2))
    assert (world.row().state, world.row().reason) == (
        "rejected",
        "the incident was retracted before it was started",
    )


def test_a_pipeline_may_say_itself_how_it_ended(make):
    world = make("argo_events")
    alert = world.see(window(0, ["score"]))
    world.work()
    assert world.row().state == "started"
    id_ = world.row().id
    assert world.decisions.report(id_, RunState.RUNNING, "https://argo.example/w/1") == "started"
    assert world.decisions.report(id_, RunState.FAILED, detail="no data") == "failed"
    assert (world.row().run_url, world.row().state) == ("https://argo.example/w/1", "failed")
    assert world.told(alert.id)[-1][0] == "the pipeline says: failed (no data)"
    with pytest.raises(UsageError, match="is failed"):
        world.decisions.report(id_, RunState.SUCCEEDED)


def test_a_target_that_does_not_tell_does_not_block_for_ever(make):
    world = make("argo_events", cooldown="1d")
    world.see(window(0, ["score"]))
    world.work()
    assert world.work(DAY_MS - 1) == 0
    world.work(1)
    assert (world.row().state, world.row().reason) == ("lost", "the target does not tell how the run ended")


def test_requests_survive_the_ledger(world):
    world.see(window(0, ["score", "age"]))
    request = read_request(world.row().request)
    assert (request.id, request.model) == (world.row().id, "churn")
    assert request.requested_at == instant(NOW_MS)
    assert request.data_to - request.data_from >= timedelta(milliseconds=WINDOW_MS)
