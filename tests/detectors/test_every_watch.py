"""What every watch of data quality promises, by its own examples; a new one is a new file and held to all."""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Iterable

import numpy as np
import pytest

from detectors.base import Moment
from detectors.profile import Profile
from detectors.quality.base import Watch
from detectors.quality.catalog import find, watches
from detectors.quality.facts import Example, Facts
from detectors.quality.planted import WINDOW_MS
from detectors.quality.watching import judge_quality, streams_of
from detectors.reference import Reference
from schemas.errors import ProfileError
from schemas.verdict import QUALITY_PREFIX, Decision, Lane, Verdict

BUDGET = 1e-4
CASES = [
    pytest.param(watch, example, id=f"{name}-{i}")
    for name, watch in watches().items()
    for i, example in enumerate(watch.examples())
]


def run(
    watch: Watch, reference: Reference, windows: Iterable[Facts], state: bytes = b"", budget: float = BUDGET
) -> tuple[list[list[Verdict]], bytes]:
    """Judge windows after the reference, one after the other."""
    segments = len(reference.binning.groups) if watch.by_segment else 1
    shape = (segments, len(watch.columns(reference)))
    start_ms = reference.to_ms - reference.to_ms % WINDOW_MS
    judged = []
    for facts in windows:
        found = watch.step(
            reference, facts, state, Moment(start_ms, start_ms + WINDOW_MS, np.full(shape, budget))
        )
        state, start_ms = found.state, start_ms + WINDOW_MS
        judged.append(found.verdicts)
    return judged, state


def alarms(judged: list[list[Verdict]]) -> list[tuple[int, Verdict]]:
    return [(i, v) for i, verdicts in enumerate(judged) for v in verdicts if v.decision is Decision.DRIFT]


@pytest.mark.parametrize(("watch", "example"), CASES)
def test_nothing_is_found_where_nothing_is_wrong(watch: Watch, example: Example) -> None:
    judged, _ = run(watch, example.reference, example.null)
    assert alarms(judged) == []


@pytest.mark.parametrize(("watch", "example"), CASES)
def test_the_planted_fault_is_found_in_time_and_explained(watch: Watch, example: Example) -> None:
    judged, _ = run(watch, example.reference, example.shifted)
    mine = [(i, v) for i, v in alarms(judged) if (v.column, v.segment) == (example.column, "")]
    assert mine
    first, verdict = mine[0]
    assert first < example.delay
    assert verdict.explanation.startswith(example.column)
    assert verdict.onset_ms is not None
    assert verdict.onset_ms <= example.reference.to_ms + first * WINDOW_MS


@pytest.mark.parametrize(("watch", "example"), CASES)
def test_an_alarm_is_raised_once_and_settles_when_all_is_well_again(watch: Watch, example: Example) -> None:
    windows = [*example.shifted, *example.null[:8]]
    judged, _ = run(watch, example.reference, windows)
    mine = [i for i, v in alarms(judged) if (v.column, v.segment) == (example.column, "")]
    assert len(mine) == 1
    last = [v for v in judged[-1] if (v.column, v.segment) == (example.column, "")]
    assert [v.decision for v in last] == [Decision.OK]


@pytest.mark.parametrize(("watch", "example"), CASES)
def test_without_a_budget_there_is_no_alarm(watch: Watch, example: Example) -> None:
    judged, _ = run(watch, example.reference, example.shifted, budget=0.0)
    assert alarms(judged) == []


@pytest.mark.parametrize(("watch", "example"), CASES)
def test_verdicts_are_whole_finite_and_of_the_lane_of_quality(watch: Watch, example: Example) -> None:
    judged, _ = run(watch, example.reference, [*example.null[:2], *example.shifted[:2]])
    segments = example.reference.binning.groups if watch.by_segment else ("",)
    streams = [(column, segment) for segment in segments for column in watch.columns(example.reference)]
    for verdicts in judged:
        assert [(v.column, v.segment) for v in verdicts] == streams
        for verdict in verdicts:
            assert verdict.detector == f"{QUALITY_PREFIX}{watch.name}"
            assert verdict.lane is Lane.QUALITY
            assert verdict.budget is not None
            assert verdict.threshold_source
            numbers = (verdict.statistic, verdict.threshold, verdict.budget, verdict.evidence_log or 0.0)
            assert all(math.isfinite(number) for number in numbers)


@pytest.mark.parametrize(("watch", "example"), CASES)
def test_the_same_windows_give_the_same_verdicts_after_a_restart(watch: Watch, example: Example) -> None:
    windows = [*example.null[:3], *example.shifted]
    whole, end = run(watch, example.reference, windows)
    again, same = run(watch, Reference.from_bytes(example.reference.to_bytes()), windows)
    assert (again, same) == (whole, end)


@pytest.mark.parametrize(("watch", "example"), CASES)
def test_a_window_without_rows_gives_verdicts_and_no_alarm(watch: Watch, example: Example) -> None:
    nothing = Facts.of(Profile(example.reference.binning, example.reference.hash))
    judged, _ = run(watch, example.reference, [nothing, nothing])
    assert alarms(judged) == []


def test_all_watches_judge_a_window_together_and_state_goes_round() -> None:
    example = watches()["missing"].examples()[0]
    state, decided = b"", []
    for facts in (*example.null[:2], example.shifted[0]):
        found = judge_quality(example.reference, facts, state, start_ms=0, end_ms=1, budget=BUDGET)
        state = found.state
        assert len(found.verdicts) == streams_of(example.reference)
        decided.append({v.stream for v in found.verdicts if v.decision is Decision.DRIFT})
    assert decided[:2] == [set(), set()]
    assert ("amount", "", "quality.missing") in decided[2]


def test_damaged_state_is_refused() -> None:
    example = watches()["missing"].examples()[0]
    with pytest.raises(ProfileError, match="watches of data quality"):
        judge_quality(example.reference, example.null[0], b"DLQ1junk", start_ms=0, end_ms=1, budget=BUDGET)


def test_two_watches_of_the_same_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(watches()["missing"])
    module = types.ModuleType("twin")
    twin = type("Twin", (kind,), {"__module__": "twin"})
    module.__dict__["Twin"] = twin
    monkeypatch.setitem(sys.modules, "twin", module)
    with pytest.raises(TypeError, match="'missing'"):
        find([sys.modules[kind.__module__], module])
