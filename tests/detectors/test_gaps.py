"""How long a stream may be silent: what the reference's gaps and the budget say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from detectors.quality.gaps import knows_gaps, too_long
from detectors.quality.learned import LearnedQuality, gaps_between
from detectors.reference import Reference
from tests.detectors.quality_streams import binning_of, learned, reference_of

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def of_slices(slices: np.ndarray, days: float) -> Reference:
    binning = binning_of(1)
    counts = np.ones((2, 1, int(binning.offsets[-1])), np.int64)
    quality = learned(np.zeros((2, 3), np.int64), np.zeros((2, 0), np.int64))
    known: LearnedQuality = replace(quality, slice_ms=MINUTE, gaps=gaps_between(slices, MINUTE))
    longest = int(np.diff(slices).max()) if len(slices) > 1 else 0
    made = reference_of(binning, counts, known)
    return replace(made, to_ms=int(days * DAY), longest_gap_ms=longest)


def test_a_stream_without_gaps_may_be_silent_for_some_slices_only() -> None:
    reference = of_slices(np.arange(0, 7 * DAY, MINUTE), 7)
    found = too_long(reference, 7 * DAY, HOUR, 1e-6)
    assert found is not None
    assert found.longest_ms == MINUTE
    about_the_hour = 3 * 60 * 7
    expected = 1 - np.log(1e-6 / 60 * (about_the_hour + 1))
    assert found.length_ms == pytest.approx(expected * MINUTE, abs=MINUTE)


def test_a_night_without_events_is_usual_at_night_only() -> None:
    every = np.arange(0, 14 * DAY, MINUTE)
    open_ = every[(every % DAY >= 6 * HOUR) & (every % DAY < 22 * HOUR)]
    reference = of_slices(open_, 14)
    at_noon = too_long(reference, 14 * DAY + 12 * HOUR, HOUR, 1e-6)
    at_night = too_long(reference, 14 * DAY + 22 * HOUR - MINUTE, HOUR, 1e-6)
    assert at_noon is not None
    assert at_night is not None
    assert at_noon.length_ms < 30 * MINUTE
    assert at_night.length_ms > 8 * HOUR
    assert at_night.longest_ms == 8 * HOUR + MINUTE


def test_too_few_gaps_teach_nothing_and_neither_does_no_budget() -> None:
    reference = of_slices(np.arange(0, 8 * MINUTE, MINUTE), 1)
    assert not knows_gaps(reference)
    assert too_long(reference, DAY, HOUR, 1e-6) is None
    assert too_long(of_slices(np.arange(0, DAY, MINUTE), 1), DAY, HOUR, 0.0) is None


@pytest.mark.parametrize("mean", [1.2, 3.0, 20.0])
def test_gaps_that_are_usual_are_too_long_no_more_often_than_allowed(mean: float) -> None:
    """Streams of exponential gaps: false alarms in all windows against their budget."""
    rng, budget, alarms, spent = np.random.default_rng(4), 0.02, 0, 0.0
    for _ in range(40):
        slices = np.cumsum(np.maximum(1, rng.exponential(mean, 4_000).round())).astype(np.int64) * MINUTE
        known, later = slices[:2_000], slices[2_000:]
        reference = of_slices(known - known[0], (known[-1] - known[0]) / DAY)
        for at in range(0, len(later) - 1, 97):  # a threshold of each hour is enough
            found = too_long(reference, int(later[at]), HOUR, budget)
            assert found is not None
            gaps = np.diff(later[at : at + 98])
            alarms += int((gaps >= found.length_ms).sum())
        spent += budget * (later[-1] - later[0]) / HOUR
    assert spent > 20
    assert alarms <= stats.poisson.ppf(0.999, spent)
