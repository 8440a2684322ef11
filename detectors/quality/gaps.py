"""How long a stream usually goes without events, and how long without is too improbable for the budget.

Silence is noticed between windows, by `monitor.silence`. What it may cost is the part of the budget that the
watch of columns gets for new ones, which are no alarm (`detectors.quality.schema.NEWS`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from detectors.quality.learned import HOUR_MS, HOURS_OF_WEEK
from detectors.reference import Reference
from detectors.tensor import BoolArray, IntArray

FEWEST_GAPS = 8
_HOURS_OF_DAY = 24
_DAY_MS, _WEEK_MS = _HOURS_OF_DAY * HOUR_MS, HOURS_OF_WEEK * HOUR_MS
_DAYS, _WEEKS = 3, 8  # that a reference has to span for hours of the day, and of the week


class LongGap(NamedTuple):
    """A gap that is too long to be usual.

    Parameters
    ----------
    length_ms : int
        From the start of the last slice with rows.
    known, longest_ms : int
        Gaps of the reference that began about that time of the day or week, and the longest of them.
    """

    length_ms: int
    known: int
    longest_ms: int


def knows_gaps(reference: Reference) -> bool:
    """Whether a reference has gaps enough to tell how long they usually are."""
    known = reference.quality
    return known is not None and int(known.gaps[:, 2].sum()) >= FEWEST_GAPS


def too_long(reference: Reference, since_ms: int, window_ms: int, budget: float) -> LongGap | None:
    """Find the gap that 1 − F, the probability of a longer one, leaves below the budget.

    Parameters
    ----------
    reference : Reference
    since_ms : int
        When the last slice with rows began.
    window_ms : int
        Time that the budget is for.
    budget : float
        Expected number of false alarms that silence may cost in that time, above 0.

    Returns
    -------
    LongGap or None
        None if the reference has too few gaps.

    Notes
    -----
    F is that of gaps of the reference which began in the same hour of the day (of the week, from eight weeks
    on), or the one before or after it. A window has g gaps on average, so that each may cost b/g. Up to the
    longest of the N known gaps, u, F is empirical; beyond, ``1 − F = exp(−(x − u)/σ)/(N + 1)``. σ is the mean
    of what the longer half of the gaps has beyond the median, at most (95 %), and at least a slice. That gaps
    beyond the longest one end at a constant rate is an assumption.

    Examples
    --------
    >>> from detectors.quality.planted import planted_reference
    >>> found = too_long(planted_reference(seed=1), since_ms=0, window_ms=3_600_000, budget=1e-4)
    >>> found.known, found.longest_ms, found.length_ms
    (39, 3600000, 25200000)
    """
    known = reference.quality
    if known is None or not knows_gaps(reference) or budget <= 0:
        return None
    gaps = known.gaps
    span_ms = reference.to_ms - reference.from_ms
    mine = gaps[_about_the_time(gaps[:, 0], span_ms, since_ms)]
    if mine[:, 2].sum() < FEWEST_GAPS:
        mine = gaps
    lengths = np.repeat(mine[:, 1], mine[:, 2])
    in_a_window = max(float(gaps[:, 2].sum()) * window_ms / max(span_ms, window_ms), 1.0)
    slices = _quantile(lengths, budget / in_a_window)
    slice_ms = known.slice_ms
    return LongGap(int(np.ceil(slices * 2) / 2 * slice_ms), len(lengths), int(lengths.max()) * slice_ms)


def _about_the_time(hours: IntArray, span_ms: int, since_ms: int) -> BoolArray:
    """Which gaps began about the same time of the day or week."""
    if span_ms < _DAYS * _DAY_MS:
        return np.ones(len(hours), bool)
    period = HOURS_OF_WEEK if span_ms >= _WEEKS * _WEEK_MS else _HOURS_OF_DAY
    apart = (hours - since_ms // HOUR_MS) % period
    return np.asarray((apart <= 1) | (apart == period - 1))


def _quantile(lengths: IntArray, probability: float) -> float:
    """Gap in slices that a further one exceeds with so small a probability."""
    ordered = np.sort(lengths)
    count, longest = len(ordered), float(ordered[-1])
    if probability * (count + 1) >= 1:
        return float(ordered[count - int(probability * (count + 1))])
    excess = ordered - np.median(ordered)
    beyond = excess[excess > 0]
    upper = 2 * float(beyond.sum()) / float(stats.chi2.ppf(0.05, 2 * len(beyond))) if len(beyond) else 0.0
    return longest - max(upper, 1.0) * float(np.log(probability * (count + 1)))
