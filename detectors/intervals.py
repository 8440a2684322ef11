"""Measures with their intervals: formulas that need nothing but counts and sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, isfinite, sqrt

import numpy as np
from scipy import special

from detectors.tensor import FloatArray, IntArray

LEVEL = 0.95


@dataclass(frozen=True)
class Measure:
    """One measure of performance.

    Parameters
    ----------
    value : float
        Always finite.
    low, high : float or None
        Limits of the interval; None where nothing is known of one.
    n : int
        Rows that it is computed from: for a precision the rows predicted so, for a recall those labelled so.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def moved(self, through: Callable[[float], float], n: int | None = None) -> Measure:
        """Put the value and its limits through an increasing function."""
        return measure(
            through(self.value),
            None if self.low is None else through(self.low),
            None if self.high is None else through(self.high),
            self.n if n is None else n,
        )


def measure(value: float, low: float | None, high: float | None, n: int) -> Measure:
    """Make a measure of plain floats; limits that are not finite become None."""
    return Measure(float(value), _known(low), _known(high), int(n))


def _known(limit: float | None) -> float | None:
    return float(limit) if limit is not None and isfinite(limit) else None


def normal_quantile(level: float) -> float:
    """How many standard errors an interval reaches to each side.

    Examples
    --------
    >>> round(normal_quantile(0.95), 3)
    1.96
    """
    return float(special.ndtri((1 + level) / 2))


def wilson(share: FloatArray, n: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Limits of proportions.

    Parameters
    ----------
    share : FloatArray
        What was seen, 0 to 1.
    n : FloatArray
        In how many rows, above 0; need not be whole.
    level : float
        Coverage, between 0 and 1.

    Notes
    -----
    (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
       (1927).

    Examples
    --------
    >>> low, high = wilson(np.array([0.0, 0.9]), np.array([10.0, 100.0]), 0.95)
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.0, 0.826], [0.278, 0.945])
    """
    z = normal_quantile(level)
    middle = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    scale = 1 + z**2 / n
    return np.clip((middle - half) / scale, 0, share), np.clip((middle + half) / scale, share, 1)


def proportion(successes: float, n: int, level: float = LEVEL) -> Measure | None:
    """Share of rows with Wilson's interval; None of no rows.

    Examples
    --------
    >>> proportion(0, 0) is None
    True
    >>> found = proportion(90, 100)
    >>> found.value, round(found.low, 3), round(found.high, 3), found.n
    (0.9, 0.826, 0.945, 100)
    """
    if n == 0:
        return None
    share = np.array(successes / n)
    low, high = wilson(share, np.array(float(n)), level)
    return measure(float(share), float(low), float(high), n)


def exact_proportion(successes: int, n: int, level: float = LEVEL) -> Measure | None:
    """Share of rows with the exact interval of Clopper and Pearson; None of no rows.

    Parameters
    ----------
    successes, n : int
    level : float
        Coverage, between 0 and 1; it is never less than that.

    Notes
    -----
    Quantiles of beta distributions: low at (1 − level)/2 of B(k, n − k + 1), high at (1 + level)/2 of
    B(k + 1, n − k).

    References
    ----------
    .. [1] C. J. Clopper, E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of
       the binomial", Biometrika 26 (1934).

    Examples
    --------
    >>> found = exact_proportion(1, 100)
    >>> round(found.low, 5), round(found.high, 4)
    (0.00025, 0.0545)
    >>> exact_proportion(0, 100).low, exact_proportion(100, 100).high
    (0.0, 1.0)
    """
    if n == 0:
        return None
    tail = (1 - level) / 2
    low = special.betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return measure(successes / n, float(low), float(high), n)


def mean_of_proportions(successes: IntArray, trials: IntArray, level: float = LEVEL) -> Measure:
    """Unweighted mean of independent proportions.

    Parameters
    ----------
    successes, trials : IntArray
        ``[K]``: K is at least 1, trials are above 0.
    level : float
        Coverage, between 0 and 1.

    Notes
    -----
    Limits are combined from those of the parts (the method of variance estimates recovery): mean of pᵢ minus
    √Σ(pᵢ − lowᵢ)²/K, plus √Σ(highᵢ − pᵢ)²/K.

    References
    ----------
    .. [1] R. G. Newcombe, "Interval estimation for the difference between independent proportions",
       Statistics in Medicine 17 (1998).

    Examples
    --------
    >>> found = mean_of_proportions(np.array([90, 30]), np.array([100, 50]))
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.75, 0.672, 0.816)
    """
    share = successes / trials
    low, high = wilson(share, trials.astype(np.float64), level)
    value, k = float(share.mean()), len(share)
    below, above = (float(np.sqrt(((share - x) ** 2).sum())) / k for x in (low, high))
    return measure(value, max(value - below, 0.0), min(value + above, 1.0), int(trials.sum()))


def bounded(
    value: float,
    variance: float,
    n: int,
    level: float = LEVEL,
    *,
    least: float = 0.0,
    most: float = 1.0,
    rows: float | None = None,
) -> Measure:
    """Measure that has limits of its own, with an interval that keeps within them.

    Parameters
    ----------
    value : float
    variance : float
        Of the value; 0: unknown.
    n : int
        Rows it is computed from.
    level : float
        Coverage, between 0 and 1.
    least, most : float
        The measure's own limits.
    rows : float, optional
        How many rows it is worth where its variance is unknown; default n.

    Notes
    -----
    Wilson's interval of the proportion (value − least)/(most − least), seen in as many rows as would give a
    proportion the same variance.

    Examples
    --------
    >>> found = bounded(0.5, 0.01, 100, least=-1.0)
    >>> round(found.low, 3), round(found.high, 3)
    (0.283, 0.668)
    """
    width = most - least
    share = min(max((value - least) / width, 0.0), 1.0)
    binomial, own = share * (1 - share), variance / width**2
    worth = binomial / own if binomial > 0 and own > 0 else float(n if rows is None else rows)
    low, high = wilson(np.array(share), np.array(worth), level)
    # Rounding must not put the value outside its own interval.
    return measure(value, min(least + width * float(low), value), max(least + width * float(high), value), n)


def mean(total: float, squares: float, n: int, level: float = LEVEL, least: float | None = None) -> Measure:
    """Mean with Student's interval, n ≥ 1; without limits if n = 1.

    Parameters
    ----------
    total, squares : float
        Sums of what is averaged and of its squares.
    n : int
    level : float
        Coverage, between 0 and 1.
    least : float, optional
        What the mean cannot be below.

    Examples
    --------
    >>> found = mean(6.0, 14.0, 3)
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (2.0, -0.484, 4.484)
    """
    value = total / n
    if n == 1:
        return measure(value, None, None, n)
    variance = max(squares / n - value * value, 0.0) / (n - 1)
    half = float(special.stdtrit(n - 1, (1 + level) / 2)) * sqrt(variance)
    low = value - half if least is None else max(value - half, least)
    return measure(value, low, value + half, n)


def positive(value: float, variance: float, n: int, level: float = LEVEL) -> Measure:
    """Measure that is above 0 and skewed, with an interval that is symmetric on the scale of its logarithm.

    Notes
    -----
    value · exp(± z √variance / value); a value of 0 has no limits.

    Examples
    --------
    >>> found = positive(2.0, 0.04, 50)
    >>> round(found.low, 3), round(found.high, 3)
    (1.644, 2.433)
    """
    if value <= 0:
        return measure(value, None, None, n)
    far = normal_quantile(level) * sqrt(variance) / value
    return measure(value, value * exp(-far), value * exp(far) if far < 700 else None, n)
