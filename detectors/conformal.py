"""Adaptive conformal bands: intervals that learn from how wrong earlier estimates turned out to be.

The variance of an estimate knows of sampling alone. What else makes estimates wrong (scores that no longer
mean what they did, noise between windows) is learnt: from the reference's windows, each judged by the others,
and then from every window whose labels come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import numpy as np
from scipy import special

from detectors.outcomes import Records, joined, negated
from detectors.sealed import seal, unseal
from detectors.tensor import FloatArray

LEVEL = 0.9
GAIN = 0.02
MEMORY = 200
FADING = 0.95
"""Weight of a score next to the one after it: 20 windows' worth of memory."""
_LEAST_ERROR = 1e-300
_MAGIC = b"ACB1"


@dataclass(frozen=True)
class Estimate:
    """A metric with the uncertainty of its estimate.

    Parameters
    ----------
    value : float
    variance : float
        Of realised − estimated, as far as sampling explains it: of the window's labels and of the reference.
    low, high : float
        Interval for the realised metric, within what the metric can be: normal, unless from `Bands`.
    n : int
        Predictions it is about.
    most : float
        Largest value of the metric; the least is 0.
    """

    value: float
    variance: float
    low: float
    high: float
    n: int
    most: float = 1.0

    @classmethod
    def of(cls, value: float, variance: float, n: float, level: float, most: float = 1.0) -> Estimate:
        """Make an estimate with the normal interval."""
        half = float(special.ndtri((1 + level) / 2)) * variance**0.5
        return cls(value, variance, max(value - half, 0.0), min(value + half, most), round(n), most)


Judge: TypeAlias = Callable[[Records, Records], dict[str, tuple[Estimate | None, float | None]]]
"""Estimates and realised metrics of a window, by a reference: see `judge_classes` and `judge_numbers`."""


class _State(msgspec.Struct, frozen=True, array_like=True):
    alpha: float
    scores: list[float]


@dataclass(frozen=True)
class Bands:
    """Bands of one metric of one stream.

    Parameters
    ----------
    alpha : float
        α_t, the share of windows that the next band is meant to miss; may leave 0 to 1 for a while.
    scores : tuple of float
        Latest |realised − estimated|/√variance, the oldest first.
    level : float
        Coverage aimed at.

    Notes
    -----
    The band is estimate ± q·√variance, where q is the (1 − α_t)-quantile of the scores, weighted by .95 for
    each window that has passed since, and of one more score, infinite, for the window that is to come. The
    band is everything if that is infinite or if α_t ≤ 0, nothing but the estimate itself if α_t ≥ 1. Weights
    let bands follow within a few windows when estimates begin to be off; α alone takes dozens. Once labels
    are known, ``α_{t+1} = α_t + .02·(1 − level − err_t)``, err being 1 outside the band and 0 inside.

    Guarantees
    ----------
    Summed up, these steps give |mean err − (1 − level)| ≤ (max(α_1, 1 − α_1) + .02)/(.02·T) after T windows,
    for *any* sequence of estimates and realised metrics: .0092 after 5,000 windows, .09 after 500. Widths are
    as good as the scores are typical.

    References
    ----------
    .. [1] I. Gibbs, E. Candès, "Adaptive conformal inference under distribution shift", NeurIPS 2021,
       equation 2 and proposition 4.1.
    .. [2] R. Barber, E. Candès, A. Ramdas, R. Tibshirani, "Conformal prediction beyond exchangeability",
       Annals of Statistics 51 (2023), equation 11 (weighted quantiles).

    Examples
    --------
    >>> bands = Bands.start(np.linspace(-2, 1, 40))
    >>> guess = Estimate.of(0.9, 1e-4, 1_000, level=0.9)
    >>> band = bands.band(guess)
    >>> round(band.low, 4), round(band.high, 4)
    (0.8838, 0.9162)
    >>> round(bands.updated(guess, realised=0.85).alpha, 4)
    0.082
    """

    alpha: float
    scores: tuple[float, ...]
    level: float = LEVEL

    @classmethod
    def start(cls, scores: FloatArray, level: float = LEVEL) -> Bands:
        """Begin with the scores of a reference from `held_out`, in order of time; signs do not matter."""
        return cls(1 - level, tuple(np.abs(scores[-MEMORY:]).tolist()), level)

    def width(self) -> float:
        """Half width of the band in standard errors; infinite if nothing narrower is safe."""
        if self.alpha >= 1:
            return 0.0
        if self.alpha <= 0 or not self.scores:
            return float("inf")
        scores = np.array(self.scores)
        weight = FADING ** np.arange(len(scores), 0, -1.0)
        order = np.argsort(scores)
        reached = np.cumsum(weight[order]) / (1 + weight.sum())
        at = int(np.searchsorted(reached, 1 - self.alpha - 1e-12))
        return float(scores[order[at]]) if at < len(scores) else float("inf")

    def band(self, guess: Estimate) -> Estimate:
        """Give an estimate the band in place of its interval."""
        width = self.width()
        half = width * guess.variance**0.5 if np.isfinite(width) else float("inf")
        low, high = max(guess.value - half, 0.0), min(guess.value + half, guess.most)
        return Estimate(guess.value, guess.variance, low, high, guess.n, guess.most)

    def updated(self, guess: Estimate, realised: float) -> Bands:
        """Take in what a window's metric turned out to be, once for each window."""
        band = self.band(guess)
        is_outside = self.alpha >= 1 or not band.low <= realised <= band.high
        alpha = self.alpha + GAIN * (1 - self.level - is_outside)
        if guess.variance <= 0:
            return Bands(alpha, self.scores, self.level)
        score = abs(realised - guess.value) / guess.variance**0.5
        return Bands(alpha, (*self.scores, score)[-MEMORY:], self.level)

    def to_bytes(self) -> bytes:
        """Versioned bytes of the state."""
        return seal(_MAGIC, _State(self.alpha, list(self.scores)))

    @classmethod
    def from_bytes(cls, data: bytes, level: float = LEVEL) -> Bands:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ProfileError
            If the bytes are something else, or damaged.
        """
        state = unseal(_MAGIC, data, _State, "state of conformal bands")
        return cls(state.alpha, tuple(state.scores), level)


def held_out(windows: Sequence[Records], judge: Judge) -> dict[str, FloatArray]:
    """Judge each window of a reference by the others.

    Parameters
    ----------
    windows : sequence of records
        Of the reference's windows, in order of time; of everything alone unless the judge uses columns, for
        speed: the reference is fitted anew for each window.
    judge : Judge

    Returns
    -------
    dict of str to FloatArray
        (realised − estimated)/√variance for each metric, of the windows that have it; `Bands.start` takes it.
    """
    found = _errors(windows, judge)
    return {name: np.array([off / sd for off, sd in pairs if sd > 0]) for name, pairs in found.items()}


def least_off(windows: Sequence[Records], judges: Sequence[Judge]) -> int:
    """Which of several ways to estimate was least off, each window of a reference judged by the others.

    Parameters
    ----------
    windows : sequence of records
        As in `held_out`; with the records of segments if any judge uses columns.
    judges : sequence of Judge
        For example with columns and without.

    Returns
    -------
    int
        Index of the judge with the least Σ ln mean |realised − estimated| over all metrics that every judge
        estimates; the first of equals. A way that needs more is to be named after those that need less.
    """
    found = [_errors(windows, judge) for judge in judges]
    names = [name for name in found[0] if all(one.get(name) for one in found)]
    off = [[np.mean(np.abs([error for error, _ in one[name]])) for name in names] for one in found]
    return int(np.argmin(np.log(np.maximum(off, _LEAST_ERROR)).sum(axis=1)))


def _errors(windows: Sequence[Records], judge: Judge) -> dict[str, list[tuple[float, float]]]:
    """(realised − estimated, √variance) of each metric, of the windows that have it."""
    total = joined(window.tobytes() for window in windows)
    found: dict[str, list[tuple[float, float]]] = {}
    for window in windows:
        for name, (guess, truth) in judge(_without(total, window), window).items():
            pairs = found.setdefault(name, [])
            if guess is not None and truth is not None:
                pairs.append((truth - guess.value, guess.variance**0.5))
    return found


def _without(total: Records, window: Records) -> Records:
    return joined((total.tobytes(), negated(window).tobytes()))
