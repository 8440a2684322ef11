"""One window on its own: how surprising it is among windows like those of the reference.

The ledger of `detectors.ledger` divides every window's evidence by how long the noise between windows lasts,
so that a level that wanders for a week is not taken for a change. A jump that is large among *single* windows
needs no such caution: however long noise lasts, the probability that it is so far off in a given window is
that of one window, and expected numbers of false alarms add up whatever hangs together.
"""

from __future__ import annotations

import numpy as np

from detectors.single_windows import SingleWindows, log_tail
from detectors.tensor import BoolArray, FloatArray
from detectors.tilts import AXIS, TILTS, projections

_LEAST_SURPRISE = 2.0  # in standard deviations; what is nearer is not worth its arithmetic


def log_surprise(
    x: FloatArray,
    p: FloatArray,
    axis: FloatArray,
    weights: FloatArray,
    epsilon: FloatArray,
    single: SingleWindows,
) -> FloatArray:
    """Logarithm of ``max w/P`` over the directions and sides of a window, ``[N]``; -inf where nothing is off.

    Parameters
    ----------
    x, p : FloatArray
        ``[K, N]``: counts of the window; shares of the reference; both 0 in padding.
    axis : FloatArray
        ``[3, K, N]`` from `detectors.tilts.axis_directions`.
    weights : FloatArray
        ``[3 + K, N]`` from `detectors.tilts.tilt_weights`.
    epsilon : FloatArray
        ``[3 + K, N]``: radius ε of the neighbourhood that is tolerated, for each direction.
    single : SingleWindows
        How windows of the N streams vary.

    Notes
    -----
    With s the mean of a direction in the window and δ = |s| − ε − h/n beyond what is tolerated (h the
    direction's largest value: a count moves in steps), ::

        t = δ / sqrt(σ² + (1 + δ·h/3)/n),    P = P(T > t)

    σ² is the variance of single windows beyond the multinomial; the rest is that of rows, raised as in
    Bernstein's inequality, which few rows of a rare value need. T has Student's distribution; its degrees of
    freedom say how well σ² is known and how far its tails may reach. Each direction and side has its part w
    of the level: for a stream that stays as it is,
    ``budget · max w/P ≥ 1`` has at most the probability `budget`.
    """
    n = x.sum(axis=0)
    means = projections(x, p, axis)
    largest = _largest(p, axis, means > 0)
    steps = 1 / np.maximum(n, 1.0)
    off = np.maximum(np.abs(means) - epsilon - largest * steps, 0.0)
    t = off / np.sqrt(single.variance.T + (1 + off * largest / 3) * steps)
    found = np.full(t.shape, -np.inf)
    at = (weights > 0) & (largest > 0) & (n > 0) & (t > _LEAST_SURPRISE)
    if at.any():
        found[at] = np.log(weights[at] * (TILTS / 2)) - log_tail(t[at], single.freedom(n).T[at])
    return np.asarray(found.max(axis=0, initial=-np.inf))


def _largest(p: FloatArray, axis: FloatArray, is_above: BoolArray) -> FloatArray:
    """Largest value of each direction to the side that the window is off to, ``[3 + K, N]``."""
    spread = np.sqrt(p * (1 - p))
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1.0), 0.0)
    on_axis = np.where(is_above[:AXIS], axis.max(axis=1), -axis.min(axis=1))
    return np.concatenate([on_axis, np.where(is_above[AXIS:], 1 - p, p) * scale])
