"""What scores are worth: the share of successes by score cell, drawn towards the whole where rows are few.

A *success* is whatever a curve is about: the label is the positive class, or the prediction was right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from detectors.outcomes import SCORE_CELLS, score_edges
from detectors.tensor import FloatArray, IntArray

PLACES = SCORE_CELLS + 1
"""Places of a curve: 0 for rows without a score, then the cells of scores."""

_LEAST_PSEUDO_ROWS = 0.5
_LEAST = 1e-6
_GROUPS = 12


@dataclass(frozen=True)
class Curve:
    """P(success) at each place, and how well it is known.

    Parameters
    ----------
    p : FloatArray
        ``[PLACES]``: between 0 and 1, never 0 or 1; non-decreasing over the cells of scores.
    block : IntArray
        ``[PLACES]``: places whose p is one and the same estimate share a block.
    variance : FloatArray
        ``[blocks]``: of that estimate.
    own : FloatArray
        ``[blocks]``: the part of it that a curve drawn to another one does not share with that one; 0 for a
        curve that stands on its own.
    portion : FloatArray
        ``[blocks]``: share of the whole's rows that the curve's part has; 0 as well.
    group : IntArray
        ``[PLACES]``: runs of blocks with about equal numbers of rows, at most a dozen, over which parts are
        compared with the whole. They are the blocks of curves that are drawn to this one.

    Notes
    -----
    Isotonic regression (pool adjacent violators) of the shares with the rows as weights. A block without
    any success, or without any failure, is given half of one: p = ½/(m + 1), and the regression is repeated.
    Half a success for *all* blocks would move every estimate towards ½, by more than the sampling
    error of 50,000 rows. Cells without rows lie on the line between their neighbours and belong to the
    block of the nearer one. Without any rows, scores are taken at their word, as if one row had confirmed
    each.

    References
    ----------
    .. [1] B. Zadrozny, C. Elkan, "Transforming classifier scores into accurate multiclass probability
       estimates", KDD 2002.

    Examples
    --------
    >>> n, successes = np.zeros(PLACES), np.zeros(PLACES)
    >>> n[[100, 200, 300]], successes[[100, 200, 300]] = 10, [0, 4, 3]
    >>> curve = Curve.fit(n, successes)
    >>> curve.p[[100, 150, 200, 300]].round(3).tolist()
    [0.045, 0.198, 0.35, 0.35]
    """

    p: FloatArray
    block: IntArray
    variance: FloatArray
    own: FloatArray
    portion: FloatArray
    group: IntArray

    @classmethod
    def fit(cls, n: FloatArray, successes: FloatArray) -> Curve:
        """Fit a curve to rows and successes, ``[PLACES]`` each."""
        unscored = (successes[0] + 0.5) / (n[0] + 1)
        scored, block, rows = _isotonic(n[1:], successes[1:])
        p = np.concatenate(([unscored], scored))
        block = np.concatenate(([0], block + 1))
        rows = np.concatenate(([n[0] + 1], rows))
        value = np.zeros(len(rows))
        value[block] = p
        if not n[1:].any():
            group = np.minimum(block, 1)
            return cls(p, block, value * (1 - value), np.zeros(len(rows)), np.zeros(len(rows)), group)
        first = _sums(block, p * n, len(rows))
        total = _sums(block, n, len(rows))
        value = np.where(total > 0, first / np.maximum(total, 1e-300), value)
        variance = value * (1 - value) / np.maximum(rows, 1)
        return cls(p, block, variance, np.zeros(len(rows)), np.zeros(len(rows)), _groups(rows)[block])

    def by_group(self, values: FloatArray) -> FloatArray:
        """Sum values ``[PLACES]`` over the places of each group."""
        return _sums(self.group, values, int(self.group.max()) + 1)

    def drawn_to(
        self, n: FloatArray, successes: FloatArray, pseudo_rows: float, whole_rows: FloatArray
    ) -> Curve:
        """Fit a curve to the rows of a part, drawn towards this one, that of the whole.

        Parameters
        ----------
        n, successes : FloatArray
            ``[PLACES]``.
        pseudo_rows : float
            κ, from `pseudo_rows`: how many rows of the part the whole is worth; infinite where parts do not
            differ.
        whole_rows : FloatArray
            ``[PLACES]``: rows of the whole.

        Notes
        -----
        Each group of the whole is moved by what the part's successes exceed those expected, as far as
        κ allows: (1 − λ)·(successes/n − p), λ = κ/(n + κ). The variance is that of the posterior under a beta
        prior, p(1 − p)/(n + κ + 1), and the whole's own, λ²·p(1 − p)/m.
        """
        if np.isinf(pseudo_rows):
            return self
        rows, whole = self.by_group(n), self.by_group(whole_rows)
        share = pseudo_rows / (rows + pseudo_rows)
        excess = (self.by_group(successes) - self.by_group(n * self.p)) / np.maximum(rows, 1)
        p = (self.p + ((1 - share) * excess)[self.group]).clip(_LEAST, 1 - _LEAST)
        # By the whole's rows, so that places the part has none at keep their order as well.
        p[1:] = isotonic_regression(p[1:], weights=whole_rows[1:] + n[1:] + _LEAST).x
        weight = whole_rows + _LEAST
        middle = self.by_group(p * weight) / self.by_group(weight)
        own = middle * (1 - middle) / (rows + pseudo_rows + 1)
        of_whole = middle * (1 - middle) / np.maximum(whole, 1)
        portion = rows / np.maximum(whole, 1)
        return Curve(p, self.group, own + share**2 * of_whole, own, portion, self.group)


def pseudo_rows(n: FloatArray, total: FloatArray, mean: FloatArray, variance: FloatArray) -> float:
    """How many rows of a part the whole is worth: κ by moments.

    Parameters
    ----------
    n, total : FloatArray
        Rows of each part in each block, and the sum of something over them.
    mean, variance : FloatArray
        Of one row of the whole, broadcast against them.

    Returns
    -------
    float
        κ ≥ ½; infinite if the parts differ no more than chance.

    Notes
    -----
    With a variance τ² between parts, E[(total − n·mean)²] = n·v + n(n − 1)·τ². Summed over parts and blocks
    that gives ρ = τ²/v, the correlation within parts, and κ = 1/ρ − 1.

    Examples
    --------
    >>> pseudo_rows(np.array([100.0, 100.0]), np.array([40.0, 60.0]), np.array(0.5), np.array(0.25))
    32.0
    """
    between = ((total - n * mean) ** 2 - n * variance).sum()
    possible = (n * np.maximum(n - 1, 0) * variance).sum()
    if between <= 0 or possible <= 0:
        return float("inf")
    return max(float(possible / between) - 1, _LEAST_PSEUDO_ROWS)


def middles() -> FloatArray:
    """Middle score of each cell, ``[SCORE_CELLS]``.

    Examples
    --------
    >>> middles()[[0, 304, 305, 610]].round(4).tolist()
    [0.0, 0.4922, 0.5, 1.0]
    """
    edges = score_edges()
    return np.asarray((edges[:-1] + edges[1:]) / 2, np.float64)


def _isotonic(n: FloatArray, successes: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
    """Give p of each cell, its block, and the rows of each block."""
    at = np.flatnonzero(n > 0)
    cells = np.arange(len(n), dtype=np.int64)
    if not len(at):
        return middles(), cells, np.ones(len(n))
    weight = n[at]
    first = isotonic_regression(successes[at] / weight, weights=weight)
    block = _blocks(first.blocks)
    rows = _sums(block, weight, int(block[-1]) + 1)
    half = 0.5 / (rows + 1)
    again = isotonic_regression(np.clip(first.x, half[block], 1 - half[block]), weights=weight)
    block = _blocks(again.blocks)
    # The nearer occupied cell; of two as near, the lower one.
    nearer = np.searchsorted((at[1:] + at[:-1]) / 2, cells)
    return np.interp(cells, at, again.x), block[nearer], _sums(block, weight, len(again.blocks) - 1)


def _groups(rows: FloatArray) -> IntArray:
    """Group of each block; the first, of rows without a score, is one of its own."""
    of_scores = rows[1:]
    middle = (np.cumsum(of_scores) - of_scores / 2) / of_scores.sum()
    _, group = np.unique((middle * _GROUPS).astype(np.int64), return_inverse=True)
    return np.concatenate(([0], group + 1)).astype(np.int64)


def _blocks(bounds: IntArray) -> IntArray:
    return np.repeat(np.arange(len(bounds) - 1), np.diff(bounds)).astype(np.int64)


def _sums(place: IntArray, values: FloatArray, length: int) -> FloatArray:
    return np.asarray(np.bincount(place, values, length), np.float64)
