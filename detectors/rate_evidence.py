"""Evidence that a rate exceeds what is allowed: e-values that may be multiplied, and single windows.

Symbols: ``x`` of the ``n`` rows of a window are counted (wrong, missing, …); ``c`` is the rate that is
allowed. All arrays run over the N streams.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from detectors.calibration import between_windows
from detectors.single_windows import SingleWindows, log_tail
from detectors.tensor import BoolArray, FloatArray, IntArray
from detectors.tilts import TILTS

# How far above c the alternatives lie: as many as a ledger holds, each twice the one before.
RISES = 0.0002 * 2.0 ** np.arange(TILTS)
_LEAST_RIGHT = 0.05  # no alternative leaves less than this part of the rows that are not counted at c
_LEAST_ROOM = 1e-9  # above c; where there is less, no rise could be told from rounding
_LEAST_LOG = -600.0
_LEFT_SHARE = 0.05
_USUAL_LOG = float(np.log(0.05))


@dataclass(frozen=True)
class RateVariation:
    """How much rates vary from window to window, as parts of p(1 − p).

    Parameters
    ----------
    between : FloatArray
        ``[N]``: long-run variance beyond the binomial.
    single : SingleWindows
        ``[N, 1]``: that of one window.
    """

    between: FloatArray
    single: SingleWindows

    @classmethod
    def nothing(cls, streams: int) -> RateVariation:
        """Return what is known without windows: rates vary by chance alone."""
        return cls(np.zeros(streams), SingleWindows.nothing(streams, 1))


def learn_rate(x: FloatArray, n: FloatArray, expected: FloatArray, slots: IntArray) -> RateVariation:
    """Learn how rates vary from a reference's own windows.

    Parameters
    ----------
    x, n : FloatArray
        ``[W, N]``: counts and rows of each window, in order of time.
    expected : FloatArray
        ``[W, N]``: the reference's rate in the slot of each window, above 0 and below 1.
    slots : IntArray
        ``[N]``: slots whose rates were taken out.

    Notes
    -----
    A rate's deviations, divided by sqrt(p(1 − p)), are a direction like those of columns; see
    `detectors.calibration.between_windows`.
    """
    means = (x / np.maximum(n, 1) - expected) / np.sqrt(expected * (1 - expected))
    between, single = np.zeros(n.shape[1]), SingleWindows.learn(means[..., None], n)
    for count in np.unique(slots).tolist():
        mine = slots == count
        between[mine] = between_windows(means[:, mine, None], n[:, mine], count)[0][:, 0]
        its = SingleWindows.learn(means[:, mine, None], n[:, mine], count)
        for all_of, part in ((single.variance, its.variance), (single.learned, its.learned)):
            all_of[mine] = part
    return RateVariation(between, single)


@dataclass(frozen=True)
class RateLimit:
    """The rate that is allowed, and how windows vary around it.

    Parameters
    ----------
    rate : FloatArray
        ``[N]``: c; 1 where nothing is known, so that nothing is too much.
    variation : RateVariation
    margin : FloatArray
        ``[N]``: the part of c that is above the upper limit of the reference's rate.
    """

    rate: FloatArray
    variation: RateVariation
    margin: FloatArray

    @classmethod
    def of(
        cls,
        known: FloatArray,
        rows: FloatArray,
        variation: RateVariation,
        z: float,
        margin: float,
        relative_margin: float,
    ) -> RateLimit:
        """Allow the upper limit of a reference's rate and a margin.

        Parameters
        ----------
        known, rows : FloatArray
            ``[N]``: counts and rows of the reference.
        variation : RateVariation
        z : float
            Standard errors of the upper limit.
        margin, relative_margin : float
            Added to the upper limit, the second as a part of it; the larger one counts.

        Notes
        -----
        The upper limit u is that of Clopper and Pearson at the probability Φ(z), for counts and rows divided
        by the dispersion D of the reference's own windows.
        """
        dispersion = 1 + variation.single.rows * variation.between
        hits, others = known / dispersion, np.maximum(rows - known, 0.0) / dispersion
        upper = special.betainccinv(hits + 1, np.maximum(others, 1e-9), special.ndtr(-z))
        above = np.maximum(margin, relative_margin * upper)
        is_known = (rows > 0) & (others > 0)
        return cls(np.where(is_known, np.minimum(upper + above, 1.0), 1.0), variation, above)

    def log_evalues(self, x: FloatArray, n: FloatArray) -> FloatArray:
        """Logarithms of the e-values of a window, ``[12, N]``.

        Notes
        -----
        ``(x·ln(q/c) + (n − x)·ln((1 − q)/(1 − c)))/D`` for 12 rates q above c: the likelihood ratio, which
        has an expectation of at most 1 under every rate of at most c, also one that moves. D = 1 + n·σ_b².
        """
        c = self.rate
        is_open = (c > 0) & (1 - c > _LEAST_ROOM)
        c = np.where(is_open, c, 0.5)
        q = np.minimum(c + RISES[:, None], 1 - (1 - c) * _LEAST_RIGHT)
        logs = x * np.log(q / c) + (n - x) * np.log((1 - q) / (1 - c))
        return np.asarray(np.where(is_open, logs / (1 + n * self.variation.between), 0.0))

    def log_tail(self, x: FloatArray, n: FloatArray) -> FloatArray:
        """Logarithm of the probability of so many counts in a single window, ``[N]``; 0 at c or below.

        Notes
        -----
        The larger of two: the exact binomial probability of x or more at the rate c, and P(T > t) with
        ``t = δ/sqrt(σ²·c(1 − c) + (c(1 − c) + δ/3)/n)``, δ = x/n − c, for rates that vary from window to
        window; see `detectors.surprise`.
        """
        c, known = self.rate, self.variation
        rows = np.maximum(n, 1.0)
        above = np.maximum(x / rows - c, 0.0)
        exact = np.where(x > 0, special.betainc(np.maximum(x, 1.0), rows - np.maximum(x, 1.0) + 1, c), 1.0)
        spread, variance = c * (1 - c), known.single.variance[:, 0]
        t = above / np.sqrt(np.maximum(spread * (variance + 1 / rows) + above / 3 / rows, 1e-300))
        tail = np.where(variance > 0, np.exp(log_tail(t, known.single.freedom(n)[:, 0])), 0.0)
        probability = np.maximum(np.maximum(exact, tail), np.exp(_LEAST_LOG))
        return np.asarray(np.where((above > 0) & (n > 0), np.log(probability), 0.0))

    def is_back(self, mass: NDArray[np.float32]) -> BoolArray:
        """Whether the windows since an alarm speak for a rate that is not higher by what matters, ``[N]``.

        Parameters
        ----------
        mass : float32 array [12, 1, N]
            Of the alternatives, after the window; see `detectors.ledger.Ledger` for those that rest.

        Notes
        -----
        At most a twentieth of the mass lies on rates that exceed c by twice the margin or more.
        """
        found = mass[:, 0].astype(np.float64)
        high = np.where(RISES[:, None] >= 2 * self.margin, found, 0.0).sum(axis=0)
        return np.asarray(high <= _LEFT_SHARE * found.sum(axis=0))

    def is_usual(self, x: FloatArray, n: FloatArray) -> BoolArray:
        """Whether so many counts in a window are nothing unusual at c, ``[N]``."""
        return self.log_tail(x, n) >= _USUAL_LOG
