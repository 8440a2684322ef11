"""Fairness: how differently a model treats the values of a sensitive segment column.

Whether a difference is unjust is not for statistics to say. Here are the differences, each with an interval
that allows for having picked the most different two of many groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import exp, log, pi, sqrt
from typing import NamedTuple

import numpy as np
from scipy import special

from detectors.calibrator import signed, successes
from detectors.conformal import LEVEL
from detectors.outcomes import Family, Records
from detectors.score_curve import middles
from detectors.tensor import BoolArray, FloatArray

LEAST_ROWS = 30
CALIBRATION_BINS = 10


class Rate(NamedTuple):
    """So many of n."""

    k: float
    n: float

    @property
    def share(self) -> float:
        """The rate; 0 of nothing."""
        return self.k / self.n if self.n > 0 else 0.0


class Spread(NamedTuple):
    """A mean with its variance, of n rows."""

    mean: float
    variance: float
    n: float


@dataclass(frozen=True)
class Group:
    """What was done to the events of one value.

    Parameters
    ----------
    name : str
    positive : Rate
        Positive predictions, of all: with labels and without.
    true_positive, false_positive : Rate
        Positive predictions among labelled positives, and among labelled negatives.
    calibration : Spread
        Mean distance of the scores from the rate of positives, over bins of the score, without what
        chance alone would give.
    """

    name: str
    positive: Rate
    true_positive: Rate
    false_positive: Rate
    calibration: Spread


@dataclass(frozen=True)
class Disparity:
    """The largest difference between two groups; for a ratio, the smallest one.

    Parameters
    ----------
    value, low, high : float
        With the limits of its interval.
    largest, smallest : str
        Groups with the largest and the smallest rate (for calibration: error).
    """

    value: float
    low: float
    high: float
    largest: str
    smallest: str


@dataclass(frozen=True)
class Fairness:
    """Groups, and disparities by name; None where fewer than two groups have enough rows.

    Names are ``demographic_parity`` (difference of the rates of positive predictions),
    ``demographic_parity_ratio``, ``equal_opportunity`` (true positive rates), ``equalised_odds`` (the larger
    difference of true and of false positive rates) and ``calibration``.
    """

    groups: tuple[Group, ...]
    disparities: Mapping[str, Disparity | None]


def measure_fairness(
    records: Records,
    segments: Mapping[str, int],
    positive: Sequence[int],
    *,
    least_rows: int = LEAST_ROWS,
    level: float = LEVEL,
) -> Fairness:
    """Compare the groups of a segment column.

    Parameters
    ----------
    records : records
        Of a window; `Family.PREDICTED` and `Family.LABELLED` of the segments are used.
    segments : mapping of str to int
        Hashes of the column's segments by value.
    positive : sequence of int
        Hashes of the class that is good to get, or bad.
    least_rows : int
        Groups with fewer rows under a rate are left out of its disparity.
    level : float
        Coverage of the intervals.

    Notes
    -----
    Every pair of groups has an interval at level 1 − (1 − level)/pairs, so that all hold at once: Newcombe's
    for differences of rates, a normal one for the logarithm of a ratio and for calibration. The largest true
    difference is at least the largest lower limit of a pair, and at most the largest upper limit: that is
    the interval of the disparity. The disparity itself is the largest of several noisy numbers, and too large
    on average.

    References
    ----------
    .. [1] R. Newcombe, "Interval estimation for the difference between independent proportions", Statistics
       in Medicine 17 (1998), method 10.
    .. [2] M. Hardt, E. Price, N. Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016.

    Examples
    --------
    >>> from detectors.outcomes import RECORD
    >>> records = np.zeros(4, RECORD)
    >>> records["segment"], records["a"], records["n"] = [1, 1, 2, 2], [5, 6, 5, 6], [300, 700, 450, 550]
    >>> found = measure_fairness(records, {"f": 1, "m": 2}, positive=[5])
    >>> gap = found.disparities["demographic_parity"]
    >>> round(gap.value, 3), round(gap.low, 3), round(gap.high, 3), gap.largest
    (0.15, 0.115, 0.185, 'm')
    """
    hashes = signed(positive)
    edges = _edges(records, segments)
    groups = tuple(_group(records, name, segment, hashes, edges) for name, segment in segments.items())
    compared = _Compared(groups, least_rows, level)
    return Fairness(
        groups,
        {
            "demographic_parity": compared.rates(lambda g: g.positive),
            "demographic_parity_ratio": compared.ratio(lambda g: g.positive),
            "equal_opportunity": compared.rates(lambda g: g.true_positive),
            "equalised_odds": compared.odds(),
            "calibration": compared.spreads(lambda g: g.calibration),
        },
    )


class _Compared(NamedTuple):
    """All pairs of groups."""

    groups: Sequence[Group]
    least_rows: int
    level: float

    def rates(self, of: Callable[[Group], Rate], measures: int = 1) -> Disparity | None:
        """Largest difference of rates, as one of several measures that have to hold at once."""
        return self._largest(of, lambda a, b, z: _newcombe(of(a), of(b), z), lambda g: of(g).share, measures)

    def spreads(self, of: Callable[[Group], Spread]) -> Disparity | None:
        """Largest difference of means."""

        def limits(a: Group, b: Group, z: float) -> tuple[float, float]:
            difference, half = of(a).mean - of(b).mean, z * sqrt(of(a).variance + of(b).variance)
            return difference - half, difference + half

        return self._largest(of, limits, lambda g: of(g).mean, 1)

    def odds(self) -> Disparity | None:
        """Larger one of the differences of true and of false positive rates."""
        both = self.rates(lambda g: g.true_positive, 2), self.rates(lambda g: g.false_positive, 2)
        if both[0] is None or both[1] is None:
            return None
        larger = max(both, key=lambda one: one.value if one else 0.0)
        low, high = (max(getattr(one, name) for one in both) for name in ("low", "high"))
        return larger and Disparity(larger.value, low, high, larger.largest, larger.smallest)

    def ratio(self, of: Callable[[Group], Rate]) -> Disparity | None:
        """Smallest ratio of rates."""
        enough = self._enough(of)
        if len(enough) < 2 or not any(of(g).k for g in enough):
            return None
        z = self._z(len(enough), 1)
        most, least = (pick(enough, key=lambda g: of(g).share) for pick in (max, min))
        limits = [_log_ratio(of(a), of(b), z) for a, b in permutations(enough, 2)]
        low, high = (min(1.0, exp(min(ends))) for ends in zip(*limits, strict=True))
        return Disparity(of(least).share / of(most).share, low, high, most.name, least.name)

    def _enough(self, of: Callable[[Group], Rate] | Callable[[Group], Spread]) -> list[Group]:
        return [group for group in self.groups if of(group).n >= max(self.least_rows, 1)]

    def _z(self, groups: int, measures: int) -> float:
        pairs = groups * (groups - 1) / 2 * measures
        return float(special.ndtri(1 - (1 - self.level) / 2 / pairs))

    def _largest(
        self,
        of: Callable[[Group], Rate] | Callable[[Group], Spread],
        limits: Callable[[Group, Group, float], tuple[float, float]],
        value: Callable[[Group], float],
        measures: int,
    ) -> Disparity | None:
        enough = self._enough(of)
        if len(enough) < 2:
            return None
        z = self._z(len(enough), measures)
        most, least = max(enough, key=value), min(enough, key=value)
        lows, highs = zip(*(limits(a, b, z) for a, b in permutations(enough, 2)), strict=True)
        difference = value(most) - value(least)
        return Disparity(difference, max(0.0, *lows), min(1.0, max(highs)), most.name, least.name)


def _newcombe(a: Rate, b: Rate, z: float) -> tuple[float, float]:
    """Limits of the difference of two rates."""
    (a_low, a_high), (b_low, b_high) = _wilson(a, z), _wilson(b, z)
    p, q = a.share, b.share
    return p - q - sqrt((p - a_low) ** 2 + (b_high - q) ** 2), p - q + sqrt(
        (a_high - p) ** 2 + (q - b_low) ** 2
    )


def _wilson(rate: Rate, z: float) -> tuple[float, float]:
    n, p = rate.n, rate.share
    middle, half = p + z**2 / (2 * n), z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def _log_ratio(a: Rate, b: Rate, z: float) -> tuple[float, float]:
    """Limits of the logarithm of a ratio of rates, with half a case more on either side."""
    ratio = log((a.k + 0.5) / (a.n + 0.5)) - log((b.k + 0.5) / (b.n + 0.5))
    variance = 1 / (a.k + 0.5) - 1 / (a.n + 0.5) + 1 / (b.k + 0.5) - 1 / (b.n + 0.5)
    half = z * sqrt(max(variance, 0.0))
    return ratio - half, ratio + half


def _group(records: Records, name: str, segment: int, positive: tuple[int, ...], edges: FloatArray) -> Group:
    own = records[records["segment"] == np.uint64(segment)]
    predicted, known = (own[own["family"] == family] for family in (Family.PREDICTED, Family.LABELLED))
    every = predicted if len(predicted) else known
    is_true = successes(known, positive)

    def chosen(among: Records, these: BoolArray) -> Rate:
        is_chosen = np.isin(among["a"], positive)
        return Rate(float(among["n"][these & is_chosen].sum()), float(among["n"][these].sum()))

    return Group(
        name,
        chosen(every, np.ones(len(every), bool)),
        chosen(known, is_true),
        chosen(known, ~is_true),
        _calibration(known, is_true * known["n"], edges),
    )


def _edges(records: Records, segments: Mapping[str, int]) -> FloatArray:
    """Cells with which bins of scores begin that hold about equal numbers of all groups' labels."""
    hashes = np.array([x % 2**64 for x in segments.values()], np.uint64)
    known = records[(records["family"] == Family.LABELLED) & np.isin(records["segment"], hashes)]
    cell = known["cell"][known["cell"] >= 0]
    cells, at = np.unique(cell, return_inverse=True)
    n = np.bincount(at, known["n"][known["cell"] >= 0], len(cells))
    share = (np.cumsum(n) - n / 2) / max(n.sum(), 1.0)
    first = np.unique((share * CALIBRATION_BINS).astype(np.int64), return_index=True)[1]
    return np.asarray(cells[first], np.float64)


def _calibration(known: Records, positives: FloatArray, edges: FloatArray) -> Spread:
    """Mean |rate of positives − score| over bins, less what is to be expected of chance."""
    scored = known["cell"] >= 0
    rows, good = known["n"][scored], positives[scored]
    if rows.sum() <= 0:
        return Spread(0.0, 0.0, 0.0)
    at = np.maximum(np.searchsorted(edges, known["cell"][scored], side="right") - 1, 0)
    score = middles()[known["cell"][scored]]
    n, total, expected, binomial = (
        np.bincount(at, values, len(edges))
        for values in (rows, good, rows * score, rows * score * (1 - score))
    )
    weight, size = n / n.sum(), np.maximum(n, 1)
    variance = np.maximum(binomial, 0.0) / size**2
    off = np.abs(total - expected) / size - np.sqrt(2 * variance / pi)
    return Spread(float(max((weight * off).sum(), 0.0)), float((weight**2 * variance).sum()), float(n.sum()))
