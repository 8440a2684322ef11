"""Evidence that the means of two groups lie further apart than is allowed, whatever both of them are.

Rates of positive predictions, true positive rates, or labels less scores: something bounded is averaged over
the rows of each group, and the difference of any two groups should stay within a limit.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np

from detectors.tensor import BoolArray, FloatArray, IntArray

GAPS = (0.02, 0.05, 0.1, 0.2, 0.4)
"""How far beyond the limit a difference is looked for."""

LEADS = 3
"""Which group moved: the one below, the one above, or both."""

MEMORIES = 2
"""What is remembered of each group: the window before, and a mean over about ten."""

ALTERNATIVES = len(GAPS) * LEADS * MEMORIES
_LARGEST_STAKE = 0.9  # of what a row can lose
_LEAST_VARIANCE = 1e-3


class Values(NamedTuple):
    """Values of the rows of G groups in one window.

    Parameters
    ----------
    at : FloatArray
        ``[P]``: the values that rows may have.
    rows : FloatArray
        ``[G, P]``: how many rows of each group have them.
    """

    at: FloatArray
    rows: FloatArray

    @property
    def n(self) -> FloatArray:
        """Rows of each group, ``[G]``."""
        return np.asarray(self.rows.sum(axis=1))

    @property
    def sums(self) -> FloatArray:
        """Rows, Σ x and Σ x² of each group, ``[G, 3]``."""
        return np.asarray(self.rows @ np.stack((np.ones_like(self.at), self.at, self.at**2), axis=1))


def pairs(groups: int) -> IntArray:
    """All ordered pairs of groups, ``[G·(G − 1), 2]``: the first is the one that may lie too high.

    Examples
    --------
    >>> pairs(2).tolist()
    [[0, 1], [1, 0]]
    """
    return np.array(list(permutations(range(groups), 2)), np.int64).reshape(-1, 2)


def disparity_evidence(
    values: Values, memory: FloatArray, limit: float, is_watched: BoolArray, *, is_rate: bool
) -> FloatArray:
    """Logarithms of e-values against "the first group's mean is at most `limit` above the second's".

    Parameters
    ----------
    values : Values
        Of one window; between −1 and 1.
    memory : FloatArray
        ``[MEMORIES, G, 3]``: rows, Σ x, Σ x² of each group before this window. A poor memory costs power and
        nothing else.
    limit : float
        Between 0 and 1.
    is_watched : BoolArray
        ``[G]``: pairs with a group that is not watched have no evidence. It may depend on numbers of rows.
    is_rate : bool
        Values are 0 and 1.

    Returns
    -------
    FloatArray
        ``[pairs, ALTERNATIVES]``; 0 where there is no evidence.

    Notes
    -----
    With means m, m − limit of the two groups that lie at the edge of what is allowed, and stakes λ, κ,

    ``E = Π (1 + λ·(x − m)) · Π (1 − κ·(y − m + limit))``

    over the rows x of the first group and y of the second, with stakes so that λ·n = κ·k for n and k rows. Of
    rows with means μ and ν the expectation of E is (1 + λ(μ − m))ⁿ·(1 − κ(ν − m + limit))ᵏ, and as 1 + z ≤
    eᶻ, at most exp(λn·(μ − ν − limit)): no more than 1 as long as μ − ν ≤ limit, wherever μ and ν are. So m
    and the stakes only decide about power, and are chosen from what earlier windows have shown: for a gap g
    beyond the limit with variances v and w, λn = g/(v/n + w/k), and m as near to the expected mean of the
    first group as its share of v/n + w/k. For rates and equal groups this is the growth-optimal e-value [1]_.

    References
    ----------
    .. [1] R. Turner, A. Ly, P. Grünwald, "Generic e-variables for exact sequential k-sample tests that allow
       for optional stopping", Journal of Statistical Planning and Inference 230 (2024).
    .. [2] I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86
       (2024).

    Examples
    --------
    >>> memory = np.tile([100.0, 60.0, 60.0], (2, 2, 1))
    >>> window = Values(np.array([0.0, 1.0]), np.array([[200.0, 300], [300, 200]]))  # .6 and .4
    >>> found = disparity_evidence(window, memory, 0.1, np.array([True, True]), is_rate=True)
    >>> found.max(axis=1).round(1).tolist()
    [5.1, -6.3]
    """
    which = pairs(len(values.rows))
    first, second = which[:, 0], which[:, 1]
    n, k = (np.maximum(values.n[at], 1.0)[:, None] for at in (first, second))
    expected = _means(memory)
    gap = np.array(GAPS)
    upper, lower = _alternatives(expected[:, first], expected[:, second], limit + gap)
    v = _variances(memory[:, first], upper, is_rate=is_rate)
    w = _variances(memory[:, second], lower, is_rate=is_rate)
    beyond = np.broadcast_to(np.tile(gap, LEADS * MEMORIES), upper.shape)
    noise = v / n + w / k
    m = upper - beyond * (v / n) / noise
    lowest, highest = float(values.at.min()), float(values.at.max())
    worst = np.maximum((m - lowest) / n, (highest - m + limit) / k)
    stake = np.minimum(beyond / noise, _LARGEST_STAKE / np.maximum(worst, 1e-12))
    log = _log_product(values, first, stake / n, m) + _log_product(values, second, -stake / k, m - limit)
    return np.where((is_watched[first] & is_watched[second])[:, None], log, 0.0)


def _means(memory: FloatArray) -> FloatArray:
    """Remembered means, ``[MEMORIES, G]``; 0 of nothing."""
    found: FloatArray = memory[..., 1] / np.maximum(memory[..., 0], 1e-9)
    return found


def _alternatives(first: FloatArray, second: FloatArray, apart: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Means of both groups that are looked for, ``[pairs, ALTERNATIVES]`` each.

    Parameters
    ----------
    first, second : FloatArray
        ``[MEMORIES, pairs]``: what is remembered.
    apart : FloatArray
        ``[gaps]``: how far they lie apart.
    """
    a, b = first[:, :, None, None], second[:, :, None, None]
    middle = (a + b) / 2
    whole, half = apart[None, None, None, :], apart[None, None, None, :] / 2
    upper = np.concatenate((np.broadcast_to(a, (*a.shape[:3], len(apart))), b + whole, middle + half), axis=2)
    lower = np.concatenate((a - whole, np.broadcast_to(b, (*b.shape[:3], len(apart))), middle - half), axis=2)
    upper, lower = (np.moveaxis(x, 0, 1).reshape(x.shape[1], ALTERNATIVES) for x in (upper, lower))
    return upper, lower


def _variances(memory: FloatArray, mean: FloatArray, *, is_rate: bool) -> FloatArray:
    """Variances that rows have under an alternative, ``[pairs, ALTERNATIVES]``."""
    if is_rate:
        p = np.clip(mean, 0.0, 1.0)
        return np.maximum(p * (1 - p), _LEAST_VARIANCE)
    rows = np.maximum(memory[..., 0], 1e-9)
    v = memory[..., 2] / rows - (memory[..., 1] / rows) ** 2
    return np.repeat(np.maximum(v, _LEAST_VARIANCE).T, ALTERNATIVES // MEMORIES, axis=1)


def _log_product(values: Values, group: IntArray, stake: FloatArray, mean: FloatArray) -> FloatArray:
    """Σ rows·ln(1 + stake·(value − mean)), ``[pairs, ALTERNATIVES]``."""
    used = np.flatnonzero(values.rows.any(axis=0))
    total = np.zeros_like(stake)
    rows = values.rows[group]
    for at in used.tolist():  # a few values; an array over all of them would be large
        total += rows[:, at, None] * np.log1p(stake * (values.at[at] - mean))
    return total
