"""How far single windows lie from the reference when nothing is wrong, and how far its tails reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from detectors.tensor import FloatArray, IntArray

FEWEST_WINDOWS = 4  # below that nothing is learned
MOST_ACF = 0.9
_HEAVIEST = 12.0  # excess kurtosis of the square of a normal level
_MOST_FREEDOM = 1e6
_LEAST_LOG = -600.0


@dataclass(frozen=True)
class SingleWindows:
    """Variance of single windows beyond the multinomial.

    Parameters
    ----------
    variance : FloatArray
        ``[N, D]``: at least 0. No upper limit: its error is what the degrees of freedom are for.
    learned : FloatArray
        ``[N, D]``: independent windows that it was learned from; infinite where there were too few.
    excess : FloatArray
        ``[N, D]``: excess kurtosis of the windows' means, as large as cannot be excluded.
    rows : FloatArray
        ``[N]``: rows of those windows, on average.
    """

    variance: FloatArray
    learned: FloatArray
    excess: FloatArray
    rows: FloatArray

    @classmethod
    def nothing(cls, streams: int, directions: int) -> SingleWindows:
        """Return what is known without windows: they differ by chance alone."""
        none = np.zeros((streams, directions))
        return cls(none, none + np.inf, none, np.zeros(streams))

    @classmethod
    def learn(cls, means: FloatArray, n: FloatArray, slots: int = 1) -> SingleWindows:
        """Learn from the windows of a reference.

        Parameters
        ----------
        means : FloatArray
            ``[W, N, D]``: mean of each direction in each window, in order of time.
        n : FloatArray
            ``[W, N]``: rows of each window.
        slots : int
            Slots whose means were taken out.

        Notes
        -----
        v = Σs²/ν, divided by 1 − k/B because the windows' own mean was taken out, k = (1 + r)/(1 − r).
        Windows with autocorrelation r teach as much of a variance as w·ν independent ones,
        w = (1 − r²)/(1 + r²) (Bartlett). An excess kurtosis of the one they have, at least 0, plus
        1.645·sqrt(24/(w·B)) cannot be excluded.
        """
        there = n > 0
        count = there.sum(axis=0)
        nu, b = np.maximum(count - slots, 1)[:, None], np.maximum(count, 1)[:, None]
        s = np.where(there[..., None], means, 0.0)
        squares = (s * s).sum(axis=0)
        some = np.where(squares > 0, squares, 1.0)
        acf = (s[1:] * s[:-1]).sum(axis=0) / some
        r = np.clip(acf + (1 + 3 * acf) / b, 0.0, MOST_ACF)
        v = squares / nu / np.maximum(1 - (1 + r) / (1 - r) / b, 0.25)
        chance = (np.where(there, 1 / np.maximum(n, 1), 0).sum(axis=0) / np.maximum(count, 1))[:, None]
        worth = (1 - r * r) / (1 + r * r)
        excess = np.maximum((s**4).sum(axis=0) * b / some**2 - 3, 0.0) + 1.645 * np.sqrt(24 / (b * worth))
        enough = ((count >= FEWEST_WINDOWS) & (count - slots >= 2))[:, None]
        return cls(
            np.where(enough, np.maximum(v - chance, 0.0), 0.0),
            np.where(enough, nu * worth, np.inf),
            np.where(enough, excess, 0.0),
            n.sum(axis=0) / np.maximum(count, 1),
        )

    def at(self, streams: slice | IntArray) -> SingleWindows:
        """Of some of the streams."""
        return SingleWindows(
            self.variance[streams], self.learned[streams], self.excess[streams], self.rows[streams]
        )

    def freedom(self, n: FloatArray) -> FloatArray:
        """Degrees of freedom of Student's distribution for a mean of n rows, ``[N, D]``.

        Notes
        -----
        The lower one of two. The first is that of the estimated variance σ² + 1/n (Satterthwaite): many where
        the chance of rows, which is known, is most of it. The second is 4 + 6/excess kurtosis. A normal level
        makes other directions anything but normal: where the mean wanders, the scale has its square. Hence
        σ² can bring up to 12, in proportion to its part in the square of the variance.
        """
        by_rows, by_rows_then = (1 / np.maximum(rows, 1.0)[:, None] for rows in (n, self.rows))
        here, then = self.variance + by_rows, self.variance + by_rows_then
        excess = np.minimum(self.excess * then**2, _HEAVIEST * self.variance**2) / here**2
        by_tails = 4 + 6 / np.maximum(excess, 6 / _MOST_FREEDOM)
        return np.asarray(
            np.clip(np.minimum(self.learned * (here / then) ** 2, by_tails), 1.0, _MOST_FREEDOM)
        )


def log_tail(t: FloatArray, freedom: FloatArray) -> FloatArray:
    """Logarithm of P(T > t) of Student's distribution; -600 where it is less than can be said."""
    return np.asarray(np.log(np.maximum(stats.t.sf(t, freedom), np.exp(_LEAST_LOG))))
