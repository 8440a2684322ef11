"""How far scores are from the shares of positives among the rows that have them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from detectors.intervals import Measure, measure, normal_quantile
from detectors.tensor import FloatArray, IntArray

GROUPS = 15
FEWEST_ROWS = 10  # of a group in the mean


def calibration_error(
    positives: IntArray, negatives: IntArray, score: FloatArray, level: float
) -> Measure | None:
    """Expected calibration error, without the part that chance alone would give.

    Parameters
    ----------
    positives, negatives : IntArray
        ``[cells]``: rows, in increasing order of scores.
    score : FloatArray
        ``[cells]``: mean score of the rows.
    level : float
        Coverage of the interval.

    Returns
    -------
    Measure or None
        None of no rows. As many scores are too high as too low where it is 0 in each group.

    Notes
    -----
    Cells are put together, from the lowest score on, to at most 15 groups of about as many rows, at least 10.
    With the share w of a group's rows and the difference d of its positives' share and its mean score, the
    plain error is V = Σ w|d|. Even perfect scores give V > 0, the more the fewer rows. Let d ~ N(δ, v) with
    v = (mean of (label − score)² − d²)/rows; then V has a mean μ and a standard deviation σ that follow from
    folded normals, and from |δ| being averaged over other rows each time. On the line δ = t·√(d² + v), t ≥ 0,
    the value is Σ w|δ| where μ(t) = V, 0 if chance explains all of V, and its limits are where μ ± z·σ = V;
    the upper one is not below what it would be if V were just what chance gives. For many rows the value
    becomes V.

    References
    ----------
    .. [1] A. Kumar, P. Liang, T. Ma, "Verified uncertainty calibration", NeurIPS (2019).

    Examples
    --------
    >>> score = np.array([0.1, 0.5, 0.9])
    >>> right = calibration_error(np.array([10, 50, 90]), np.array([90, 50, 10]), score, 0.95)
    >>> right.value, right.low, round(right.high, 3)
    (0.0, 0.0, 0.069)
    >>> wrong = calibration_error(np.array([300, 700, 990]), np.array([700, 300, 10]), score, 0.95)
    >>> round(wrong.value, 3), round(wrong.low, 3), round(wrong.high, 3)
    (0.163, 0.15, 0.177)
    """
    rows = positives + negatives
    n = int(rows.sum())
    if n == 0:
        return None
    group = _groups(rows, min(GROUPS, max(n // FEWEST_ROWS, 1)))
    size = np.bincount(group, rows)
    known = size > 0
    error = np.bincount(group, positives - rows * score)[known] / size[known]
    square = np.bincount(group, positives * (1 - score) ** 2 + negatives * score**2)[known] / size[known]
    sd = np.sqrt(np.maximum(square - error**2, 0) / size[known])
    return _unfolded(size[known] / n, np.abs(error), sd, n, level)


def _groups(rows: IntArray, groups: int) -> IntArray:
    """Group of each cell: by the rank of its middle row."""
    middle = np.cumsum(rows) - rows / 2
    found: IntArray = np.minimum((middle * groups / rows.sum()).astype(np.int64), groups - 1)
    return found


def _unfolded(weight: FloatArray, error: FloatArray, sd: FloatArray, n: int, level: float) -> Measure:
    seen, line, z = float((weight * error).sum()), np.hypot(error, sd), normal_quantile(level)
    length = float((weight * line).sum())
    if length == 0:
        return measure(0.0, 0.0, 0.0, n)

    def plain(t: float, errors: float) -> float:
        mean, variance = _folded(t * line, sd)
        between = (weight * (t * line - t * length) ** 2).sum() / n
        return float((weight * mean).sum() + errors * np.sqrt((weight**2 * variance).sum() + between))

    value = length * _root(lambda t: plain(t, 0.0) - seen)
    low = length * _root(lambda t: plain(t, z) - seen)
    high = length * _root(lambda t: plain(t, -z) - max(seen, plain(0.0, 0.0)))
    return measure(min(value, 1.0), min(low, value), min(max(high, value), 1.0), n)


def _folded(centre: FloatArray, sd: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of the absolute value of normal variables."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(sd > 0, centre / sd, np.inf)
        chance = np.where(sd > 0, sd * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2), 0.0)
    mean = chance + centre * special.erf(ratio / np.sqrt(2))
    return mean, np.maximum(centre**2 + sd**2 - mean**2, 0.0)


def _root(increasing: Callable[[float], float]) -> float:
    """Where a function of t ≥ 0 becomes 0; 0 if it is above that at once."""
    if increasing(0.0) >= 0:
        return 0.0
    top = 1.0
    while increasing(top) < 0:
        top *= 2
    return float(optimize.brentq(increasing, 0.0, top, xtol=1e-12))
