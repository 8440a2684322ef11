"""What an e-detector carries for the digest: each window once, open streams too, few false ones listed."""

import struct
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from detectors.base import Moment
from detectors.digest import WEEK_MS, e_bh, week_of
from detectors.edetector import EDetector
from detectors.planted import planted_reference, planted_windows
from detectors.streams import StreamStates, week_in
from detectors.tensor import ReferenceCounts
from detectors.tilts import axis_directions
from schemas.errors import UsageError
from tests.detectors.layouts import numeric_layout

HOUR_MS = 3_600_000
MONDAY_MS = week_of(1_767_225_600_000)
REFERENCE = planted_reference(seed=1)


def follow(windows, state=b"", budget=1e-6, first=0, detector=None, reference=REFERENCE):
    """Judge hourly windows; the state after each."""
    states = []
    for number, window in enumerate(windows, first):
        start_ms = MONDAY_MS + number * HOUR_MS
        moment = Moment(start_ms, start_ms + HOUR_MS, np.full(window.shape[:2], budget))
        state = (detector or EDetector()).step(reference, window, state, moment).state
        states.append(state)
    return states


def test_a_state_tells_its_week_alone():
    assert week_in(b"") is None
    assert week_in(b"DLS1 something else") is None
    state = follow(planted_windows(3, 5))[-1]
    week = week_in(state)
    assert (week.start_ms, week.first_ms, week.last_ms, week.windows) == (
        MONDAY_MS, MONDAY_MS, MONDAY_MS + 4 * HOUR_MS, 5,
    )  # fmt: skip
    assert week.rows.tolist()[:2] == [5_000, 5_000]
    assert StreamStates.from_bytes(state, 6, 16, 0).week.to_bytes() == week.to_bytes()


@pytest.mark.parametrize("cut", [4, 20, 30, 40, 60])
def test_a_damaged_week_is_refused(cut):
    state = follow(planted_windows(3, 1))[-1]
    with pytest.raises(UsageError, match="damaged state"):
        week_in(state[:cut])


def test_a_drift_in_the_middle_of_the_week_is_listed_and_stays_listed_when_it_ends():
    windows = np.concatenate(
        [planted_windows(4, 60), planted_windows(5, 12, shift_sd=0.3), planted_windows(6, 96)]
    )
    week = week_in(follow(windows)[-1])
    assert week.windows == 168
    assert np.flatnonzero(e_bh(week.log_evalue)).tolist() == [0, 2, 4]  # the amount, in all segments
    assert MONDAY_MS + 60 * HOUR_MS <= week.psi_at_ms[0] < MONDAY_MS + 72 * HOUR_MS


def test_open_streams_and_streams_without_a_budget_go_on():
    drifted = planted_windows(7, 30, shift_sd=0.5)
    states = follow(drifted)
    is_open = StreamStates.from_bytes(states[5], 6, 16, 0).is_open
    assert is_open.tolist() == [True, False] * 3
    early, late = week_in(states[5]), week_in(states[-1])
    assert (late.log_evalue[is_open] > early.log_evalue[is_open] + 100).all()
    bare = week_in(follow(drifted, budget=0.0)[-1])
    assert bare.log_evalue[::2] == pytest.approx(late.log_evalue[::2], rel=0.1)


def test_windows_without_rows_bring_an_evalue_of_one():
    states = follow(np.concatenate([planted_windows(8, 3), np.zeros_like(planted_windows(8, 3))]))
    before, after = week_in(states[2]), week_in(states[5])
    assert after.windows == 6
    assert after.log_evalue.tolist() == before.log_evalue.tolist()
    assert after.rows.tolist() == before.rows.tolist()


def test_a_week_ends_with_the_first_window_of_the_next_one():
    windows = planted_windows(9, 170)
    states = follow(windows)
    assert week_in(states[167]).windows == 168
    new = week_in(states[168])
    assert (new.start_ms, new.windows) == (MONDAY_MS + WEEK_MS, 1)


def without_week(state, streams=6, directions=16):
    """The bytes that versions before the digest wrote."""
    states = StreamStates.from_bytes(state, streams, directions, 0)
    mass = np.where(states.is_open, np.float32(0), states.mass)  # those of open streams were 0
    raw = b"".join(
        (
            mass.astype("<f4").tobytes(),
            states.is_open.astype("u1").tobytes(),
            states.settled_for.tobytes(),
            states.quiet_since.astype("<i8").tobytes(),
        )
    )
    packed = pa.compress(raw, codec="zstd", asbytes=True)
    return b"DLE1" + struct.pack("<QQQ", streams, directions, len(raw)) + packed


def test_states_of_earlier_versions_are_read_and_decide_the_same():
    windows = np.concatenate([planted_windows(10, 4, shift_sd=0.5), planted_windows(11, 30)])
    states = follow(windows)
    old = without_week(states[3])
    assert week_in(old) is None
    assert StreamStates.from_bytes(old, 6, 16, 0).is_open.tolist() == [True, False] * 3
    fresh, carried = (
        StreamStates.from_bytes(follow(windows[4:], state, first=4)[-1], 6, 16, 0)
        for state in (states[3], old)
    )
    for name in ("is_open", "settled_for", "quiet_since"):
        assert getattr(fresh, name).tolist() == getattr(carried, name).tolist()
    assert not fresh.is_open.any()
    assert fresh.mass.tobytes() == carried.mass.tobytes()  # settled streams have begun at nothing
    assert (carried.week.windows, carried.week.first_ms) == (30, MONDAY_MS + 4 * HOUR_MS)


def test_evidence_of_an_alarm_is_none_while_the_stream_is_open():
    state, found = b"", []
    for number, window in enumerate(planted_windows(12, 6, shift_sd=0.5)):
        start_ms = MONDAY_MS + number * HOUR_MS
        moment = Moment(start_ms, start_ms + HOUR_MS, np.full(window.shape[:2], 1e-6))
        verdicts, state = EDetector().step(REFERENCE, window, state, moment)
        found.append((verdicts[0].decision.value, verdicts[0].evidence_log is None, verdicts[0].budget))
    assert found[0][0] == "drift"
    assert set(found[1:]) == {("ongoing", True, 0.0)}


def edges(columns, bins, rows):
    """A known reference of equal shares, and shares on the edge of PSI 0.01 and beyond it."""
    p = np.full((columns, bins), 1 / bins)
    counts = (p * 1e12).astype(np.int64)
    reference = ReferenceCounts(
        numeric_layout(bins, columns=columns), ("",), counts[None], np.zeros((0, 1, columns, bins), np.int64),
        np.ones(columns), np.zeros(0, np.int64), 0,
    )  # fmt: skip
    location = axis_directions(p.T.copy(), np.ones((bins, columns), bool))[0].T
    assert np.allclose((p * location**2).sum(axis=1), 1)
    return reference, p * (1 + 0.1 * location), p * (1 + 0.16 * location)


def false_and_found(tolerance, null, rows, repeats):
    """Weeks of 28 windows and 40 streams, 32 of them null and 8 drifted from Thursday on.

    The reference is known exactly, so that nothing but the tolerance protects the null streams.

    Returns
    -------
    tuple of array
        In each week the share of false ones among those listed, and the share of drifted ones that are.
    """
    columns, bins, length_ms = 40, 6, 6 * HOUR_MS
    generator = np.random.default_rng(20)
    reference, edge, beyond = edges(columns, bins, rows)
    calm = np.full_like(edge, 1 / bins)
    is_null = np.arange(columns) >= 8
    detector = EDetector(tolerance=tolerance, z_reference=0.0)
    shares, found = [], []
    for _ in range(repeats):
        state = b""
        for number in range(28):
            truth = np.where(
                is_null[:, None], edge if null == "edge" else calm, beyond if number >= 12 else calm
            )
            start_ms = MONDAY_MS + number * length_ms
            moment = Moment(start_ms, start_ms + length_ms, np.full((1, columns), 1e-4))
            window = generator.multinomial(rows, truth)[None]
            state = detector.step(reference, window, state, moment).state
        chosen = e_bh(week_in(state).log_evalue)
        shares.append((chosen & is_null).sum() / max(chosen.sum(), 1))
        found.append(chosen[~is_null].mean())
    return np.array(shares), np.array(found)


@pytest.mark.parametrize(
    ("tolerance", "null", "rows"),
    [(0.01, "edge", 2_000), pytest.param(0.0, "calm", 500, marks=pytest.mark.full)],
)
def test_at_most_a_tenth_of_those_listed_are_false(tolerance, null, rows):
    """60 weeks each: null streams on the edge of what is tolerated, or at the reference with no tolerance."""
    shares, found = false_and_found(tolerance, null, rows, repeats=60)
    assert shares.mean() <= 0.1 + 3 * shares.std() / np.sqrt(len(shares))
    assert found.mean() > 0.9


def test_streams_beyond_their_tolerance_would_be_noticed():
    """The rate above is no accident of the simulation: the same streams with less tolerance are listed."""
    shares, _ = false_and_found(0.0025, "edge", 2_000, repeats=2)
    assert shares.mean() > 0.5


def test_the_size_of_a_state_grows_by_less_than_a_tenth():
    windows = planted_windows(13, 8)
    states = StreamStates.from_bytes(follow(windows)[-1], 6, 16, 0)
    per_stream = len(states.week.to_bytes()) / 6
    assert per_stream < 0.1 * states.mass.nbytes / 6
    assert replace(states).to_bytes() == states.to_bytes()
