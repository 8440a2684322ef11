"""From labels to judged outcomes and alerts, through the real ingest, on both databases."""

from __future__ import annotations

import copy
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

import monitor.performance.judge
import monitor.performance.references
from detectors.outcome_reference import COLUMNS
from detectors.outcomes import joined
from monitor.config import Configuration
from monitor.config.alerts import Alerts
from monitor.explain import Explainer
from monitor.judging.budget import window_budget
from monitor.performance import tidying
from monitor.performance.judge import OutcomeJudge
from monitor.performance.outcomes import age_of, wait_ms
from monitor.performance.references import OutcomeReferences
from monitor.store import engine as engines
from monitor.store import ledgers, tables
from monitor.store.engine import immediate, reading
from monitor.store.queries import budget
from schemas.column import LABEL, LABEL_COVERAGE, LABEL_DELAY, PERFORMANCE_ERROR, PERFORMANCE_LOSS
from schemas.verdict import Lane
from tests.monitor.outcome_world import LEARNED, MINUTE_MS, SHAPE, START_MS, WAIT, WINDOW, OutcomeWorld, at


@pytest.fixture
def world(database_url: str) -> Iterator[OutcomeWorld]:
    made = OutcomeWorld(database_url)
    yield made
    made.close()


@pytest.fixture
def learned(world: OutcomeWorld) -> OutcomeWorld:
    """A world with a reference of outcomes, and one window that was judged after it."""
    world.send(0, LEARNED + 17)
    assert world.judged() == [60]
    return world


# --- learning -----------------------------------------------------------------------------------------------


def test_a_reference_is_learned_once_its_labels_had_time_to_come(world: OutcomeWorld) -> None:
    labels = world.predict(0, 80)
    early = [label for label in labels if label["timestamp"] < at(62)]
    world.tell(early)
    world.take_in()
    assert world.sweep() == []
    assert world.rows("SELECT count(*) FROM reference_pointer") == [(1,)]  # that of the events
    assert world.rows("SELECT count(*) FROM outcome_reference") == [(0,)]
    world.beat(LEARNED + WAIT, "ll")  # an instant too early: a minute of lateness is to pass
    assert world.sweep() == []
    assert world.rows("SELECT count(*) FROM outcome_reference") == [(0,)]
    world.beat(LEARNED + WAIT + 1, "ll")
    assert world.sweep() == []
    ((of, n, from_ms, to_ms),) = world.rows(
        "SELECT reference_hash, labels, from_ms, to_ms FROM outcome_reference"
    )
    assert world.rows("SELECT hash FROM reference_pointer") == [(of,)]
    assert (from_ms, to_ms) == (at(0), at(LEARNED))
    ids = {label["event_id"] for label in early}
    assert 380 < n == len([i for i in ids if int(i[1:]) < 60 * 8]) < 480


def test_the_time_of_the_predictions_counts_as_well(world: OutcomeWorld) -> None:
    world.send(0, 62)
    world.beat(300, "ll")
    assert world.sweep() == []
    assert world.rows("SELECT count(*) FROM outcome_reference") == [(0,)]
    world.beat(LEARNED + WAIT + 1, "pp")
    world.sweep()
    assert world.rows("SELECT count(*) FROM outcome_reference") == [(1,)]


def test_too_few_labels_are_asked_for_again(world: OutcomeWorld) -> None:
    labels = world.predict(0, 80, labelled=1.0)
    world.tell(labels[:99])
    world.beat(200)
    assert world.sweep() == []
    assert world.rows("SELECT count(*) FROM outcome_reference") == [(0,)]
    world.tell(labels[99:100])
    world.take_in()
    assert world.judged() == [60, 70]
    assert world.rows("SELECT labels FROM outcome_reference") == [(100,)]


def test_labels_that_came_too_late_are_not_learned_from(world: OutcomeWorld) -> None:
    late = world.predict(0, 30, labelled=1.0, delay=(WAIT * 60 + 1, WAIT * 60 + 60))
    world.tell(late)
    in_time = world.predict(30, 40, labelled=1.0, delay=(WAIT * 60, WAIT * 60 + 1))
    world.tell(in_time)
    world.beat(100)
    world.sweep()
    assert world.rows("SELECT labels FROM outcome_reference") == [(30 * 8,)]


@pytest.mark.parametrize(
    ("wait", "limit"), [("1m", "1m"), ("5m", "5m"), ("6m", "15m"), ("25h", "2d"), ("90d", "90d")]
)
def test_waiting_is_rounded_up_to_a_limit(wait: str, limit: str) -> None:
    settings = Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "memory"},
            "database_url": "sqlite:///unused.db",
            "streams": [{"topic": "pp", "kind": "predictions"}],
            "defaults": {"labels": {"wait": wait, "horizon": "90d"}},
        }
    ).for_model("m")
    minutes = {"1m": 1, "5m": 5, "15m": 15, "2d": 2_880, "90d": 129_600}[limit]
    assert wait_ms(settings) == minutes * MINUTE_MS
    assert age_of(settings) >= 0


def promote(world: OutcomeWorld, from_minute: int, to_minute: int) -> None:
    """Promote another reference of events, of a stretch of the stream."""
    metadata = {"source": "stream", "model": "churn", "version": "1",
                "from_ms": at(from_minute), "to_ms": at(to_minute)}  # fmt: skip
    with immediate(world.engine) as connection:
        known = dict(connection.execute(select(tables.reference)).one()._mapping)
        pointer = dict(connection.execute(select(tables.reference_pointer)).one()._mapping)
        new = {"hash": "a" * 64, "metadata": json.dumps(metadata)}
        connection.execute(insert(tables.reference).values(known | new))
        moved = {"hash": "a" * 64, "revision": pointer["revision"] + 1, "from_ms": at(to_minute)}
        connection.execute(insert(tables.reference_pointer).values(pointer | moved))


def test_another_reference_of_events_has_another_one_of_outcomes(learned: OutcomeWorld) -> None:
    """Until its labels have come the old one holds; then evidence begins anew."""
    promote(learned, 90, 120)
    learned.send(77, 30)
    learned.beat(116)
    judge = learned.outcomes
    assert [(one.due.start_ms - START_MS) // MINUTE_MS for one in judge.sweep()] == [70, 80, 90, 100]
    learned.send(117, 30)
    learned.beat(160)
    assert [(one.due.start_ms - START_MS) // MINUTE_MS for one in judge.sweep()] == [110, 120, 130, 140]
    references = learned.rows("SELECT hash, from_ms, to_ms FROM outcome_reference ORDER BY from_ms")
    assert [row[1:] for row in references] == [(at(0), at(60)), (at(90), at(120))]
    used = learned.rows(
        f"SELECT reference_hash, min(start_ms) FROM judgement WHERE \"window\" = '{SHAPE}' "
        "GROUP BY reference_hash ORDER BY 2"
    )
    assert used == [(references[0][0], at(60)), (references[1][0], at(120))]
    explainer = Explainer(learned.configuration, learned.engine, learned.clock)
    ids = learned.rows(
        f"SELECT id FROM result WHERE \"window\" = '{SHAPE}' AND \"column\" = '{PERFORMANCE_ERROR}'"
    )
    assert len(ids) > 8
    assert all(explainer.explain(str(id_))[1][0].is_identical for (id_,) in ids)


# --- waiting ------------------------------------------------------------------------------------------------


def test_windows_wait_for_their_labels_and_for_each_other(learned: OutcomeWorld) -> None:
    learned.beat(79, "pp")
    learned.beat(85, "ll")
    assert learned.judged() == []  # events have come to 78:00 only
    learned.send(85, 1)
    assert learned.judged() == []  # 84:00 and a bit
    learned.beat(86)
    assert learned.judged() == [70]
    learned.send(110, 2)
    learned.send(92, 2)
    learned.send(81, 2)
    learned.beat(150)
    assert learned.judged() == [80, 90, 110]
    assert learned.sweep() == []
    assert learned.rows(f"SELECT DISTINCT revision FROM judgement WHERE \"window\" = '{SHAPE}'") == [(1,)]


def test_a_window_is_not_judged_before_an_earlier_one(learned: OutcomeWorld) -> None:
    """Even when somebody asks for it: evidence is collected in order of time."""
    learned.send(77, 40)
    judge, reference = learned.outcomes, learned.reference()
    due = [learned.due(70), learned.due(80)]
    assert judge.judge(due[1], reference) is None
    assert {row[0] for row in learned.said()} == {at(60)}
    assert judge.judge(due[0], reference) is not None
    assert judge.judge(due[1], reference) is not None


def test_labels_within_the_wait_make_no_revision_and_later_ones_renew_figures(learned: OutcomeWorld) -> None:
    labels = learned.predict(80, 8, labelled=1.0)
    learned.take_in()
    for part in (labels[:20], labels[20:50]):
        learned.tell(part)
        learned.take_in()
        learned.sweep()
    learned.beat(100)
    assert 80 in learned.judged()
    before, ledger = learned.said(), learned.rows("SELECT * FROM outcome_ledger ORDER BY start_ms")
    assert _figure(learned, 80) == (50, 50 / 64)
    learned.tell(labels[50:], timestamp=at(88 + WAIT))  # later than the wait for each of them
    learned.take_in()
    assert learned.sweep() == []
    assert learned.said() == before
    assert learned.rows("SELECT * FROM outcome_ledger ORDER BY start_ms") == ledger
    assert _figure(learned, 80) == (64, 1.0)
    learned.tell(labels[:1])  # a duplicate
    learned.take_in()
    assert learned.sweep() == []


def _figure(world: OutcomeWorld, minute: int) -> tuple[Any, ...]:
    ((n, coverage),) = world.rows(
        "SELECT n, coverage FROM performance_value WHERE metric = 'accuracy' AND segment = '' "
        f"AND kind = 'realised' AND start_ms = {at(minute)}"
    )
    return n, coverage


def test_figures_are_those_of_the_window(learned: OutcomeWorld) -> None:
    learned.send(80, 10, wrong=0.25, labelled=1.0)
    learned.beat(100)
    learned.sweep()
    found = learned.rows(
        "SELECT segment, value, low, high, n, coverage FROM performance_value "
        f"WHERE metric = 'accuracy' AND kind = 'realised' AND start_ms = {at(80)} ORDER BY segment"
    )
    assert [row[0] for row in found] == ["", "origin=EWR", "origin=JFK"]
    assert [row[4:] for row in found] == [(80, 1.0), (40, 1.0), (40, 1.0)]
    assert found[0][1] == pytest.approx((found[1][1] + found[2][1]) / 2)
    assert all(low <= value <= high for _, value, low, high, _, _ in found)


# --- revisions ----------------------------------------------------------------------------------------------


def test_a_correction_of_a_judged_window_takes_an_alert_back(learned: OutcomeWorld) -> None:
    labels = learned.send(80, 10, wrong=1.0, labelled=1.0)
    learned.beat(96)
    assert learned.judged() == [70, 80]
    assert learned.decision(80, PERFORMANCE_ERROR) == "drift"
    assert learned.alerts() == [("performance", "page", "firing")]
    ledger = learned.rows("SELECT * FROM outcome_ledger ORDER BY start_ms")
    learned.correct(labels, right=False)  # now they are what was predicted
    learned.take_in()
    (again,) = learned.sweep()
    assert (again.due.start_ms, again.revision, again.drifted) == (at(80), 2, ())
    assert again.changes == ("retracted",)
    assert learned.decision(80, PERFORMANCE_ERROR, 2) != "drift"
    assert learned.alerts() == [("performance", "page", "retracted")]
    assert learned.rows("SELECT * FROM outcome_ledger ORDER BY start_ms") == ledger


def test_an_alert_that_a_correction_still_supports_stays(learned: OutcomeWorld) -> None:
    labels = learned.send(80, 10, wrong=1.0, labelled=1.0)
    learned.beat(96)
    learned.sweep()
    learned.correct(labels[:5], right=False)
    learned.take_in()
    (again,) = learned.sweep()
    assert again.revision == 2
    assert learned.decision(80, PERFORMANCE_ERROR, 2) == "drift"
    assert learned.alerts() == [("performance", "page", "firing")]


def test_a_correction_never_raises_an_alert(learned: OutcomeWorld) -> None:
    labels = learned.send(80, 10, wrong=0.0, labelled=1.0)
    learned.beat(96)
    learned.sweep()
    learned.correct(labels, right=False)
    learned.take_in()
    (again,) = learned.sweep()
    assert (again.revision, again.drifted, again.changes) == (2, (), ())
    assert _figure(learned, 80)[0] == 80
    ((value,),) = learned.rows(
        "SELECT value FROM performance_value WHERE metric = 'accuracy' AND segment = '' "
        f"AND kind = 'realised' AND start_ms = {at(80)}"
    )
    assert value == 0.0
    assert learned.alerts() == []
    assert "drift" not in {row[5] for row in learned.said()}


def test_late_predictions_of_a_judged_window_are_a_revision(learned: OutcomeWorld) -> None:
    learned.send(80, 10)
    learned.beat(96)
    learned.sweep()
    learned.send(85, 1)
    (again,) = learned.sweep()
    assert (again.due.start_ms, again.revision) == (at(80), 2)


def test_a_window_that_comes_to_light_behind_the_others_raises_no_alarm(learned: OutcomeWorld) -> None:
    """Nobody knew of it when the ones after it were judged, and evidence goes on from the latest."""
    learned.send(90, 20)
    learned.beat(116)
    assert learned.judged() == [70, 90, 100]
    ledger = learned.rows("SELECT * FROM outcome_ledger ORDER BY start_ms")
    learned.send(80, 10, wrong=1.0, labelled=1.0)
    (late,) = learned.sweep()
    assert (late.due.start_ms, late.revision, late.changes) == (at(80), 1, ())
    assert learned.decision(80, PERFORMANCE_ERROR) != "drift"
    assert learned.rows("SELECT * FROM outcome_ledger ORDER BY start_ms") == ledger
    assert _figure(learned, 80) == (80, 1.0)
    for (id_,) in learned.rows(f"SELECT id FROM result WHERE start_ms = {at(80)} AND \"window\" = '{SHAPE}'"):
        _, (found,) = Explainer(learned.configuration, learned.engine, learned.clock).explain(str(id_))
        assert found.is_identical


# --- alerts -------------------------------------------------------------------------------------------------


def test_performance_is_an_incident_of_its_own(learned: OutcomeWorld) -> None:
    """Beside one of drift, which opens and closes by itself."""
    learned.send(80, 10, wrong=0.9)
    learned.beat(96)
    learned.sweep()
    assert learned.alerts("performance") == [("performance", "page", "firing")]
    assert learned.alerts("drift") == []
    ((summary,),) = learned.rows("SELECT summary FROM alert")
    assert summary.startswith("churn v1: ")
    assert "wrong" in summary
    assert learned.rows("SELECT receiver, state FROM outbox") == [("hook", "waiting")]
    learned.send(100, 10, outputs=lambda rng: ({"prediction": 1}, 1))  # predictions drift, and are right
    learned.beat(118)
    learned.sweep()
    assert learned.alerts("drift") != []
    assert len(learned.alerts("performance")) == 1
    # That all predictions are the same is a fault of its own.
    kinds = {kind for (kind,) in learned.rows("SELECT kind FROM alert")}
    assert kinds == {"drift", "performance", "quality"}


@pytest.mark.parametrize("label", [7.0, None], ids=["constant", "varying"])
def test_numbers_are_judged(world: OutcomeWorld, label: float | None) -> None:
    """Also where all labels are the same."""

    def draw(sd: float) -> Callable[[np.random.Generator], tuple[dict[str, Any], Any]]:
        def outputs(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
            truth = float(rng.normal(50, 9)) if label is None else label
            return {"prediction": truth + float(rng.normal(0, sd))}, truth

        return outputs

    world.send(0, 80, outputs=draw(1.0))
    world.send(80, 20, outputs=draw(3.0))
    world.beat(116)
    assert world.judged() == [60, 70, 80, 90]
    assert [world.decision(minute, PERFORMANCE_ERROR) for minute in (60, 70, 80)] == ["ok", "ok", "drift"]
    assert {row[1] for row in world.said()} >= {PERFORMANCE_ERROR, PERFORMANCE_LOSS, LABEL}
    assert [row[2] for row in world.alerts()] == ["firing"]


def test_labels_that_take_longer_warn(learned: OutcomeWorld) -> None:
    learned.send(80, 20, delay=(200, 299), per_minute=20)
    learned.beat(110)
    learned.sweep()
    assert learned.decision(80, LABEL_DELAY) == "drift"
    assert learned.alerts() == [("quality", "warn", "firing")]


def test_labels_that_stop_are_an_alert(learned: OutcomeWorld) -> None:
    """Predictions go on; the topic of the labels says nothing more."""
    learned.predict(80, 50)
    learned.take_in()
    assert learned.judged() == []  # the labels' time stands still
    learned.idle(2)
    learned.clock.advance(60 * MINUTE_MS)
    learned.predict(130, 1)
    learned.take_in()
    learned.idle(2)
    assert 80 in learned.judged()
    assert learned.decision(80, LABEL_COVERAGE) == "drift"
    assert learned.alerts() == [("quality", "warn", "firing")]
    ((summary,),) = learned.rows("SELECT summary FROM alert WHERE kind = 'performance'")
    assert "label.coverage" in summary


def test_an_incident_ends_after_clean_windows(learned: OutcomeWorld) -> None:
    learned.send(80, 10, wrong=1.0)
    learned.send(90, 70)
    learned.beat(170)
    learned.sweep()
    assert learned.alerts() == [("performance", "page", "resolved")]


# --- models without labels ----------------------------------------------------------------------------------


def test_models_without_labels_are_left_alone(learned: OutcomeWorld) -> None:
    learned.predict(0, 100, model="mute")
    learned.send(80, 20)
    learned.beat(110)
    learned.beat(110, "pp", model="mute")
    assert {one.due.key for one in learned.sweep()} == {("churn", "1")}
    assert learned.rows("SELECT DISTINCT model FROM outcome_reference") == [("churn",)]
    assert learned.rows("SELECT count(*) FROM alert") == [(0,)]


def test_without_a_stream_of_labels_nothing_is_looked_at(learned: OutcomeWorld) -> None:
    learned.send(80, 20)
    configuration = learned.configuration.model_copy(update={"streams": learned.configuration.streams[:1]})
    judge = OutcomeJudge(configuration, *learned.parts)
    assert judge.sweep() == []
    assert learned.judged() == [70, 80]


def test_only_the_models_asked_for_are_judged(learned: OutcomeWorld) -> None:
    learned.send(0, 110, model="other")
    learned.send(80, 30)
    learned.judge.sweep()
    assert {one.due.key[0] for one in learned.outcomes.sweep(["other"])} == {"other"}
    assert {one.due.key[0] for one in learned.outcomes.sweep([])} == set()
    assert {one.due.key[0] for one in learned.outcomes.sweep()} == {"churn"}


# --- the budget ---------------------------------------------------------------------------------------------

share = st.one_of(st.just(0.0), st.floats(0.01, 1.0))


@given(
    lanes=st.fixed_dictionaries({str(lane): share for lane in Lane}).filter(lambda x: sum(x.values()) <= 1.0),
    models=st.integers(1, 7),
    segments=st.integers(1, 5),
    features=st.integers(0, 5),
    window_ms=st.sampled_from([MINUTE_MS, 60 * MINUTE_MS, 86_400_000]),
)
def test_events_and_outcomes_together_cost_what_is_stated(
    lanes, models, segments, features, window_ms
) -> None:
    """Over the streams of all models, as long as each half has a lane with a share."""
    alerts = Alerts.model_validate({"budget": "3 per day", "lanes": lanes})
    of_events = (Lane.PREDICTIONS, Lane.QUALITY, *[Lane.FEATURES] * features)
    of_outcomes = tuple(COLUMNS.values())
    parts = [
        window_budget(alerts, window_ms, models, columns, segments, of_outcomes=is_outcome)
        for columns, is_outcome in ((of_events, False), (of_outcomes, True))
    ]
    stated = alerts.budget.expected_in(window_ms) * sum(lanes.values()) / models
    total = sum(float(part.sum()) for part in parts)
    assert all((part >= 0).all() for part in parts)
    assert total <= stated * (1 + 1e-9)
    halves = [lanes["predictions"], lanes["performance"] + lanes["quality"]]
    if all(halves):
        assert total == pytest.approx(stated)
    alone = window_budget(alerts, window_ms, models, of_events, segments)
    assert float(alone.sum()) <= stated * (1 + 1e-9)


def test_the_ledgers_of_a_window_cost_the_budget_together(learned: OutcomeWorld) -> None:
    learned.send(80, 40)
    learned.beat(140)
    learned.sweep()
    each = learned.configuration.alerts.budget.expected_in(WINDOW * MINUTE_MS)
    query = "SELECT start_ms, spent FROM {} ORDER BY start_ms"
    events, outcomes = (dict(learned.rows(query.format(name))) for name in ("ledger", "outcome_ledger"))
    both = [events[start] + outcomes[start] for start in outcomes]
    assert len(both) == 6
    # The delay of labels is not watched by segment: that part is not spent.
    assert all(0.98 * each < spent <= each * (1 + 1e-9) for spent in both)
    by_lane = dict(
        learned.rows(
            f"SELECT lane, sum(budget) FROM result WHERE \"window\" = '{SHAPE}' AND start_ms = {at(80)} "
            "GROUP BY lane"
        )
    )
    # performance .3, half of quality's .2 and half of the segments' .05
    stated = each * (0.3 + 0.1 + 0.025)
    assert 0.98 * stated < sum(by_lane.values()) <= stated * (1 + 1e-9)
    assert (
        by_lane["performance"] == pytest.approx(by_lane["quality"] * 3, rel=0.01) or by_lane["segments"] > 0
    )
    with reading(learned.engine) as connection:
        (spent,) = budget.spent(connection, START_MS, at(500))
    assert spent.windows == len(events)
    assert spent.spent == pytest.approx(sum(events.values()) + sum(outcomes.values()))


def test_with_scores_and_segments_no_more_is_spent_than_stated(world: OutcomeWorld) -> None:
    def outputs(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
        score = float(rng.random())
        return {"prediction": int(score >= 0.5), "score": score}, int(rng.random() < score)

    world.send(0, 90, outputs=outputs)
    world.sweep()
    each = world.configuration.alerts.budget.expected_in(WINDOW * MINUTE_MS)
    events, outcomes = (
        dict(world.rows(f"SELECT start_ms, spent FROM {name}")) for name in ("ledger", "outcome_ledger")
    )
    assert len(outcomes) == 2
    for start, spent in outcomes.items():
        assert 0.95 * each < spent + events[start] <= each * (1 + 1e-9)


# --- several judges, and judges that die --------------------------------------------------------------------


def test_several_judges_at_once_write_once(world: OutcomeWorld) -> None:
    world.send(0, LEARNED)
    world.send(LEARNED, 60)
    world.send(120, 10, wrong=1.0)
    world.beat(150)
    world.judge.sweep()
    counts: list[int] = []
    judges = [OutcomeJudge(world.configuration, *world.parts) for _ in range(4)]
    threads = [threading.Thread(target=lambda j=judge: counts.append(len(j.sweep()))) for judge in judges]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 4
    world.outcomes.sweep()
    starts = world.rows(f"SELECT start_ms FROM judgement WHERE \"window\" = '{SHAPE}' ORDER BY start_ms")
    assert starts == [(at(minute),) for minute in range(60, 130, 10)]
    assert world.rows("SELECT count(*) FROM outcome_reference") == [(1,)]
    assert world.rows("SELECT count(*) FROM alert WHERE kind = 'performance'") == [(1,)]
    assert world.rows("SELECT count(*) FROM outbox") == [(1,)]


def test_whoever_comes_second_writes_nothing(learned: OutcomeWorld) -> None:
    learned.send(77, 20)
    one, two = learned.outcomes, OutcomeJudge(learned.configuration, *learned.parts)
    due = [learned.due(70), learned.due(80)]
    assert len(two.sweep()) == 2
    before = (
        learned.said(),
        learned.rows("SELECT * FROM outcome_ledger"),
        learned.rows("SELECT * FROM judgement"),
    )
    assert [one.judge(each, learned.reference()) for each in due] == [None, None]
    assert before == (
        learned.said(), learned.rows("SELECT * FROM outcome_ledger"), learned.rows("SELECT * FROM judgement")
    )  # fmt: skip


def test_a_window_that_changes_while_it_is_judged_is_judged_as_it_is_then(
    learned: OutcomeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = learned.send(77, 12)
    learned.beat(96)
    step = OutcomeJudge._step

    def meanwhile(self: OutcomeJudge, due: Any, *rest: Any) -> Any:
        monkeypatch.setattr(OutcomeJudge, "_step", step)
        learned.correct([one for one in labels if one["timestamp"] < at(79)], right=False)
        learned.take_in()
        return step(self, due, *rest)

    monkeypatch.setattr(OutcomeJudge, "_step", meanwhile)
    assert learned.judged() == []  # the first was overtaken, and the second waits for it
    assert learned.judged() == [70, 80]
    assert learned.sweep() == []


class Killed(Exception):  # noqa: N818 - not an error of the service
    """The process ends here."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, nth: int, point: str) -> Iterator[list[int]]:
    """Let a judge die at the n-th write transaction: before it, in the middle, or just after its commit."""
    seen = [0]

    @contextmanager
    def transaction(engine: Any) -> Iterator[Any]:
        seen[0] += 1
        if seen[0] == nth and point == "before":
            raise Killed
        with immediate(engine) as connection:
            yield connection
            if seen[0] == nth and point == "before commit":
                raise Killed
        if seen[0] == nth and point == "after commit":
            raise Killed

    with monkeypatch.context() as patched:
        for module in (monitor.performance.judge, monitor.performance.references):
            patched.setattr(module, "immediate", transaction)
        yield seen


def everything(world: OutcomeWorld) -> list[Any]:
    """What the judges have written, apart from times."""
    return [
        world.said(),
        world.rows(
            "SELECT start_ms, reference_hash, models, spent, alarms, state FROM outcome_ledger "
            "ORDER BY start_ms"
        ),
        world.rows("SELECT start_ms FROM outcome_ledger_head"),
        world.rows("SELECT id, kind, state, summary FROM alert ORDER BY id"),
        world.rows("SELECT id, receiver FROM outbox ORDER BY id"),
        world.rows(
            "SELECT start_ms, touched - judged, revision, digest FROM outcome_window ORDER BY start_ms"
        ),
        world.rows(
            "SELECT start_ms, segment, metric, value, low, high, n FROM performance_value "
            "WHERE kind = 'realised' ORDER BY start_ms, segment, metric"
        ),
    ]


def test_a_judge_that_dies_anywhere_goes_on_as_if_nothing_had_been(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write transactions: of the reference, and then of each of three windows, the second of which drifts."""
    before = OutcomeWorld(f"sqlite:///{tmp_path}/before.db", segments=[])
    before.send(0, 70, per_minute=4)
    before.send(70, 10, wrong=1.0, per_minute=4)
    before.send(80, 10, per_minute=4)
    before.beat(106)
    before.judge.sweep()
    before.close()

    def run(number: int, nth: int, point: str) -> int:
        world = copy.copy(before)
        shutil.copy(tmp_path / "before.db", tmp_path / f"{number}.db")
        world.engine = engines.create(f"sqlite:///{tmp_path}/{number}.db")
        world.parts = (world.engine, *before.parts[1:])
        with dying(monkeypatch, nth, point) as seen:
            if nth:
                with pytest.raises(Killed):
                    OutcomeJudge(world.configuration, *world.parts).sweep()
            else:
                assert len(OutcomeJudge(world.configuration, *world.parts).sweep()) == 3
        OutcomeJudge(world.configuration, *world.parts).sweep()
        found.append(everything(world))
        world.engine.dispose()
        return seen[0]

    found: list[list[Any]] = []
    transactions = run(0, 0, "")
    assert transactions >= 4
    points = [(n, p) for n in range(1, transactions + 1) for p in ("before", "before commit", "after commit")]
    for number, (nth, point) in enumerate(points, 1):
        assert run(number, nth, point) == nth
    assert all(each == found[0] for each in found[1:])
    assert [row[1:3] for row in found[0][3]] == [("performance", "firing")]


def test_when_windows_are_judged_does_not_matter(tmp_path: Any) -> None:
    """A judge that was away, one that looked every few minutes, and a new one each time say the same."""
    found = []
    for number, (every, is_new) in enumerate(((1_000, False), (10, False), (5, True))):
        world = OutcomeWorld(f"sqlite:///{tmp_path}/{number}.db", segments=[])
        for minute in range(0, 120, 5):
            world.send(minute, 5, wrong=0.8 if 80 <= minute < 90 else 0.1, per_minute=5)
            if minute % every == 0 and minute:
                world.sweep()
            if is_new:
                world.outcomes = OutcomeJudge(world.configuration, *world.parts)
        world.beat(140)
        world.sweep()
        found.append(everything(world)[:4])
        world.close()
    assert found[0] == found[1] == found[2]


# --- once more ----------------------------------------------------------------------------------------------


def test_results_come_out_the_same_even_when_states_are_gone(
    learned: OutcomeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "KEPT_STATES", 2)
    monkeypatch.setattr(ledgers, "PINNED_EVERY", 1_000_000)
    for minute in range(80, 140, 20):
        learned.send(minute, 20, wrong=0.35)
        learned.sweep()
    learned.beat(160)
    learned.sweep()
    assert learned.rows("SELECT count(*) FROM outcome_ledger WHERE state IS NULL")[0][0] >= 3
    ids = learned.rows(f'SELECT id, "column" FROM result WHERE "window" = \'{SHAPE}\' ORDER BY id')
    assert len(ids) > 80
    explainer = Explainer(learned.configuration, learned.engine, learned.clock)
    for id_, column in ids:
        if column == PERFORMANCE_ERROR or id_ % 7 == 0:
            _, (found,) = explainer.explain(str(id_))
            assert found.differences == {}, (id_, found)
    ((id_,),) = learned.rows("SELECT id FROM alert")
    alert, shown = explainer.explain(id_)
    assert alert is not None
    assert alert.kind == "performance"
    assert shown
    assert all(one.is_identical and one.stored["window"] == SHAPE for one in shown)
    assert set(shown[0].stored["sources"]) == {"pp", "ll"}


def test_labels_after_the_wait_change_no_result_that_was_stored(learned: OutcomeWorld) -> None:
    labels = learned.send(80, 10)
    learned.beat(96)
    learned.sweep()
    late = [{**one, "timestamp": at(100)} for one in labels[:0]]
    missing = learned.predict(85, 1, labelled=1.0)
    learned.take_in()
    learned.sweep()  # revision 2, of late predictions
    learned.tell(missing, timestamp=at(99))
    learned.tell(late)
    learned.take_in()
    learned.sweep()
    ids = learned.rows(
        f"SELECT id FROM result WHERE start_ms = {at(80)} AND \"window\" = '{SHAPE}' AND revision = 2"
    )
    assert ids
    for (id_,) in ids:
        _, (found,) = Explainer(learned.configuration, learned.engine, learned.clock).explain(str(id_))
        assert found.is_identical


def test_a_reference_is_read_by_its_hash(learned: OutcomeWorld) -> None:
    references = OutcomeReferences(learned.engine, learned.configuration.folder)
    ((hash_,),) = learned.rows("SELECT hash FROM outcome_reference")
    with reading(learned.engine) as connection:
        assert references.get(connection, hash_).hash == hash_
        assert references.of(connection, ("churn", "2")) == ()
        with pytest.raises(Exception, match="there is no reference of outcomes ffff"):
            references.get(connection, "ffff")


def test_labels_sent_again_later_take_no_alert_back(learned: OutcomeWorld) -> None:
    labels = learned.send(80, 10, wrong=1.0, labelled=1.0)
    learned.beat(96)
    learned.sweep()
    learned.correct(labels, right=True, later_ms=30 * MINUTE_MS)  # the same values
    learned.beat(130)
    learned.sweep()
    assert learned.alerts() == [("performance", "page", "firing")]


def test_labels_sent_again_before_judging_are_not_missing(learned: OutcomeWorld) -> None:
    labels = learned.send(80, 10, labelled=1.0)
    learned.correct(labels, right=True, later_ms=12 * MINUTE_MS)
    learned.beat(110)
    learned.sweep()
    assert learned.decision(80, LABEL_COVERAGE) == "ok"


def test_rows_of_judged_slices_are_added_up_and_say_the_same(
    learned: OutcomeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "FEWEST_ROWS", 2)
    for minute in range(80, 90, 2):  # five commits, and labels come later than predictions
        labels = learned.send(minute, 2, labelled=1.0)
        learned.correct(labels, right=True, later_ms=MINUTE_MS)
    query = "SELECT slice_ms, records FROM outcome_slice WHERE slice_ms >= {} AND slice_ms < {}"
    before = learned.rows(query.format(at(80), at(90)))
    learned.beat(116)
    learned.sweep()
    after = learned.rows(query.format(at(80), at(90)))
    assert len(after) < len(before)
    total = [joined([bytes(data) for _, data in rows]).tobytes() for rows in (before, after)]
    assert total[0] == total[1]
    explainer = Explainer(learned.configuration, learned.engine, learned.clock)
    ids = learned.rows(f"SELECT id FROM result WHERE \"window\" = '{SHAPE}' AND start_ms = {at(80)}")
    assert ids
    assert all(explainer.explain(str(id_))[1][0].is_identical for (id_,) in ids)
