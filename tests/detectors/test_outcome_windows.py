"""Outcomes of windows are judged: what is planted is found, what is normal hardly ever; state is bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detectors.base import Detector, Moment
from detectors.catalog import build
from detectors.outcome_reference import OutcomeReference
from detectors.outcome_windows import judge_outcomes, outcome_lanes
from detectors.outcomes import RECORD, Records
from schemas.column import LABEL, LABEL_COVERAGE, LABEL_DELAY, PERFORMANCE_ERROR, PERFORMANCE_LOSS
from schemas.verdict import Decision, Lane, Verdict
from tests.detectors.test_outcome_reference import (
    DAY_MS,
    HOUR_MS,
    START_MS,
    UNLABELLED,
    Rows,
    class_rows,
    delays,
    number_rows,
    reference_of,
)

ROWS, WINDOWS = 400, 30
BUDGET = 1e-4  # of each stream and window
E_DETECTOR = build("edetector", {})


def normal_classes(rng: np.random.Generator, n: int = ROWS, **options: Any) -> Rows:
    """Predictions of classes as in the reference; all labels come within a day."""
    rows = class_rows(rng, n, **options)
    rows.delay_ms = delays(rng, n, options.get("labelled", 0.9), DAY_MS)
    return rows


def normal_numbers(rng: np.random.Generator, n: int = ROWS, **options: Any) -> Rows:
    """Predictions of numbers as in the reference; all labels come within a day."""
    rows = number_rows(rng, n, **options)
    rows.delay_ms = delays(rng, n, options.get("labelled", 0.9), DAY_MS)
    return rows


@pytest.fixture(scope="module")
def of_classes() -> OutcomeReference:
    rng = np.random.default_rng(1)
    return reference_of([normal_classes(rng) for _ in range(WINDOWS)])


@pytest.fixture(scope="module")
def of_numbers() -> OutcomeReference:
    rng = np.random.default_rng(2)
    return reference_of([normal_numbers(rng) for _ in range(WINDOWS)])


def moment(reference: OutcomeReference, index: int, detector: Detector, budget: float = BUDGET) -> Moment:
    """The window so many hours after the reference."""
    streams = len(reference.tensor.segments), len(outcome_lanes(detector, reference))
    start_ms = reference.to_ms + index * HOUR_MS
    return Moment(start_ms, start_ms + HOUR_MS, np.full(streams, budget))


def series(
    reference: OutcomeReference,
    windows: list[Records],
    detector: Detector = E_DETECTOR,
    budget: float = BUDGET,
) -> list[list[Verdict]]:
    """Judge windows one after the other."""
    state, found = b"", []
    for index, records in enumerate(windows):
        step = judge_outcomes(detector, reference, records, state, moment(reference, index, detector, budget))
        state = step.state
        found.append(step.verdicts)
    return found


def alarms(found: list[list[Verdict]]) -> set[tuple[str, str]]:
    """Streams that drifted in any window."""
    return {(v.column, v.segment) for verdicts in found for v in verdicts if v.decision is Decision.DRIFT}


def first_alarm(found: list[list[Verdict]], column: str, segment: str = "") -> int | None:
    """Index of the first window in which a stream drifted."""
    return next(
        (i for i, verdicts in enumerate(found) for v in verdicts
         if (v.column, v.segment, v.decision) == (column, segment, Decision.DRIFT)),
        None,
    )  # fmt: skip


def streams(reference: OutcomeReference, n: int, make, seed: int, **options: Any) -> list[Records]:
    """Records of n windows."""
    rng = np.random.default_rng(seed)
    assert reference.age >= 0
    return [make(rng, **options).records for _ in range(n)]


# --- what is planted is found -------------------------------------------------------------------------------


def test_a_rise_of_the_error_rate_is_found(of_classes: OutcomeReference) -> None:
    found = series(of_classes, streams(of_classes, 5, normal_classes, 3, wrong=0.25))
    assert first_alarm(found, PERFORMANCE_ERROR) in (0, 1)
    (verdict,) = (v for v in found[0] if (v.column, v.segment) == (PERFORMANCE_ERROR, ""))
    assert verdict.lane is Lane.PERFORMANCE
    assert verdict.detector == "rate"
    assert verdict.moved[0].label in ("wrong", "right")


def test_residuals_that_grow_are_found(of_numbers: OutcomeReference) -> None:
    found = series(of_numbers, streams(of_numbers, 6, normal_numbers, 4, sd=8.0))
    assert first_alarm(found, PERFORMANCE_ERROR) in (0, 1)
    assert first_alarm(found, PERFORMANCE_LOSS) is not None


def test_labels_that_stay_away_are_found(of_classes: OutcomeReference) -> None:
    found = series(of_classes, streams(of_classes, 5, normal_classes, 5, labelled=0.6))
    assert first_alarm(found, LABEL_COVERAGE) in (0, 1)
    assert {column for column, _ in alarms(found)} <= {LABEL_COVERAGE}
    none = [normal_classes(np.random.default_rng(6), labelled=0.0).records] * 2
    assert first_alarm(series(of_classes, none), LABEL_COVERAGE) == 0


def test_labels_that_look_otherwise_are_found(of_classes: OutcomeReference) -> None:
    """The predictions follow: the error rate stays what it was."""
    rng = np.random.default_rng(7)
    windows = []
    for _ in range(5):
        rows = normal_classes(rng)
        shift = rng.random(ROWS) < 0.3
        rows.label = np.where(shift, 2, rows.label)
        rows.predicted = np.where(shift, 2, rows.predicted)
        windows.append(rows.records)
    found = series(of_classes, windows)
    assert first_alarm(found, LABEL) in (0, 1)
    assert (PERFORMANCE_ERROR, "") not in alarms(found)


def test_classes_never_seen_are_found(of_classes: OutcomeReference) -> None:
    found = series(of_classes, streams(of_classes, 3, normal_classes, 8, classes=4))
    assert first_alarm(found, LABEL) in (0, 1)


def test_numbers_that_look_otherwise_are_found(of_numbers: OutcomeReference) -> None:
    rng = np.random.default_rng(9)
    windows = []
    for _ in range(4):
        rows = normal_numbers(rng)
        rows.label, rows.predicted = 0.8 * rows.label, 0.8 * rows.label + (rows.predicted - rows.label)
        windows.append(rows.records)
    found = series(of_numbers, windows)
    assert first_alarm(found, LABEL) in (0, 1)
    assert (PERFORMANCE_ERROR, "") not in alarms(found)


def test_labels_that_take_longer_are_found(of_classes: OutcomeReference) -> None:
    rng = np.random.default_rng(10)
    windows = []
    for _ in range(5):
        rows = normal_classes(rng)
        came = rows.delay_ms != UNLABELLED
        rows.delay_ms[came] = np.minimum(2 * rows.delay_ms[came], DAY_MS)
        windows.append(rows.records)
    found = series(of_classes, windows)
    assert first_alarm(found, LABEL_DELAY) in (0, 1)
    assert {column for column, _ in alarms(found)} <= {LABEL_DELAY}


def test_a_segment_alone_is_found(of_classes: OutcomeReference) -> None:
    rng = np.random.default_rng(11)
    windows = []
    for _ in range(8):
        rows = normal_classes(rng)
        spoilt = (rows.segment == 1) & (rng.random(ROWS) < 0.4)
        rows.predicted = np.where(spoilt, (rows.label + 1) % 3, rows.predicted)
        windows.append(rows.records)
    found = series(of_classes, windows)
    assert first_alarm(found, PERFORMANCE_ERROR, "origin=JFK") in (0, 1, 2)
    assert (PERFORMANCE_ERROR, "origin=EWR") not in alarms(found)


# --- what is no cause for alarm -----------------------------------------------------------------------------


@pytest.mark.parametrize("labelled", [0.9, 1.0])
def test_getting_better_is_never_an_alarm(of_classes: OutcomeReference, labelled: float) -> None:
    """Fewer errors, or labels for more of the predictions."""
    found = series(of_classes, streams(of_classes, 40, normal_classes, 12, wrong=0.0, labelled=labelled))
    assert not alarms(found) & {(c, s) for c in (PERFORMANCE_ERROR, LABEL_COVERAGE) for s in
                                of_classes.tensor.segments}  # fmt: skip


def test_smaller_residuals_are_no_errors(of_numbers: OutcomeReference) -> None:
    found = series(of_numbers, streams(of_numbers, 20, normal_numbers, 13, sd=2.0))
    assert PERFORMANCE_ERROR not in {column for column, _ in alarms(found)}


def test_labels_that_come_too_late_to_count_are_missing_labels_only(of_classes: OutcomeReference) -> None:
    """Half of the labels come after the wait, and all of those say that the prediction was wrong."""
    rng = np.random.default_rng(14)
    windows = []
    for _ in range(3):
        rows = normal_classes(rng)
        late = rng.random(ROWS) < 0.5
        rows.delay_ms[late] = DAY_MS + 1
        rows.predicted[late] = (rows.label[late] + 1) % 3
        windows.append(rows.records)
    assert {column for column, _ in alarms(series(of_classes, windows))} == {LABEL_COVERAGE}


def test_windows_without_anything_give_verdicts(of_classes: OutcomeReference) -> None:
    found = series(of_classes, [np.zeros(0, RECORD)] * 3)
    assert alarms(found) == set()
    assert all(v.n == 0 and np.isfinite(v.statistic) for verdicts in found for v in verdicts)


@pytest.mark.parametrize("make", [normal_classes, normal_numbers], ids=["classes", "numbers"])
def test_false_alarms_stay_within_the_budget(make, request: pytest.FixtureRequest) -> None:
    """Six references, each with sixty windows of its own; a budget so large that it is spent."""
    budget, number, windows, spent = 0.004, 0, 60, 0.0
    for seed in range(6):
        rng = np.random.default_rng(100 + seed)
        reference = reference_of([make(rng, 200) for _ in range(WINDOWS)])
        found = series(reference, [make(rng, 200).records for _ in range(windows)], budget=budget)
        number += sum(v.decision is Decision.DRIFT for verdicts in found for v in verdicts)
        spent += sum(v.budget or 0.0 for verdicts in found for v in verdicts)
    assert spent > 10
    assert number <= spent + 3 * spent**0.5


# --- state --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["of_classes", "of_numbers"])
def test_going_on_from_bytes_changes_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    """A process that starts anew before any window, and reads reference and state, says the same."""
    reference: OutcomeReference = request.getfixturevalue(kind)
    make = normal_classes if kind == "of_classes" else normal_numbers
    windows = streams(reference, 5, make, 15) + streams(reference, 3, make, 16, labelled=0.5)
    states, found = [b""], []
    for index, records in enumerate(windows):
        step = judge_outcomes(
            E_DETECTOR, reference, records, states[-1], moment(reference, index, E_DETECTOR)
        )
        states.append(step.state)
        found.append(step.verdicts)
    assert alarms(found)
    assert all(states[1:])
    for index, records in enumerate(windows):
        again = OutcomeReference.from_bytes(reference.to_bytes())
        detector = build("edetector", {})
        step = judge_outcomes(detector, again, records, bytes(states[index]), moment(again, index, detector))
        assert step.verdicts == found[index]
        assert step.state == states[index + 1]


def test_judging_changes_neither_windows_nor_budgets(of_classes: OutcomeReference) -> None:
    (records,) = streams(of_classes, 1, normal_classes, 17)
    before, at = records.copy(), moment(of_classes, 0, E_DETECTOR)
    counts = of_classes.tensor.counts.copy()
    first = judge_outcomes(E_DETECTOR, of_classes, records, b"", at)
    assert judge_outcomes(E_DETECTOR, of_classes, records, b"", at) == first
    np.testing.assert_array_equal(records, before)
    np.testing.assert_array_equal(of_classes.tensor.counts, counts)
    assert (at.budget == BUDGET).all()


def test_verdicts_come_by_segment_and_in_the_order_of_columns(of_classes: OutcomeReference) -> None:
    (verdicts,) = series(of_classes, streams(of_classes, 1, normal_classes, 18))
    columns = of_classes.tensor.layout.columns
    expected = [(segment, column) for segment in of_classes.tensor.segments for column in columns]
    assert [(v.segment, v.column) for v in verdicts if v.column in columns] == expected
    assert len({(v.segment, v.column) for v in verdicts}) == len(verdicts)


def test_a_stream_without_budget_never_alarms(of_classes: OutcomeReference) -> None:
    windows = streams(of_classes, 5, normal_classes, 19, wrong=0.9, labelled=0.3)
    assert alarms(series(of_classes, windows, budget=0.0)) == set()


def test_what_the_verdicts_spend_is_what_was_given(of_classes: OutcomeReference) -> None:
    """In a window in which nothing is open, each stream of its own."""
    at = moment(of_classes, 0, E_DETECTOR)
    budget = np.random.default_rng(20).random(at.budget.shape) / 1_000
    (records,) = streams(of_classes, 1, normal_classes, 21)
    found = judge_outcomes(E_DETECTOR, of_classes, records, b"", replace(at, budget=budget)).verdicts
    columns, segments = of_classes.tensor.layout.columns, of_classes.tensor.segments
    for v in found:
        if v.column in columns:
            assert v.budget == pytest.approx(budget[segments.index(v.segment), columns.index(v.column)])


# --- other detectors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["psi", "js", "chi2"])
def test_other_detectors_judge_all_columns(of_classes: OutcomeReference, name: str) -> None:
    detector = build(name, {})
    windows = streams(of_classes, 2, normal_classes, 22)
    windows += streams(of_classes, 1, normal_classes, 23, wrong=0.7, labelled=0.3)
    found = series(of_classes, windows, detector)
    expected = len(of_classes.tensor.segments) * len(of_classes.tensor.layout.columns)
    assert [len(verdicts) for verdicts in found] == [expected] * 3
    assert {v.detector for verdicts in found for v in verdicts} == {name}
    last = {(v.column, v.segment) for v in found[2] if v.decision is Decision.DRIFT}
    assert {(PERFORMANCE_ERROR, ""), (LABEL_COVERAGE, "")} <= last
    step = judge_outcomes(detector, of_classes, windows[0], b"", moment(of_classes, 0, detector))
    assert step.state == b""
    assert outcome_lanes(detector, of_classes) == of_classes.tensor.layout.lanes
    assert of_classes.starts_ms[0] == START_MS


def test_the_rate_detector_is_one_of_them(of_classes: OutcomeReference) -> None:
    detector = build("rate", {})
    found = series(of_classes, streams(of_classes, 3, normal_classes, 24, wrong=0.4), detector)
    assert first_alarm(found, PERFORMANCE_ERROR) == 0
    assert {column for column, _ in alarms(found)} == {PERFORMANCE_ERROR}
