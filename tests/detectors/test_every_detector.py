"""What every detector must do; a new one is found in the catalog and tested here without being named."""

import math
from dataclasses import FrozenInstanceError, asdict, fields, replace

import numpy as np
import pytest

from detectors.base import Detector, Example
from detectors.catalog import build, detectors
from detectors.tensor import IntArray, ReferenceCounts
from schemas.errors import UsageError
from schemas.verdict import Decision, Lane, Verdict

KINDS = detectors()
EXAMPLES = [
    pytest.param(kind, example, id=f"{name}-{number}")
    for name, kind in KINDS.items()
    for number, example in enumerate(kind.examples(), 1)
]
each_detector = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_example = pytest.mark.parametrize(("kind", "example"), EXAMPLES)


def built(kind: type[Detector], example: Example) -> Detector:
    return build(kind.name, example.parameters)


def numbers(verdict: Verdict) -> list[float]:
    """All numbers of a verdict, those inside it too."""
    plain = [verdict.n, verdict.m, verdict.statistic, verdict.threshold, verdict.evidence_log]
    effects = [] if verdict.effects is None else asdict(verdict.effects).values()
    bins = [number for bin in verdict.moved for number in (bin.reference_share, bin.share, bin.psi)]
    return [number for number in (*plain, *effects, *bins) if number is not None]


def hostile_windows(reference: ReferenceCounts) -> dict[str, IntArray]:
    counts, valid = reference.counts, reference.layout.valid
    last = np.argmax(np.cumsum(valid, axis=-1), axis=-1)
    one_bin = np.where(np.arange(counts.shape[-1]) == last[:, None], 1, 0)
    return {
        "empty": np.zeros_like(counts),
        "one row": np.broadcast_to(one_bin, counts.shape).copy(),
        "constant": np.broadcast_to(5_000 * one_bin, counts.shape).copy(),
        "huge": np.broadcast_to(10**8 * valid, counts.shape).copy(),
        "the reference itself": counts.copy(),
    }


def test_there_are_detectors():
    assert KINDS
    assert {kind.name for kind in KINDS.values()} == set(KINDS)


@each_detector
def test_it_has_an_example_and_says_what_it_is(kind):
    assert kind.examples()
    assert kind.__doc__
    assert len(kind.__doc__.split("\n")[0]) > 20


@each_example
def test_configuration_comes_back(kind, example):
    detector = built(kind, example)
    assert isinstance(detector, kind)
    assert build(kind.name, detector.parameters()) == detector
    assert set(example.parameters) <= set(detector.parameters())


@each_detector
def test_parameters_cannot_be_changed(kind):
    detector = kind()
    for field in fields(detector):
        with pytest.raises(FrozenInstanceError):
            setattr(detector, field.name, None)


@each_detector
def test_bad_parameters_are_refused_by_name(kind):
    with pytest.raises(UsageError, match=f"{kind.name}: there is no parameter 'sensitivty'"):
        build(kind.name, {"sensitivty": 1})
    for field in fields(kind):
        with pytest.raises(UsageError, match=f"{kind.name}: {field.name}: "):
            build(kind.name, {field.name: object()})
        if field.type in ("float", "int"):
            for value in (-1, math.nan, math.inf):
                with pytest.raises(UsageError, match=f"{kind.name}: {field.name}: "):
                    build(kind.name, {field.name: value})


@each_example
def test_one_verdict_for_each_segment_and_column_in_order(kind, example):
    reference = example.reference
    verdicts = built(kind, example).judge(reference, example.shifted[0])
    expected = [(segment, column) for segment in reference.segments for column in reference.layout.columns]
    assert [(verdict.segment, verdict.column) for verdict in verdicts] == expected
    for verdict, lane in zip(verdicts, reference.layout.lanes * len(reference.segments), strict=True):
        assert verdict.detector == kind.name
        assert verdict.lane == (Lane.SEGMENTS if verdict.segment else lane)
        assert verdict.threshold_source
        assert bool(verdict.explanation) == (verdict.decision is Decision.DRIFT)
    sums = zip(example.shifted[0].sum(axis=-1).ravel(), reference.counts.sum(axis=-1).ravel(), strict=True)
    assert [(verdict.n, verdict.m) for verdict in verdicts] == list(sums)


@each_example
def test_it_is_deterministic_and_leaves_its_input_alone(kind, example):
    reference, window = example.reference, example.shifted[0]
    before = [array.tobytes() for array in (reference.counts, reference.windows, reference.sd, window)]
    first = built(kind, example).judge(reference, window)
    assert built(kind, example).judge(reference, window) == first
    assert [
        array.tobytes() for array in (reference.counts, reference.windows, reference.sd, window)
    ] == before


@each_example
@pytest.mark.parametrize("situation", ["empty", "one row", "constant", "huge", "the reference itself"])
def test_hostile_windows_give_finite_verdicts(kind, example, situation):
    window = hostile_windows(example.reference)[situation]
    verdicts = built(kind, example).judge(example.reference, window)
    assert np.isfinite([number for verdict in verdicts for number in numbers(verdict)]).all()
    if situation == "empty":
        assert {verdict.decision for verdict in verdicts} == {Decision.NO_DATA}
    if situation == "the reference itself":
        assert {verdict.decision for verdict in verdicts} == {Decision.OK}


@each_example
def test_hostile_references_give_finite_verdicts(kind, example):
    empty = np.zeros_like(example.reference.counts)
    for counts, windows in (
        (empty, example.reference.windows[:0]),
        (example.reference.counts, example.reference.windows[:1]),
    ):
        reference = replace(example.reference, counts=counts, windows=windows)
        verdicts = built(kind, example).judge(reference, example.shifted[0])
        assert np.isfinite([number for verdict in verdicts for number in numbers(verdict)]).all()
        if not counts.any():
            assert {verdict.decision for verdict in verdicts} == {Decision.NO_DATA}


@each_example
def test_windows_of_another_layout_are_refused(kind, example):
    with pytest.raises(UsageError, match="window: shape"):
        built(kind, example).judge(example.reference, example.null[0][:, :, :-1])


@each_example
def test_false_alarms_stay_within_the_declared_rate(kind, example):
    detector = built(kind, example)
    verdicts = [verdict for window in example.null for verdict in detector.judge(example.reference, window)]
    alarms = sum(verdict.decision is Decision.DRIFT for verdict in verdicts)
    assert len(verdicts) >= 500
    assert alarms <= example.false_alarm_rate * len(verdicts)


@each_example
def test_the_planted_shift_is_found_within_the_declared_delay(kind, example):
    detector = built(kind, example)
    column = example.reference.layout.columns.index(example.shifted_column)
    verdicts = [detector.judge(example.reference, window)[column] for window in example.shifted]
    found = [place for place, verdict in enumerate(verdicts, 1) if verdict.decision is Decision.DRIFT]
    assert found
    assert found[0] <= example.delay
    verdict = verdicts[found[0] - 1]
    assert verdict.statistic >= verdict.threshold
    assert example.shifted_column in verdict.explanation
    assert verdict.moved
