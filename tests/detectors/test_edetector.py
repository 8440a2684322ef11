"""The e-detector as a whole: delays, budgets, recovery, restarts, and input that would break it."""

import doctest
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detectors import edetector
from detectors.base import Moment
from detectors.edetector import EDetector
from detectors.planted import planted_reference, planted_windows
from detectors.streams import StreamStates
from detectors.tensor import FloatArray, IntArray, ReferenceCounts, TensorLayout
from schemas.errors import UsageError
from schemas.verdict import Decision, Verdict
from tests.benchmarks.bench_edetector import BINS, ONE_A_WEEK, SHARES, normal_shares
from tests.detectors.layouts import nominal_layout, numeric_layout, ragged_layout

HOUR_MS = 3_600_000
PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"
REFERENCE = planted_reference(seed=1)


def moment(window: int, budget: FloatArray | float, shape: tuple[int, int] = (3, 2)) -> Moment:
    """The hour number `window`."""
    return Moment(window * HOUR_MS, (window + 1) * HOUR_MS, np.broadcast_to(np.asarray(budget, float), shape))


def plain_reference(layout: TensorLayout, counts: IntArray) -> ReferenceCounts:
    """A reference without windows of its own, ``[C, K]``."""
    return ReferenceCounts(
        layout, ("",), counts[None], np.zeros((0, 1, *layout.shape), np.int64),
        np.ones(len(counts)), np.zeros(0, np.int64), 0,
    )  # fmt: skip


def follow(
    reference: ReferenceCounts,
    windows: IntArray,
    budget: float = 1e-4,
    detector: EDetector | None = None,
    state: bytes = b"",
    first: int = 40,
) -> tuple[list[list[Verdict]], bytes]:
    """Judge windows one after the other."""
    found = []
    for number, window in enumerate(windows, first):
        step = (detector or EDetector()).step(
            reference, window, state, moment(number, budget, window.shape[:2])
        )
        state = step.state
        found.append(step.verdicts)
    return found, state


def decisions(steps: list[list[Verdict]], stream: int = 0) -> list[str]:
    return [verdicts[stream].decision.value for verdicts in steps]


def budgets(steps: list[list[Verdict]], stream: int = 0) -> list[float | None]:
    """Of each window; 0 while the stream's alarm is open."""
    return [verdicts[stream].budget for verdicts in steps]


DELAYS = [
    (1_000, 0.1, 0.2, 1.0, 8, 26),
    (1_000, 0.1, 0.3, 1.0, 2, 4),
    (1_000, 0.1, 0.5, 1.0, 1, 1),
    (1_000, 0.1, 0.0, 1.25, 2, 4),
    (5_000, 0.1, 0.2, 1.0, 2, 4),
    (100, 0.0, 0.3, 1.0, 6, 8),
]


@pytest.mark.parametrize(("rows", "tolerance", "shift_sd", "scale", "median", "late"), DELAYS)
def test_delays_at_one_false_alarm_a_week_over_100_000_hourly_streams(
    rows, tolerance, shift_sd, scale, median, late
):
    generator = np.random.default_rng(1)
    columns = 80
    reference = plain_reference(
        numeric_layout(BINS, columns=columns), generator.multinomial(100_000, SHARES, columns)
    )
    limit = int(1.25 * late)
    drifted = generator.multinomial(rows, normal_shares(shift_sd, scale), (limit, 1, columns))
    steps, _ = follow(reference, drifted, ONE_A_WEEK, EDetector(tolerance=tolerance**2))
    is_alarm = np.array([[verdict.decision is Decision.DRIFT for verdict in verdicts] for verdicts in steps])
    first = np.where(is_alarm.any(axis=0), is_alarm.argmax(axis=0) + 1, limit + 1)
    assert np.median(first) <= 1.25 * median
    assert np.quantile(first, 0.95, method="lower") <= limit
    calm, _ = follow(
        reference,
        generator.multinomial(rows, SHARES, (3, 1, columns)),
        ONE_A_WEEK,
        EDetector(tolerance=tolerance**2),
    )
    assert {verdict.decision for verdicts in calm for verdict in verdicts} == {Decision.OK}


def test_an_alarm_is_raised_once_and_settled_after_three_normal_windows():
    drifted = planted_windows(seed=2, windows=4, shift_sd=0.6)
    calm = planted_windows(seed=3, windows=40, rows=4_000)
    steps, state = follow(REFERENCE, np.concatenate([calm[:5], drifted, calm[5:12], drifted]))
    expected = ["ok"] * 5 + ["drift"] + ["ongoing"] * 3 + ["ok"] * 7 + ["drift"] + ["ongoing"] * 3
    assert decisions(steps) == expected
    assert decisions(steps, stream=1) == ["ok"] * len(steps)
    raised = steps[5][0]
    assert raised.onset_ms == 45 * HOUR_MS  # the window before was the last without evidence
    assert raised.explanation
    assert steps[6][0].explanation == ""
    assert steps[6][0].onset_ms is None
    # While it is open nothing is spent: from the window after the alarm to the third normal one.
    assert budgets(steps)[4:13] == [1e-4] * 2 + [0.0] * 6 + [1e-4]
    assert StreamStates.from_bytes(state, 6, 16, 0).is_open.tolist() == [True, False] + [True, False] * 2


def test_windows_without_data_neither_settle_nor_delay():
    drifted = planted_windows(seed=2, windows=1, shift_sd=0.8)
    calm = planted_windows(seed=3, windows=9, rows=20_000)
    empty = np.zeros_like(calm[:1])
    gaps = np.concatenate([drifted, calm[:1], empty, calm[1:2], empty, empty, calm[2:4], drifted])
    steps, _ = follow(REFERENCE, gaps)
    assert decisions(steps) == [
        "drift", "ok", "no_data", "ok", "no_data", "no_data", "ok", "ok", "drift",
    ]  # fmt: skip
    assert budgets(steps) == [1e-4] + [0.0] * 6 + [1e-4] * 2


def test_one_window_that_is_off_starts_the_count_anew():
    drifted = planted_windows(seed=2, windows=2, shift_sd=0.8)
    calm = planted_windows(seed=3, windows=9, rows=20_000)
    steps, _ = follow(REFERENCE, np.concatenate([drifted[:1], calm[:2], drifted[1:], calm[2:6]]))
    assert decisions(steps) == ["drift", "ok", "ok", "ongoing", "ok", "ok", "ok", "ok"]
    assert budgets(steps) == [1e-4] + [0.0] * 6 + [1e-4]


def test_a_tolerance_of_nothing_can_be_recovered_from():
    windows = np.concatenate([planted_windows(5, 2, shift_sd=0.8), planted_windows(6, 40, rows=4_000)])
    steps, _ = follow(REFERENCE, windows, 1e-6, EDetector(tolerance=0))
    assert decisions(steps)[0] == "drift"
    assert 1e-6 in budgets(steps)[2:]


def test_onset_is_before_the_evidence_gathered():
    calm, drifted = planted_windows(7, 10), planted_windows(8, 12, shift_sd=0.22)
    steps, _ = follow(REFERENCE, np.concatenate([calm, drifted]), 1e-7)
    place = decisions(steps).index("drift")
    assert place > 11
    assert steps[place][0].onset_ms == pytest.approx(50 * HOUR_MS, abs=2 * HOUR_MS)


def test_more_tolerance_and_less_budget_mean_fewer_alarms():
    windows = planted_windows(9, 30, rows=2_000, shift_sd=0.25)

    def place(budget: float, **parameters: object) -> int:
        detector = EDetector(**parameters)  # type: ignore[arg-type]
        found = decisions(follow(REFERENCE, windows, budget, detector)[0])
        return found.index("drift") if "drift" in found else len(found)

    assert place(1e-2) <= place(1e-9) < 30
    assert place(1e-4, tolerance=0.0) <= place(1e-4, tolerance=0.01) <= place(1e-4, tolerance=0.04)
    assert place(1e-4, tolerance=0.09) == 30
    assert place(1e-4, tolerances={"amount": 0.09}) == 30
    assert place(1e-4, tolerances={"carrier": 0.09}) == place(1e-4)
    assert place(1e-4, z_reference=30.0) == 30
    assert place(0.0) == 30


def test_a_budget_belongs_to_its_stream():
    window = planted_windows(10, 1, shift_sd=0.8)[0]
    budget = np.array([[0.0, 1e-4], [1e-4, 1e-4], [0.0, 0.0]])
    verdicts = EDetector().step(REFERENCE, window, b"", moment(40, budget)).verdicts
    assert [verdict.budget for verdict in verdicts] == budget.ravel().tolist()
    assert [verdict.decision.value for verdict in verdicts] == ["ok", "ok", "drift", "ok", "ok", "ok"]
    assert verdicts[0].evidence_log is None
    assert all(verdict.threshold == 0 for verdict in verdicts)


@pytest.mark.parametrize("seed", range(3))
def test_a_restart_at_any_window_changes_no_bit(seed):
    windows = np.concatenate([planted_windows(seed, 6, shift_sd=0.15), planted_windows(seed + 50, 8)])
    whole, last = follow(REFERENCE, windows)
    for cut in range(1, len(windows)):
        before, state = follow(REFERENCE, windows[:cut])
        kept = bytes(bytearray(state))
        fresh = replace(REFERENCE)  # learns again what the first had learned
        after, end = follow(fresh, windows[cut:], state=kept, first=40 + cut)
        assert before + after == whole
        assert end == last


@pytest.mark.parametrize("streams_at_once", [2, 3, 4, 5, 7])
def test_chunks_change_no_bit(monkeypatch, streams_at_once):
    windows = planted_windows(11, 12, shift_sd=0.2)
    whole, state = follow(REFERENCE, windows)
    monkeypatch.setattr(edetector, "STREAMS_AT_ONCE", streams_at_once)
    chunked, chunked_state = follow(REFERENCE, windows)
    assert chunked == whole
    assert chunked_state == state


def test_a_stream_alone_gets_the_bits_that_it_gets_among_others():
    generator = np.random.default_rng(12)
    counts = generator.multinomial(20_000, SHARES, 9)
    windows = generator.multinomial(700, normal_shares(0.1), (6, 1, 9))
    all_, _ = follow(plain_reference(numeric_layout(BINS, columns=9), counts), windows)
    for column in range(9):
        layout = numeric_layout(BINS, columns=1)
        alone, _ = follow(plain_reference(layout, counts[[column]]), windows[:, :, [column]])
        assert [v[0].evidence_log for v in alone] == [v[column].evidence_log for v in all_]


@pytest.mark.parametrize("damage", ["short", "magic", "flipped", "streams", "bins"])
def test_state_that_is_not_this_detectors_is_refused(damage):
    window = planted_windows(13, 1)
    _, state = follow(REFERENCE, window)
    streams, directions = 6, 16
    if damage == "short":
        state = state[:11]
    elif damage == "magic":
        state = b"XXXX" + state[4:]
    elif damage == "flipped":
        state = state[:40] + bytes([state[40] ^ 255]) + state[41:50]
    elif damage == "streams":
        streams = 5
    else:
        directions = 17
    with pytest.raises(UsageError, match="state of an e-detector"):
        StreamStates.from_bytes(state, streams, directions, 0)


def test_state_comes_back_and_is_small_when_nothing_happens():
    _, state = follow(REFERENCE, planted_windows(14, 5))
    states = StreamStates.from_bytes(state, 6, 16, 0)
    assert states.to_bytes() == state
    states.mass += 1  # its own memory
    assert StreamStates.from_bytes(b"", 6, 16, 123).quiet_since.tolist() == [123] * 6


BIG = 10**8
HOSTILE = {
    "no rows": [0, 0, 0, 0, 0],
    "all missing": [0, 0, 0, 0, 9_000],
    "one category": [9_000, 0, 0, 0, 0],
    "one row": [0, 0, 1, 0, 0],
    "huge": [BIG, BIG, BIG, BIG, BIG],
    "huge in one bin": [0, BIG, 0, 0, 0],
}


def layouts(bins: int) -> list[TensorLayout]:
    return [numeric_layout(bins), nominal_layout(bins), numeric_layout(bins, unordered=1)]


@pytest.mark.parametrize("window", HOSTILE)
@pytest.mark.parametrize("known", HOSTILE)
@pytest.mark.parametrize("bins", [5, pytest.param(2, marks=pytest.mark.full), 1])
def test_hostile_counts_give_finite_verdicts_and_no_warnings(known, window, bins):
    before, after = np.array(HOSTILE[known][-bins:]), np.array(HOSTILE[window][-bins:])
    for layout in layouts(bins):
        bare = plain_reference(layout, before[None])
        own = np.repeat(before[None, None, None], 15, axis=0)
        taught = ReferenceCounts(
            layout, ("",), own.sum(axis=0), own, np.ones(1), np.arange(15) * HOUR_MS, HOUR_MS
        )
        for reference in (bare, taught):
            for tolerance in (0.0, 0.01):
                detector = EDetector(tolerance=tolerance)
                steps, state = follow(
                    reference, np.repeat(after[None, None, None], 3, axis=0), 1e-8, detector
                )
                for (verdict,) in steps:
                    assert np.isfinite([verdict.statistic, verdict.evidence_log or 0.0]).all()
                    if not (before.any() and after.any()):
                        assert verdict.decision is Decision.NO_DATA
                assert np.isfinite(StreamStates.from_bytes(state, 1, 3 + bins, 0).mass).all()
                if before.sum() > 1 and after.sum() > 1 and (before > 0).tolist() == (after > 0).tolist():
                    assert steps[-1][0].decision is Decision.OK


def test_a_window_without_rows_leaves_the_evidence_as_it_is():
    windows = planted_windows(15, 3, shift_sd=0.1)
    empty = np.zeros_like(windows[:1])
    steps, _ = follow(REFERENCE, np.concatenate([windows, empty]), 0.0)
    assert steps[3][0].decision is Decision.NO_DATA
    _, state = follow(REFERENCE, windows)
    after = EDetector().step(REFERENCE, empty[0], state, moment(43, 0.0))
    before = StreamStates.from_bytes(state, 6, 16, 0)
    assert StreamStates.from_bytes(after.state, 6, 16, 0).mass.tobytes() == before.mass.tobytes()


def test_ragged_layouts_and_a_reference_of_one_row():
    layout = ragged_layout()
    counts = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    windows = np.array([[[[50, 100, 200, 80, 70], [450, 50, 0, 0, 0], [500, 0, 0, 0, 0]]]]).repeat(5, axis=0)
    steps, _ = follow(plain_reference(layout, counts), windows)
    assert {verdict.decision for verdicts in steps for verdict in verdicts} == {Decision.OK}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tolerance": -0.1}, "edetector: tolerance: -0.1 "),
        ({"z_reference": float("nan")}, "edetector: z_reference: nan "),
        ({"tolerances": {"amount": -1.0}}, "edetector: tolerances: amount: -1.0 "),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(parameters, message):
    with pytest.raises(UsageError, match=message):
        EDetector(**parameters)


def test_examples_of_the_page_about_statistics():
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.attempted > 5
    assert result.failed == 0
