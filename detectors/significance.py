"""Test statistics against their critical values: one window, one stream, one significance test."""

from __future__ import annotations

import numpy as np
from scipy import stats

from detectors.effects import EffectArrays
from detectors.tensor import FloatArray, IntArray, ReferenceCounts
from detectors.threshold import reached
from schemas.errors import UsageError
from schemas.verdict import Verdict

SMALLEST_ALPHA, LARGEST_ALPHA = 1e-9, 0.5


def check_alpha(name: str, alpha: float) -> None:
    """Refuse a level that is none.

    Raises
    ------
    UsageError
        If the level is outside 1e-9 to 0.5.

    Examples
    --------
    >>> check_alpha("ks", 5.0)
    Traceback (most recent call last):
    schemas.errors.UsageError: ks: alpha: 5.0 (a number from 1e-09 to 0.5 is allowed)
    """
    if not SMALLEST_ALPHA <= alpha <= LARGEST_ALPHA:
        msg = f"{name}: alpha: {alpha} (a number from {SMALLEST_ALPHA} to {LARGEST_ALPHA} is allowed)"
        raise UsageError(msg)


def judge_by_test(
    name: str,
    reference: ReferenceCounts,
    effects: EffectArrays,
    statistic: FloatArray,
    critical: FloatArray,
    alpha: float,
) -> list[Verdict]:
    """Judge one window by a significance test.

    Parameters
    ----------
    name : str
        Name of the detector.
    reference : ReferenceCounts
        What the window was compared with.
    effects : EffectArrays
        ``[S, C]``.
    statistic : FloatArray
        ``[S, C]``; nan where the test cannot be made.
    critical : FloatArray
        ``[S, C]``: the test rejects at `alpha` from this value on.
    alpha : float
        Level of the test, for each stream and window.
    """
    source = f"critical value at alpha = {alpha:g} for one window of one stream"
    return reached(name, reference, effects, statistic, critical, source)


def critical_chi2(reference: ReferenceCounts, window: IntArray, alpha: float) -> FloatArray:
    """Critical values ``[S, C]`` of χ² and G, whose degrees of freedom are one less than the bins that occur.

    Examples
    --------
    >>> from detectors.planted import planted_reference, planted_windows
    >>> critical = critical_chi2(planted_reference(seed=1), planted_windows(seed=2, windows=1)[0], alpha=0.05)
    >>> critical[0].round(2).tolist()  # 12 and 4 degrees of freedom
    [21.03, 9.49]
    """
    occurring = ((window + reference.counts) > 0).sum(axis=-1)
    return np.asarray(stats.chi2.isf(alpha, np.maximum(occurring - 1, 1)), np.float64)


def rows_on_axis(counts: IntArray, reference: ReferenceCounts) -> FloatArray:
    """Rows ``[S, C]`` that lie on the numeric axis, which missing, invalid and nominal ones do not."""
    return np.asarray((counts * reference.layout.ordered).sum(axis=-1), np.float64)
