"""Distances of many windows from one large reference: the reference is sorted once, not for each window.

The numbers are those of scipy's `wasserstein_distance` and `ks_2samp`, which sort both samples each time. The
sides that use this compare it with their tool's own call on some windows of every world.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class SortedSample:
    """A sample that others are compared with.

    Parameters
    ----------
    values : float64 array
        Not empty; nan is left out.

    Examples
    --------
    >>> reference = SortedSample(np.array([1.0, 2.0, 3.0, 4.0]))
    >>> reference.wasserstein(np.array([2.0, 3.0, 4.0, 5.0])), reference.kolmogorov(np.array([4.0, 9.0]))
    (1.0, 0.75)
    """

    def __init__(self, values: FloatArray) -> None:
        self.values = np.sort(values[~np.isnan(values)])
        self._middle = self.values.mean()
        self._centred = self.values - self._middle
        self._sums = np.concatenate([[0.0], np.cumsum(self._centred)])

    def _area_below(self, at: FloatArray) -> FloatArray:
        """Integral of the distribution function up to each point, in centred values."""
        below = np.searchsorted(self._centred, at, side="right")
        return np.asarray((below * at - self._sums[below]) / len(self._centred))

    def wasserstein(self, window: FloatArray) -> float:
        """First Wasserstein distance; the window has no nan.

        Notes
        -----
        Between two values of the window its distribution function is a constant c, and the reference's
        crosses c once at most, at its quantile of c. On each side of it the difference has one sign.
        """
        x = np.sort(window) - self._middle
        count, m = len(x), len(self._centred)
        level = np.arange(1, count) / count
        crossing = self._centred[np.ceil(level * m - 1e-9).astype(np.int64) - 1]
        left, right = x[:-1], x[1:]
        crossing = np.clip(crossing, left, right)
        a, q, b = self._area_below(left), self._area_below(crossing), self._area_below(right)
        inner = level * (crossing - left) - (q - a) + (b - q) - level * (right - crossing)
        above = np.searchsorted(self._centred, x[-1], side="right")
        tail = (self._sums[-1] - self._sums[above] - (m - above) * x[-1]) / m
        return float(self._area_below(x[:1])[0] + inner.sum() + tail)

    def kolmogorov(self, window: FloatArray) -> float:
        """Largest difference of the distribution functions; the window has no nan."""
        x, counts = np.unique(window, return_counts=True)
        until = np.cumsum(counts) / len(window)
        before = until - counts / len(window)
        m = len(self.values)
        at = np.abs(np.searchsorted(self.values, x, side="right") / m - until)
        ahead = np.abs(np.searchsorted(self.values, x, side="left") / m - before)
        return float(max(at.max(), ahead.max()))
