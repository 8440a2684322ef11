"""Measures of predicted numbers: from sums of residuals; quantiles and fourth moments from their cells."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

from detectors.intervals import Measure, mean, measure, normal_quantile, positive
from detectors.outcomes import Records, number_cell_bounds, number_sums
from detectors.tensor import FloatArray, IntArray

QUANTILES = (0.1, 0.5, 0.9)
LEAST_VARIANCE = 2.0**-27  # of labels, over their mean square: what rounding of their sums leaves certain
_ONE_VALUE = 1e-8  # of the squared mean: a variance in a cell that rounding may have made
_FINE_ENOUGH = 0.8  # of the variance of labels that the cells give, over the exact one
_NORMAL_KURTOSIS = 3.0


@dataclass(frozen=True)
class Residuals:
    """Sums of residuals, prediction − label, by record.

    Parameters
    ----------
    n : float64 array [r]
        Rows.
    total, absolute, squares : float64 array [r]
        Σr, Σ|r| and Σr².
    predicted, cell : int64 array [r]
        Cells of the prediction and of the residual.
    """

    n: FloatArray
    total: FloatArray
    absolute: FloatArray
    squares: FloatArray
    predicted: IntArray
    cell: IntArray

    @classmethod
    def of(cls, records: Records) -> Residuals:
        """Read records of the family `RESIDUAL`."""
        return cls(records["n"].astype(np.float64), *number_sums(records), records["a"], records["b"])

    @property
    def rows(self) -> int:
        """Rows of all records."""
        return int(self.n.sum())


def regression_measures(residuals: Records, truths: Records, level: float) -> dict[str, Measure | None]:
    """Measures of predicted numbers; None where undefined, or beyond what a float holds.

    Parameters
    ----------
    residuals, truths : records
        Of the families `RESIDUAL` and `TRUTH`, of the same rows.
    level : float
        Coverage of the intervals.

    Returns
    -------
    dict of str to (Measure or None)
        ``mae``, ``rmse``, ``bias`` (mean of prediction − label), ``median_absolute_error`` and
        ``quantile_loss[τ]`` in the unit of the label, ``mse`` in its square, ``r2`` without unit.
    """
    with np.errstate(all="ignore"):  # sums beyond the largest float are left out below
        r = Residuals.of(residuals)
        n = r.rows
        if n == 0:
            return {}
        squares = float(r.squares.sum())
        mse = mean_squared_error(r, level)
        found = {
            "mae": mean(float(r.absolute.sum()), squares, n, level, least=0.0),
            "mse": mse,
            "rmse": mse.moved(sqrt),
            "bias": mean(float(r.total.sum()), squares, n, level),
            "median_absolute_error": median_absolute_error(r, level),
            "r2": r_squared(r, truths, level),
        }
        found |= {f"quantile_loss[{tau}]": quantile_loss(r, tau, level) for tau in QUANTILES}
    return {name: one if one is not None and isfinite(one.value) else None for name, one in found.items()}


def mean_squared_error(r: Residuals, level: float) -> Measure:
    """Σr²/n; the variance follows from Σr⁴, for which all rows of a record are taken as equal."""
    n, total = r.rows, float(r.squares.sum())
    fourth = float((r.squares**2 / r.n).sum())
    value = total / n
    variance = max(fourth / n - value * value, 0.0) / max(n - 1, 1)
    found = positive(value, variance, n, level)
    return found if n > 1 else Measure(found.value, None, None, n)


def quantile_loss(r: Residuals, tau: float, level: float) -> Measure:
    """Mean of τ·(label − prediction) where that is above 0, and of (1 − τ)·(prediction − label) elsewhere."""
    weight = np.where(r.cell < 0, tau, 1 - tau)
    total, squares = (weight * r.absolute).sum(), (weight**2 * r.squares).sum()
    return mean(float(total), float(squares), r.rows, level, least=0.0)


def median_absolute_error(r: Residuals, level: float) -> Measure:
    """Median of |r|, placed within its cell so that the cell's mean and variance are kept.

    Notes
    -----
    The limits are the quantiles ½ ± z/(2√n), as the rank of the median is binomial. In a cell with mean μ and
    variance v values are taken as uniform on μ ± √(3v): quantiles of equal values are exact, those of others
    within a small part of the cell's width, which is at most 1/16 of the value.
    """
    # Keys of x and −x are bitwise complements (`detectors.cells.float_keys`), hence so are their cells.
    cells, at = np.unique(np.where(r.cell < 0, ~r.cell, r.cell), return_inverse=True)
    n, total, squares = (np.bincount(at, values) for values in (r.n, r.absolute, r.squares))
    centre = total / n
    variance = squares / n - centre**2
    reach = np.sqrt(12 * np.where(variance > _ONE_VALUE * centre**2, variance, 0.0))
    low, high = number_cell_bounds(cells)
    last = np.cumsum(n)

    def quantile(share: float) -> float:
        rank = min(max(share, 0.0), 1.0) * last[-1]
        # Where the rank lies between two cells, both count.
        sides = np.minimum([np.searchsorted(last, rank, side=s) for s in ("left", "right")], len(last) - 1)
        within = (rank - (last - n)[sides]) / n[sides] - 0.5
        values = centre[sides] + reach[sides] * within
        return float(np.clip(values, np.minimum(low[sides], centre[sides]), high[sides]).mean())

    half = normal_quantile(level) / (2 * sqrt(last[-1]))
    return measure(quantile(0.5), quantile(0.5 - half), quantile(0.5 + half), r.rows)


def r_squared(r: Residuals, truths: Records, level: float) -> Measure | None:
    """Share of the labels' variance that predictions explain; None if labels do not vary.

    Notes
    -----
    R² = 1 − Q, Q = Σr²/Σ(y − ȳ)². A row moves Q by (r² − Q(y − ȳ)²)/σ²; y is known from the cells of its
    prediction and its residual, stretched to have the exact variance. Where cells are too wide for that, r²
    and (y − ȳ)² count as independent and labels as normal. The interval is symmetric in ln Q.

    The sums are rounded; labels whose standard deviation is less than about 1/10,000 of their root mean
    square count as equal.
    """
    count = r.rows
    total, _, squares = (float(x.sum()) for x in number_sums(truths))
    spread = squares - total * total / count
    if count < 2 or not spread > LEAST_VARIANCE * squares:
        return None
    q, sigma2 = float(r.squares.sum()) / spread, spread / count
    one = positive(q, _variance_of_ratio(r, q, sigma2), count, level)
    low, high = (None if x is None else 1 - x for x in (one.high, one.low))
    return measure(1 - q, low, high, count)


def _variance_of_ratio(r: Residuals, q: float, sigma2: float) -> float:
    rows, error = r.n.sum(), r.squares / r.n / sigma2
    low, high = number_cell_bounds(r.predicted)
    label = (low + high) / 2 - r.total / r.n
    deviation = (label - (r.n * label).sum() / rows) ** 2 / sigma2
    known = float((r.n * deviation).sum() / rows)
    if _FINE_ENOUGH < known < 1 / _FINE_ENOUGH:
        moved = (r.n * (error - q * deviation / known) ** 2).sum() / rows
    else:
        moved = (r.n * (error - q) ** 2).sum() / rows + (_NORMAL_KURTOSIS - 1) * q * q
    return float(moved / rows)
