"""Two versions of a model on the same events: which is better, how surely, and how many more labels it takes.

The unit is the slice. Events of a slice may depend on each other in any way; what one version gets right is
mostly what the other gets right too, and only the difference counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf, isfinite

import msgspec
import numpy as np

from detectors.confidence_sequence import gamma_boundary, normal_boundary, proportion, rows_until, tuned
from detectors.sealed import seal, unseal
from detectors.tensor import FloatArray

ALPHA = 0.05
FEWEST_SLICES = 30
_TUNED_ROWS = 5_000.0
_TYPICAL_VARIANCE = 0.1  # of one event's difference, in squares of the reach
_LEAST_SHARE = 0.3  # of ρ in the square of the scale: below it the boundary is wide everywhere
_MAGIC = b"PCS1"


class Standing(StrEnum):
    """Where the challenger stands next to the champion."""

    BETTER = "better"
    WORSE = "worse"
    UNKNOWN = "not yet known"


@dataclass(frozen=True)
class Comparison:
    """What is known about challenger − champion.

    Parameters
    ----------
    difference : float
        In the unit of the metric.
    low, high : float
        Confidence sequence at the level asked for: true at all times at once.
    n : int
        Labels.
    standing : Standing
    more_labels : int or None
        How many more it takes until the interval leaves out 0, if the difference stays what it is; 0 if
        it does already, None if that cannot be told.
    """

    difference: float
    low: float
    high: float
    n: int
    standing: Standing
    more_labels: int | None


class PairedSums(msgspec.Struct, frozen=True):
    """Paired differences of two versions, as sums over slices; grows by `added`, never forgets, stays small.

    Parameters
    ----------
    reach : float
        Largest difference of one event: 1 for accuracy, the largest less the smallest cost for costs;
        infinite for losses without limit.
    slice_rows : float
        Rows of a usual slice, fixed beforehand; those with more count as if they had as many. Far too small
        or far too large a number makes intervals wide, never wrong.
    n, total : float
        Σ n_t and Σ D_t, the sums over slices of rows and of differences.
    squared, crossed, rows_squared : float
        Σ D_t², Σ D_t·n_t, Σ n_t².
    variance : float
        Σ (D_t − n_t·mean before)².
    slices, labels : int
    unit : float
        Variance that `normal_boundary` is tuned for; 0 before there are 30 slices.

    Notes
    -----
    With a finite reach the interval is an empirical-Bernstein confidence sequence: D_t lies within
    ±reach·n_t, and nothing else is assumed, neither independence within slices nor a mean that stays what it
    is; it is about the mean of what the differences were to be expected to be. It cannot reach less than some
    8·reach/(number of slices) to each side. With an infinite reach it is an asymptotic one with the variance
    of a ratio, Σ (D_t − mean·n_t)², narrower, and needs 30 slices to begin.

    References
    ----------
    .. [1] S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic
       confidence sequences", Annals of Statistics 49 (2021).
    .. [2] I. Waudby-Smith et al., "Time-uniform central limit theory and asymptotic confidence sequences",
       Annals of Statistics 52 (2024).

    Examples
    --------
    >>> generator = np.random.default_rng(1)
    >>> rows = np.full(1_000, 100.0)
    >>> better = generator.binomial(100, 0.06, 1_000) - generator.binomial(100, 0.04, 1_000)
    >>> found = compare(PairedSums(reach=1.0, slice_rows=100).added(rows, better.astype(float)))
    >>> found.standing.value, round(found.difference, 4), round(found.low, 4), round(found.high, 4)
    ('better', 0.0206, 0.0106, 0.0307)
    """

    reach: float
    slice_rows: float
    n: float = 0.0
    total: float = 0.0
    squared: float = 0.0
    crossed: float = 0.0
    rows_squared: float = 0.0
    variance: float = 0.0
    slices: int = 0
    labels: int = 0
    unit: float = 0.0

    def added(self, rows: FloatArray, differences: FloatArray) -> PairedSums:
        """Take in slices in order of time, each once and when its labels are complete.

        Parameters
        ----------
        rows : FloatArray
            ``[slices]``: labelled events of both versions.
        differences : FloatArray
            ``[slices]``: sums over them of challenger − champion.
        """
        some = rows > 0
        kept = np.minimum(1.0, self.slice_rows / rows[some])
        n, d = rows[some] * kept, differences[some] * kept
        if not len(n):
            return self
        before_n, before = self.n + np.cumsum(n) - n, self.total + np.cumsum(d) - d
        guess = np.where(before_n > 0, before / np.maximum(before_n, 1e-300), 0.0) * n
        found = msgspec.structs.replace(
            self,
            n=self.n + float(n.sum()),
            total=self.total + float(d.sum()),
            squared=self.squared + float((d**2).sum()),
            crossed=self.crossed + float((d * n).sum()),
            rows_squared=self.rows_squared + float((n**2).sum()),
            variance=self.variance + float(((d - guess) ** 2).sum()),
            slices=self.slices + len(n),
            labels=self.labels + round(float(rows.sum())),
        )
        if self.unit == 0 and found.slices >= FEWEST_SLICES:
            return msgspec.structs.replace(found, unit=max(10 * found.ratio_variance, 1e-300))
        return found

    @property
    def ratio_variance(self) -> float:
        """Σ (D_t − mean·n_t)²."""
        mean = self.total / self.n if self.n > 0 else 0.0
        return max(self.squared - 2 * mean * self.crossed + mean**2 * self.rows_squared, 0.0)

    def half_width(self, alpha: float, rows: float | None = None) -> float:
        """Half width of the confidence sequence now, or with so many rows of the same kind."""
        if self.n <= 0:
            return inf
        grown = 1.0 if rows is None else rows / self.n
        if isfinite(self.reach):
            scale = 2 * self.reach * self.slice_rows
            rho = tuned(_TUNED_ROWS * _TYPICAL_VARIANCE * self.reach**2, alpha / 2)
            rho = max(rho, _LEAST_SHARE * scale**2)
            return gamma_boundary(self.variance * grown, scale, rho, alpha / 2) / (self.n * grown)
        if self.unit <= 0:
            return inf
        rho = tuned(self.unit, alpha)
        return normal_boundary(self.ratio_variance * grown, rho, alpha) / (self.n * grown)

    def to_bytes(self) -> bytes:
        """Versioned bytes of the state."""
        return seal(_MAGIC, self)

    @classmethod
    def from_bytes(cls, data: bytes) -> PairedSums:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ProfileError
            If the bytes are something else, or damaged.
        """
        return unseal(_MAGIC, data, cls, "state of a comparison")


def compare(sums: PairedSums, *, higher_is_better: bool = True, alpha: float = ALPHA) -> Comparison | None:
    """Compare two versions on the same events; None before there are labels of both.

    Parameters
    ----------
    sums : PairedSums
    higher_is_better : bool
        False for losses and costs.
    alpha : float
        Probability with which the interval is wrong at any time at all; so is the verdict.
    """
    if sums.n <= 0:
        return None
    difference, half = sums.total / sums.n, sums.half_width(alpha)
    low, high = max(difference - half, -sums.reach), min(difference + half, sums.reach)
    found = _judged(difference, low, high, sums.labels, higher_is_better)
    if found.standing is not Standing.UNKNOWN or not isfinite(half):
        return found
    rows = rows_until(lambda n: sums.half_width(alpha, n), sums.n, abs(difference))
    more = (rows / sums.n - 1) * sums.labels
    return replace(found, more_labels=max(round(more), 1) if isfinite(more) else None)


def compare_proportions(
    champion: tuple[int, int],
    challenger: tuple[int, int],
    *,
    higher_is_better: bool = True,
    alpha: float = ALPHA,
) -> Comparison | None:
    """Compare shares of two versions on *different* events, each ``(successes, labels)``; events independent.

    Notes
    -----
    Each share has a confidence sequence at α/2; the difference lies between the differences of their ends.

    Examples
    --------
    >>> found = compare_proportions((850, 1_000), (8_700, 10_000))
    >>> found.standing.value, round(found.low, 3), round(found.high, 3), found.more_labels
    ('not yet known', -0.034, 0.08, 88163)
    """
    (k, n), (other_k, other_n) = champion, challenger
    if n <= 0 or other_n <= 0:
        return None
    difference = other_k / other_n - k / n

    def ends(grown: float) -> tuple[float, float]:
        low, high = proportion(k * grown, n * grown, alpha / 2)
        other_low, other_high = proportion(other_k * grown, other_n * grown, alpha / 2)
        return other_low - high, other_high - low

    found = _judged(difference, *ends(1.0), n + other_n, higher_is_better)
    if found.standing is not Standing.UNKNOWN or difference == 0:
        return found

    def reach(rows: float) -> float:
        low, high = ends(rows / found.n)
        return difference - low if difference > 0 else high - difference

    rows = rows_until(reach, float(found.n), abs(difference))
    return replace(found, more_labels=max(round(rows - found.n), 1) if isfinite(rows) else None)


def _judged(difference: float, low: float, high: float, n: int, higher_is_better: bool) -> Comparison:
    if low <= 0 <= high:
        return Comparison(difference, low, high, n, Standing.UNKNOWN, None)
    is_better = (low > 0) == higher_is_better
    return Comparison(difference, low, high, n, Standing.BETTER if is_better else Standing.WORSE, 0)
