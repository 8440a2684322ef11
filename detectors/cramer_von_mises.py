"""Two-sample Cramér–von Mises test on binned counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi, sqrt
from typing import ClassVar

import numpy as np
from scipy import optimize, special

from detectors.base import Detector, Example
from detectors.effects import compare
from detectors.planted import planted_reference, planted_windows
from detectors.significance import check_alpha, judge_by_test, rows_on_axis
from detectors.tensor import FloatArray, IntArray, ReferenceCounts
from schemas.verdict import Verdict

_TERMS = np.arange(60)  # of the series of the limiting distribution; far more than double precision needs
_LARGEST = 8.0  # its upper 1e-16 quantile lies below


@dataclass(frozen=True)
class CramerVonMises(Detector):
    """Report drift when a two-sample Cramér–von Mises test rejects.

    Parameters
    ----------
    alpha : float
        Level of the test for each stream and window, from 1e-9 to 0.5.

    Raises
    ------
    UsageError
        If `alpha` is out of range.

    Notes
    -----
    With N = n + m rows on the numeric axis, pooled shares h_j and pooled distribution function H_j::

        T = nm/N · Σ h_j (F_j − G_j)²
        mean = N/(N−1) · Σ h_j H_j (1 − H_j)
        variance = 2 Σ_ij h_i h_j (min(H_i, H_j) − H_i H_j)²

    The mean under the null is exact given the ties that binning makes; the variance is its limit for large N.
    Drift from T = mean + √(45·variance)·(c_α − 1/6) on, where c_α is the upper α quantile of the limiting
    distribution without ties, whose mean is 1/6 and variance 1/45. So the shape of that distribution is taken
    for the shape with ties; that is exact for many bins. With two bins only, levels of 0.05, 0.01 and 0.001
    are 0.051, 0.011 and 0.0012 in truth.

    α counts for one window of one stream; rows are taken for independent. A column without a numeric axis is
    never drift; its threshold source says so.

    References
    ----------
    .. [1] T. W. Anderson, "On the distribution of the two-sample Cramér–von Mises criterion", Annals of
       Mathematical Statistics 33 (1962).
    .. [2] S. Csörgő, J. Faraway, "The exact and asymptotic distributions of Cramér–von Mises statistics",
       Journal of the Royal Statistical Society B 58 (1996), equation 1.3.

    Examples
    --------
    >>> detector = CramerVonMises()
    >>> example = detector.examples()[0]
    >>> amount, carrier, *_ = detector.judge(example.reference, example.shifted[0])
    >>> amount.decision.value, amount.statistic > amount.threshold, round(amount.threshold, 2)
    ('drift', True, 0.46)
    >>> carrier.decision.value, carrier.threshold_source
    ('ok', 'not on a numeric axis')
    """

    name: ClassVar[str] = "cramer_von_mises"

    alpha: float = 0.05

    def __post_init__(self) -> None:
        check_alpha(self.name, self.alpha)

    def judge(self, reference: ReferenceCounts, window: IntArray) -> list[Verdict]:
        """Judge one window; see `Detector.judge`."""
        reference.check_window(window)
        effects = compare(reference.counts, window, reference.layout, reference.sd)
        statistic, critical = criterion(reference, window, self.alpha)
        return judge_by_test(self.name, reference, effects, statistic, critical, self.alpha)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A fifth of a standard deviation in windows of 1,000 rows."""
        return (
            Example(
                parameters={"alpha": 0.05},
                reference=planted_reference(seed=1),
                null=planted_windows(seed=2, windows=200),
                shifted=planted_windows(seed=3, windows=20, shift_sd=0.2),
                shifted_column="amount",
                false_alarm_rate=0.035,  # 0.05 of the tested half of the columns, and three standard errors
                delay=2,
            ),
        )


def criterion(reference: ReferenceCounts, window: IntArray, alpha: float) -> tuple[FloatArray, FloatArray]:
    """Criterion T (nan without rows on the axis) and its critical value, both ``[S, C]``."""
    ordered = reference.layout.ordered
    n, m = rows_on_axis(window, reference), rows_on_axis(reference.counts, reference)
    all_rows = np.maximum(n + m, 1)
    h = (window + reference.counts) * ordered / all_rows[..., None]
    apart = np.cumsum(window * ordered / np.maximum(n, 1)[..., None], axis=-1) - np.cumsum(
        reference.counts * ordered / np.maximum(m, 1)[..., None], axis=-1
    )
    statistic = np.where((n > 0) & (m > 0), n * m / all_rows * (h * apart**2).sum(axis=-1), np.nan)
    mean, variance = _moments(h)
    mean = mean * all_rows / np.maximum(all_rows - 1, 1)
    # Where all rows lie in one bin T is 0 for certain, and any threshold above 0 will do.
    spread = np.where(variance > 0, np.sqrt(45 * variance), 1.0)
    return statistic, mean + spread * (critical_value(alpha) - 1 / 6)


def _moments(h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean (without the factor N/(N−1)) and variance of T given the pooled shares ``[..., K]``."""
    below = np.minimum(np.cumsum(h, axis=-1), 1.0)
    above = 1 - below
    squares = h * below**2
    earlier = np.cumsum(squares, axis=-1) - squares
    # Bins i < j share min(H_i, H_j) − H_i·H_j = H_i·(1 − H_j); each pair counts twice, each bin itself once.
    variance = 2 * (h * above**2 * (2 * earlier + squares)).sum(axis=-1)
    return (h * below * above).sum(axis=-1), variance


@lru_cache(maxsize=64)
def critical_value(alpha: float) -> float:
    """Upper α quantile of Σ χ²₁/(π²i²), the limiting distribution of the criterion without ties.

    Examples
    --------
    >>> round(critical_value(0.05), 5), round(critical_value(0.01), 5)
    (0.46136, 0.74346)
    """
    root: float = optimize.brentq(lambda x: 1 - _limit(x) - alpha, 1e-2, _LARGEST, xtol=1e-12)
    return root


def _limit(x: float) -> float:
    odd = 4 * _TERMS + 1.0
    y = odd**2 / (16 * x)
    weights = np.exp(special.gammaln(_TERMS + 0.5) - special.gammaln(_TERMS + 1.0)) / sqrt(pi)
    # kve is K·e^y, hence another e^(−y) on top of the one in the formula.
    terms = weights * np.sqrt(odd) * np.exp(-2 * y) * special.kve(0.25, y)
    return float(terms.sum() / (pi * sqrt(x)))
