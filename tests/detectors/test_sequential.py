"""River's detectors: same alarms as river itself, and a restart by replay changes nothing."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from river import drift
from river.drift import binary
from scipy import stats

import detectors.series
from detectors.base import Detector, Moment, Step
from detectors.catalog import build
from detectors.page_hinkley import PageHinkley
from detectors.planted import planted_reference, planted_windows
from detectors.planted_outcomes import planted_outcome_reference, planted_outcomes
from detectors.series import RiverDetector, Series
from detectors.tensor import IntArray, ReferenceCounts
from schemas.errors import UsageError
from schemas.verdict import Decision, Lane

MEANS, OUTCOMES = planted_reference(seed=1), planted_outcome_reference(seed=1)
# Small enough for several alarms, and for a history that is cut, within some hundred windows.
QUICK: dict[str, tuple[str, dict[str, Any], Callable[[], Any]]] = {
    "adwin": ("adwin", {"delta": 0.01}, partial(drift.ADWIN, delta=0.01, clock=1)),
    "kswin": (
        "kswin",
        {"alpha": 0.01, "window_size": 20, "stat_size": 8, "seed": 5},
        partial(drift.KSWIN, alpha=0.01, window_size=20, stat_size=8, seed=5),
    ),
    "page_hinkley": (
        "page_hinkley",
        {"threshold": 0.5, "min_instances": 5},
        partial(drift.PageHinkley, min_instances=5, delta=0.05, threshold=0.5),
    ),
    "page_hinkley down": (
        "page_hinkley",
        {"threshold": 0.5, "min_instances": 5, "mode": "down"},
        partial(drift.PageHinkley, min_instances=5, delta=0.05, threshold=0.5, mode="down"),
    ),
    "ddm": ("ddm", {"warm_start": 8}, partial(binary.DDM, warm_start=8)),
    "eddm": ("eddm", {"warm_start": 4}, partial(binary.EDDM, warm_start=4, beta=0.9)),
    "hddm a": ("hddm", {"drift_confidence": 0.01}, partial(binary.HDDMA, drift_confidence=0.01)),
    "hddm w": (
        "hddm",
        {"drift_confidence": 0.01, "variant": "w"},
        partial(binary.HDDMW, drift_confidence=0.01),
    ),
}
each_detector = pytest.mark.parametrize("case", QUICK)


def built(case: str, **parameters: Any) -> Detector:
    name, quick, _ = QUICK[case]
    return build(name, quick | parameters)


def situation(case: str) -> tuple[ReferenceCounts, IntArray]:
    """A reference, and windows with two shifts and two ways back; one window in the middle is empty."""
    if QUICK[case][0] in ("ddm", "eddm", "hddm"):
        shares = (0.1, 0.2, 0.1, 0.2)
        parts = [planted_outcomes(seed, 40, share) for seed, share in enumerate(shares)]
        reference = OUTCOMES
    else:
        shifts = (0.0, 0.5, 0.0, -0.5)
        parts = [planted_windows(seed, 40, shift_sd=shift) for seed, shift in enumerate(shifts)]
        reference = MEANS
    windows = np.concatenate(parts)
    windows[60] = 0
    return reference, windows


def step(detector: Detector, reference: ReferenceCounts, window: IntArray, state: bytes) -> Step:
    return detector.step(reference, window, state, Moment(0, 1, np.zeros(window.shape[:2])))


def walk(detector: Detector, reference: ReferenceCounts, windows: IntArray, state: bytes = b"") -> list[Step]:
    steps = []
    for window in windows:
        steps.append(step(detector, reference, window, state))
        state = steps[-1].state
    return steps


def alarms(steps: list[Step]) -> list[list[bool]]:
    """For each window whether each stream alarmed."""
    return [[verdict.decision is Decision.DRIFT for verdict in step.verdicts] for step in steps]


def fed_by_hand(reference: ReferenceCounts, windows: IntArray, start: Callable[[], Any]) -> list[list[bool]]:
    """Alarms of river on numbers that are worked out one by one."""
    rivers = [start() for _ in range(windows.shape[1] * windows.shape[2])]
    return [
        [fed(river, value) for river, value in zip(rivers, by_hand(reference, window), strict=True)]
        for window in windows
    ]


def fed(river: Any, value: float | None) -> bool:
    if value is None:
        return False
    river.update(value)
    return bool(river.drift_detected)


def by_hand(reference: ReferenceCounts, window: IntArray) -> Iterator[float | None]:
    layout = reference.layout
    for segment in range(window.shape[0]):
        for column, lane in enumerate(layout.lanes):
            x, r = window[segment, column], reference.counts[segment, column]
            ordered = layout.ordered[column]
            if not x.any():
                yield None
            elif lane is Lane.PERFORMANCE:
                usual = (r[1] + 0.5) / (r.sum() + 1)
                yield float(stats.binom.cdf(x[1] - 1, x.sum(), usual) >= 0.95)
            elif ordered.any():
                positions = layout.positions[column][ordered]
                means = [float(np.average(positions, weights=counts[ordered])) for counts in (x, r)]
                yield (means[0] - means[1]) / float(reference.sd[column])
            else:
                yield float(np.abs(x / x.sum() - r / r.sum()).sum() / 2)


@each_detector
def test_alarms_are_those_of_river_fed_with_the_same_series(case):
    reference, windows = situation(case)
    found = alarms(walk(built(case), reference, windows))
    assert found == fed_by_hand(reference, windows, QUICK[case][2])
    all_rows = [window[0] for window in found]
    assert sum(all_rows) >= (1 if case == "page_hinkley down" else 2)
    assert not any(all_rows[:39])


@each_detector
def test_a_new_detector_at_every_window_changes_nothing(case):
    reference, windows = situation(case)
    first = replace(reference, segments=("",), counts=reference.counts[:1], windows=reference.windows[:, :1])
    windows = windows[:, :1]
    history = 100  # is cut twice on the way
    expected = walk(built(case, history=history), first, windows)
    assert any(map(any, alarms(expected)))
    state = b""
    for window, wanted in zip(windows, expected, strict=True):
        found = step(built(case, history=history), first, window, state)
        assert found == wanted
        state = found.state


@each_detector
def test_two_series_through_one_detector_and_repeated_windows_do_not_mix(case):
    reference, windows = situation(case)
    windows = windows[20:90]
    expected, turned = walk(built(case), reference, windows), walk(built(case), reference, windows[::-1])
    shared, here, there = built(case), b"", b""
    for window, other, wanted, wanted_other in zip(windows, windows[::-1], expected, turned, strict=True):
        found = step(shared, reference, window, here)
        assert found == step(shared, reference, window, here) == wanted
        assert step(shared, reference, other, there) == wanted_other
        here, there = wanted.state, wanted_other.state


def test_normally_a_step_replays_nothing(monkeypatch):
    started, start = [], PageHinkley.start

    def counted(self: PageHinkley) -> RiverDetector:
        started.append(self)
        return start(self)

    monkeypatch.setattr(PageHinkley, "start", counted)
    steps = walk(PageHinkley(), MEANS, planted_windows(seed=4, windows=30))
    assert len(started) == 6
    walk(PageHinkley(), MEANS, planted_windows(seed=5, windows=1), steps[-1].state)
    assert len(started) == 12


def test_memory_is_bounded_and_what_was_dropped_is_replayed(monkeypatch):
    _, windows = situation("page_hinkley")
    models = [np.roll(windows[:80], place, axis=0) for place in range(4)]
    expected = [walk(built("page_hinkley"), MEANS, model) for model in models]
    monkeypatch.setattr(detectors.series, "_MOST_LIVE", 12)  # two models of six streams
    shared, states = PageHinkley(threshold=0.5, min_instances=5), [b""] * 4
    for number in range(80):
        for place, model in enumerate(models):
            found = step(shared, MEANS, model[number], states[place])
            assert found == expected[place][number]
            states[place] = found.state
        assert sum(map(len, shared._watch._live.values())) <= 12


@each_detector
def test_the_series_holds_the_latest_windows_and_no_more_than_the_history(case):
    reference, windows = situation(case)
    streams = windows.shape[1] * windows.shape[2]
    steps = walk(built(case, history=50), reference, windows)
    lengths = [Series.from_bytes(step.state, streams).values.shape[1] for step in steps]
    assert lengths[:52] == [*range(1, 51), 26, 27]
    assert max(lengths) == 50
    for before, after in pairwise(steps):
        earlier, later = (Series.from_bytes(step.state, streams).values for step in (before, after))
        kept = later[:, :-1]
        forgotten = np.isnan(kept)
        assert np.array_equal(kept[~forgotten], earlier[:, -kept.shape[1] :][~forgotten])


def test_a_shorter_history_takes_up_a_longer_series():
    windows = planted_windows(seed=4, windows=130)
    long = walk(PageHinkley(history=200), MEANS, windows)[-1].state
    assert Series.from_bytes(long, 6).values.shape == (6, 130)
    short = step(PageHinkley(history=60), MEANS, windows[0], long).state
    assert np.array_equal(
        Series.from_bytes(short, 6).values[:, :-1], Series.from_bytes(long, 6).values[:, -30:]
    )


def test_an_alarm_forgets_what_led_to_it():
    reference, windows = situation("page_hinkley")
    steps = walk(built("page_hinkley"), reference, windows)
    at = [window[0] for window in alarms(steps)].index(True)
    series = Series.from_bytes(steps[at].state, 6).values
    assert np.isnan(series[0]).all()
    assert not np.isnan(series[1]).any()
    assert np.isfinite(Series.from_bytes(steps[at + 1].state, 6).values[0]).tolist() == [False] * (at + 1) + [
        True
    ]


@pytest.mark.parametrize("name", ["ddm", "eddm", "hddm"])
def test_error_detectors_say_nothing_of_other_columns(name):
    windows = planted_windows(seed=6, windows=40)
    windows[20:] = planted_windows(seed=7, windows=20, shift_sd=3.0)
    for found in walk(build(name, {}), MEANS, windows):
        assert {verdict.decision for verdict in found.verdicts} == {Decision.OK}
        assert {verdict.threshold_source for verdict in found.verdicts} == {"needs a performance column"}
    # Neither the labels alone nor the lane alone make a performance column.
    layout = replace(OUTCOMES.layout, lanes=(Lane.FEATURES,))
    labels = replace(OUTCOMES.layout, labels=(("good", "bad"),))
    for other in (layout, labels):
        found = step(build(name, {}), replace(OUTCOMES, layout=other), planted_outcomes(8, 1)[0], b"")
        assert found.verdicts[0].threshold_source == "needs a performance column"


@each_detector
def test_no_guarantee_is_claimed(case):
    reference, windows = situation(case)
    for verdict in step(built(case), reference, windows[0], b"").verdicts:
        assert "no stated false-alarm guarantee" in verdict.threshold_source
    assert "no stated false-alarm guarantee" in " ".join(type(built(case)).__doc__.split())


def test_without_drift_at_most_one_window_in_twenty_counts_as_an_error():
    state = walk(build("hddm", {}), OUTCOMES, planted_outcomes(seed=9, windows=900))[-1].state
    indicators = Series.from_bytes(state, 3).values
    assert ((indicators == 0) | (indicators == 1)).all()
    assert 0.02 < indicators.mean() < 0.06


def test_a_column_whose_reference_does_not_vary_is_watched_by_its_shares():
    constant = replace(MEANS, sd=np.array([0.0, np.nan]))
    windows = planted_windows(seed=6, windows=1, shift_sd=1.0)
    state = walk(PageHinkley(), constant, windows)[-1].state
    x, r = windows[0, 0, 0], constant.counts[0, 0]
    assert Series.from_bytes(state, 6).values[0, 0] == pytest.approx(
        np.abs(x / x.sum() - r / r.sum()).sum() / 2
    )


def test_windows_without_rows_on_the_axis_have_no_value():
    window = np.zeros_like(MEANS.counts)
    window[:, 0, 12] = 50  # all amounts are missing
    found = step(PageHinkley(), MEANS, window, b"")
    assert [verdict.decision for verdict in found.verdicts[:2]] == [Decision.OK, Decision.NO_DATA]
    assert np.isnan(Series.from_bytes(found.state, 6).values).all()


def test_states_that_are_not_of_this_kind_are_refused():
    windows = planted_windows(seed=4, windows=3)
    state = walk(PageHinkley(), MEANS, windows)[-1].state
    header = state[:4] + (6).to_bytes(8, "little")
    for wrong, message in (
        (b"DLE1" + state[4:], "does not begin like one"),
        (state[:12], "does not begin like one"),
        (state[:-3], "damaged"),
        (header + (2).to_bytes(8, "little") + state[20:], "damaged"),
        (header + (2**62).to_bytes(8, "little") + state[20:], "damaged"),
        (header + (3).to_bytes(8, "little"), "damaged"),
        (state[:4] + (5).to_bytes(8, "little") + state[12:], "5 streams"),
    ):
        with pytest.raises(UsageError, match=message):
            step(PageHinkley(), MEANS, windows[0], wrong)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("adwin", {"delta": 1.0}, "delta: 1.0"),
        ("adwin", {"clock": 0}, "clock: 0"),
        ("adwin", {"history": 19}, "history: 19"),
        ("kswin", {"stat_size": 51}, "stat_size: 51 .*from 2 to 50"),
        ("kswin", {"stat_size": 1}, "stat_size: 1 "),
        ("kswin", {"window_size": 3}, "window_size: 3 "),
        ("kswin", {"history": 199}, "history: 199 .*200 or more"),
        ("page_hinkley", {"mode": "sideways"}, "mode: 'sideways'"),
        ("page_hinkley", {"history": 59}, "history: 59 "),
        ("ddm", {"warm_start": 0}, "warm_start: 0 "),
        ("eddm", {"beta": 1.0}, "beta: 1.0 "),
        ("hddm", {"variant": "b"}, "variant: 'b'"),
    ],
)
def test_parameters_out_of_range_are_refused(name, parameters, message):
    with pytest.raises(UsageError, match=f"{name}: {message}"):
        build(name, parameters)


def test_the_least_parameters_run():
    for name, parameters in (
        ("kswin", {"window_size": 4, "stat_size": 2, "history": 8}),
        ("eddm", {"beta": 0.99, "warm_start": 1, "history": 2}),
        ("ddm", {"warm_start": 1, "history": 2}),
        ("page_hinkley", {"min_instances": 1, "history": 2}),
    ):
        reference, windows = situation("ddm" if name in ("ddm", "eddm") else name)
        assert len(walk(build(name, parameters), reference, windows[:20])) == 20
