"""Whatever the counts: finite verdicts, and the same ones however the work is cut up."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.base import Moment
from detectors.edetector import EDetector
from detectors.tensor import IntArray, ReferenceCounts, TensorLayout
from schemas.verdict import Decision, Verdict
from tests.detectors.layouts import nominal_layout, numeric_layout, ragged_layout

HOUR_MS = 3_600_000
LAYOUTS = (
    ragged_layout(),
    numeric_layout(2, columns=2),
    nominal_layout(2),
    numeric_layout(6, columns=3, unordered=1),
    nominal_layout(1),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[ReferenceCounts, IntArray]:
    """A reference of up to 30 windows, and up to six windows after it, of any counts whatever."""
    layout: TensorLayout = draw(st.sampled_from(LAYOUTS))
    segments = draw(st.integers(1, 3))
    known, later = draw(st.integers(0, 30)), draw(st.integers(1, 6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (known + later, segments, *layout.shape)
    size = 10.0 ** generator.uniform(-2, draw(st.sampled_from([1, 3, 8])), shape)
    counts = (generator.poisson(size) * layout.valid).astype(np.int64)
    counts[generator.random(shape[:3]) < draw(st.sampled_from([0.0, 0.3]))] = 0  # streams without rows
    extra = generator.integers(0, 1_000, counts.shape[1:]) * layout.valid * draw(st.integers(0, 1))
    names = ("", *(f"place={number}" for number in range(1, segments)))
    window_ms = HOUR_MS * draw(st.sampled_from([1, 24]))
    reference = ReferenceCounts(
        layout, names, counts[:known].sum(axis=0) + extra, counts[:known],
        np.ones(layout.shape[0]), np.arange(known) * window_ms, window_ms if known else 0,
    )  # fmt: skip
    return reference, counts[known:]


def judged(
    reference: ReferenceCounts, windows: IntArray, budget: float, restarts: bool
) -> tuple[list[Verdict], bytes]:
    """All verdicts and the last state; restarts build detector and reference anew before every window."""
    found, state = [], b""
    for number, window in enumerate(windows, 30):
        if restarts:
            reference = ReferenceCounts(**vars(reference))
            state = bytes(bytearray(state))
        moment = Moment(number * HOUR_MS, (number + 1) * HOUR_MS, np.full(window.shape[:2], budget))
        verdicts, state = EDetector().step(reference, window, state, moment)
        found += verdicts
    return found, state


@settings(max_examples=60)
@given(worlds(), st.sampled_from([0.0, 1e-8, 0.5]))
def test_any_counts_give_finite_verdicts(world: tuple[ReferenceCounts, IntArray], budget: float) -> None:
    reference, windows = world
    found, _ = judged(reference, windows, budget, restarts=False)
    for verdict in found:
        assert np.isfinite([verdict.statistic, verdict.threshold, verdict.evidence_log or 0.0]).all()
        assert (verdict.decision is Decision.NO_DATA) >= (verdict.n == 0)
        if verdict.decision is Decision.DRIFT:
            assert verdict.budget == budget > 0
            assert verdict.statistic >= verdict.threshold
            assert verdict.onset_ms is not None


@settings(max_examples=30)
@given(worlds())
def test_restarts_change_nothing(world: tuple[ReferenceCounts, IntArray]) -> None:
    reference, windows = world
    assert judged(reference, windows, 1e-3, restarts=True) == judged(reference, windows, 1e-3, restarts=False)
