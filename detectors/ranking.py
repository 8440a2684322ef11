"""How well scores put positives before negatives, from counts of both on the cells of scores."""

from __future__ import annotations

import numpy as np
from scipy import special

from detectors.intervals import Measure, bounded
from detectors.tensor import BoolArray, FloatArray, IntArray


def roc_auc(positives: IntArray, negatives: IntArray, level: float) -> Measure | None:
    """Chance that a positive has a higher score than a negative; those of one cell count one half.

    Parameters
    ----------
    positives, negatives : IntArray
        ``[cells]``: rows, in increasing order of scores.
    level : float
        Coverage of the interval.

    Returns
    -------
    Measure or None
        None if there are no positives or no negatives.

    Notes
    -----
    The variance is DeLong's: that of the positives' shares of negatives below them, and that of the
    negatives' shares of positives above them, both of which the cells tell. A single positive or negative has
    no variance of its own; then Hanley and McNeil's formula holds.

    References
    ----------
    .. [1] E. DeLong, D. DeLong, D. Clarke-Pearson, "Comparing the areas under two or more correlated ROC
       curves", Biometrics 44 (1988).
    .. [2] J. Hanley, B. McNeil, "The meaning and use of the area under a ROC curve", Radiology 143 (1982).

    Examples
    --------
    >>> found = roc_auc(np.array([10, 20, 30]), np.array([60, 30, 10]), 0.95)
    >>> round(found.value, 4), round(found.low, 3), round(found.high, 3)
    (0.775, 0.696, 0.838)
    """
    m, n = int(positives.sum()), int(negatives.sum())
    if m == 0 or n == 0:
        return None
    below = (np.cumsum(negatives) - negatives / 2) / n
    above = (m - np.cumsum(positives) + positives / 2) / m
    value = float((positives * below).sum()) / m
    if min(m, n) > 1:
        variance = _variance(positives, below, value) / m + _variance(negatives, above, value) / n
    else:
        variance = _hanley_mcneil(value, m, n)
    return bounded(value, variance, m + n, level, rows=min(m, n))


def _variance(counts: IntArray, values: FloatArray, mean: float) -> float:
    return float((counts * (values - mean) ** 2).sum()) / (int(counts.sum()) - 1)


def _hanley_mcneil(a: float, m: int, n: int) -> float:
    of_positives, of_negatives = a / (2 - a), 2 * a**2 / (1 + a)
    return (a * (1 - a) + (m - 1) * (of_positives - a**2) + (n - 1) * (of_negatives - a**2)) / (m * n)


def average_precision(
    positives: IntArray, negatives: IntArray, tied: BoolArray, level: float
) -> Measure | None:
    """Area under the precision-recall curve by steps: the mean of the precision at each positive's score.

    Parameters
    ----------
    positives, negatives : IntArray
        ``[cells]``: rows, in increasing order of scores.
    tied : BoolArray
        ``[cells]``: where all rows have the same score; those of other cells may lie in any order.
    level : float
        Coverage of the interval.

    Returns
    -------
    Measure or None
        None if there are no positives or no negatives.

    Notes
    -----
    With M positives, and A of them and B rows in higher cells, a tied cell of p positives and k rows adds
    p/M · (A + p)/(B + k). In another cell the expectation over all orders of its rows counts, which is exact:
    at rank i it has a positive with chance p/k, after (i − 1)·r others, r = (p − 1)/(k − 1), so the cell adds
    p/(kM) · Σᵢ (A + 1 + (i − 1)·r)/(B + i), a difference of digamma functions.

    Interval: with π the share of positives, and for each cell c the share w_c of the positives, the share b_c
    of all rows and the precision P_c in this and higher cells, AP = Σ w_c P_c. A row (s, y) moves it by
    (y/π)(P_s − AP) + Σ_{c≤s} w_c (y − P_c)/b_c; the mean square of this, over n, is its variance.

    Examples
    --------
    >>> counts, tied = (np.array([10, 20, 30]), np.array([60, 30, 10])), np.ones(3, bool)
    >>> found = average_precision(*counts, tied, 0.95)
    >>> round(found.value, 4), round(found.low, 3), round(found.high, 3)
    (0.6227, 0.504, 0.728)
    >>> round(average_precision(*counts, ~tied, 0.95).value, 4)
    0.6708
    """
    m, n = int(positives.sum()), int(positives.sum() + negatives.sum())
    if m in (0, n):
        return None
    rows = positives + negatives
    true = np.cumsum(positives[::-1])[::-1]
    every = np.cumsum(rows[::-1])[::-1]
    steps = true / np.maximum(every, 1)
    shuffled = _mean_precision(positives, rows, true - positives, every - rows)
    value = float((positives * np.where(tied, steps, shuffled)).sum()) / m
    variance = _variance_of_steps(positives, negatives, steps, np.maximum(every, 1))
    return bounded(value, variance, n, level, rows=min(m, n - m))


def _mean_precision(positives: IntArray, rows: IntArray, true: IntArray, every: IntArray) -> FloatArray:
    """Mean precision at a cell's positives over all orders of its rows; `true` of `every` are above."""
    each = (positives - 1) / np.maximum(rows - 1, 1)
    first = true + 1 - each
    harmonic = special.digamma(every + rows + 1) - special.digamma(every + 1)
    total: FloatArray = each * rows + (first - each * every) * harmonic
    return total / np.maximum(rows, 1)


def _variance_of_steps(
    positives: IntArray, negatives: IntArray, precision: FloatArray, every: IntArray
) -> float:
    m, n = int(positives.sum()), int(positives.sum() + negatives.sum())
    weight = positives / m
    for_true = np.cumsum(weight / every) * n
    for_all = np.cumsum(weight * precision / every) * n
    of_positive = (precision - float((weight * precision).sum())) * n / m + for_true - for_all
    return float((positives * of_positive**2 + negatives * for_all**2).sum()) / n**2
