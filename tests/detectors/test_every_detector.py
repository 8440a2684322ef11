"""What every detector must do; a new one is found in the catalog and tested here without being named."""

import math
from dataclasses import FrozenInstanceError, asdict, fields, replace

import numpy as np
import pytest

from detectors.base import Detector, Example, Moment, Step
from detectors.catalog import build, detectors, parameter_types
from detectors.tensor import IntArray, ReferenceCounts
from schemas.errors import UsageError
from schemas.verdict import Decision, Lane, Verdict

KINDS = detectors()
EXAMPLES = [
    pytest.param(kind, example, id=f"{name}-{number}")
    for name, kind in KINDS.items()
    for number, example in enumerate(kind.examples(), 1)
]
STEPPED: dict[int, list[Step]] = {}  # the examples live as long as this module, hence their ids name them
each_detector = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_example = pytest.mark.parametrize(("kind", "example"), EXAMPLES)


def built(kind: type[Detector], example: Example) -> Detector:
    return build(kind.name, example.parameters)


def moment(reference: ReferenceCounts, number: int) -> Moment:
    """The window of that number after the reference, with the budget of a single window."""
    start_ms = int(reference.starts_ms[-1]) + (number + 1) * reference.window_ms
    budget = np.full(reference.counts.shape[:2], 1e-4)
    return Moment(start_ms, start_ms + reference.window_ms, budget)


def stepped(kind: type[Detector], example: Example) -> list[Step]:
    """Steps over the null windows and then the shifted ones, by one detector."""
    if id(example) not in STEPPED:
        detector, state, steps = built(kind, example), b"", []
        for number, window in enumerate([*example.null, *example.shifted]):
            steps.append(detector.step(example.reference, window, state, moment(example.reference, number)))
            state = steps[-1].state
        STEPPED[id(example)] = steps
    return STEPPED[id(example)]


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
        starts = example.reference.starts_ms[: len(windows)]
        reference = replace(example.reference, counts=counts, windows=windows, starts_ms=starts)
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
def test_steps_raise_no_more_false_alarms_than_declared(kind, example):
    steps = stepped(kind, example)[: len(example.null)]
    verdicts = [verdict for step in steps for verdict in step.verdicts]
    alarms = sum(verdict.decision is Decision.DRIFT for verdict in verdicts)
    assert len(verdicts) >= 500
    assert alarms <= example.false_alarm_rate * len(verdicts)


@each_example
def test_the_planted_shift_is_found_within_the_declared_delay(kind, example):
    column = example.reference.layout.columns.index(example.shifted_column)
    verdicts = [step.verdicts[column] for step in stepped(kind, example)[len(example.null) :]]
    found = [place for place, verdict in enumerate(verdicts, 1) if verdict.decision is Decision.DRIFT]
    assert found
    assert found[0] <= example.delay
    verdict = verdicts[found[0] - 1]
    assert verdict.statistic >= verdict.threshold
    assert example.shifted_column in verdict.explanation
    assert verdict.moved


@each_example
def test_a_first_step_judges_like_a_single_window(kind, example):
    detector = built(kind, example)
    for window in (example.null[0], example.shifted[0]):
        step = detector.step(example.reference, window, b"", moment(example.reference, 0))
        assert step.verdicts == detector.judge(example.reference, window)


@each_example
def test_steps_are_deterministic_and_leave_their_input_alone(kind, example):
    reference, detector, state = example.reference, built(kind, example), b""
    arrays = (reference.counts, reference.windows, reference.sd, example.null, example.shifted)
    before = [array.tobytes() for array in arrays]
    expected = stepped(kind, example)
    for number, window in enumerate(example.null[:30]):
        at = moment(reference, number)
        once, again = (detector.step(reference, window, state, at) for _ in range(2))
        assert once == again == expected[number]
        state = once.state
    assert [array.tobytes() for array in arrays] == before


@each_example
def test_a_new_detector_goes_on_from_the_state_of_any_window(kind, example):
    expected, windows = stepped(kind, example), [*example.null, *example.shifted]
    around_the_shift = range(len(example.null) - 1, len(example.null) + example.delay + 1)
    restarts = {*range(0, len(windows), 29), *around_the_shift[:: max(1, example.delay // 4)]}
    for first in sorted(restarts):
        detector = built(kind, example)
        state = bytes(bytearray(expected[first - 1].state)) if first else b""
        for number in range(first, min(first + 3, len(windows))):
            step = detector.step(example.reference, windows[number], state, moment(example.reference, number))
            assert step == expected[number]
            state = step.state


@each_example
def test_the_state_is_bounded(kind, example):
    history = 200 if "history" in parameter_types(kind) else None
    detector = build(kind.name, example.parameters | ({"history": history} if history else {}))
    sizes, state = [], b""
    for number in range(history + 20 if history else 120):
        window = example.null[number % len(example.null)]
        state = detector.step(example.reference, window, state, moment(example.reference, number)).state
        sizes.append(len(state))
    streams = math.prod(example.null.shape[1:3])
    limit = 9 * streams * history + 64 if history else 1.25 * max(sizes[:50]) + 64
    assert max(sizes[50:]) <= limit


@each_example
def test_hostile_windows_on_the_way_give_finite_verdicts(kind, example):
    reference, detector, state = example.reference, built(kind, example), b""
    windows = [
        window
        for hostile in hostile_windows(reference).values()
        for window in (*example.null[:2], hostile, hostile)
    ]
    for number, window in enumerate(windows):
        verdicts, state = detector.step(reference, window, state, moment(reference, number))
        assert np.isfinite([value for verdict in verdicts for value in numbers(verdict)]).all()
        assert all(verdict.decision is Decision.NO_DATA for verdict in verdicts) or window.any()


@each_example
def test_what_does_not_belong_to_the_reference_is_refused(kind, example):
    detector, at = built(kind, example), moment(example.reference, 0)
    with pytest.raises(UsageError, match="window: shape"):
        detector.step(example.reference, example.null[0][:, :, :-1], b"", at)
    state = stepped(kind, example)[10].state
    if not state:
        return
    for foreign in (b"rubbish", b"XXXX" + state[4:], state[: len(state) // 2], state[:6]):
        with pytest.raises(UsageError):
            detector.step(example.reference, example.null[0], foreign, at)
