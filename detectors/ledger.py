"""The alarm-budget ledger: the evidence of all tilts, collected until the budget allows an alarm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.tensor import BoolArray, FloatArray
from detectors.tilts import TILTS

# One window's e-value is taken for at most e^60, and a mass times it stays finite in 32 bits; and for at
# least e^-40, which no budget notices and which keeps masses out of the slow range of denormal numbers.
_MOST_LOG, _LEAST_LOG = 60.0, -40.0
_RESTING_SHARE = 0.01


class LedgerStep(NamedTuple):
    """What one step found.

    Parameters
    ----------
    evidence_log : FloatArray
        ``[N]``: ln Σ w·M; an alarm at 0 or more, -inf before any budget was spent.
    is_alarm : BoolArray
        ``[N]``.
    window_log : FloatArray
        ``[N]``: ln Σ w·E, the evidence of this window on its own.
    led_log : FloatArray
        ``[N]``: ln of Σ w·(M + b)·E / Σ w·(M + b), the evidence of this window when the tilts are weighted by
        what they have shown before it. An e-value as well: these weights are known before the window.
    """

    evidence_log: FloatArray
    is_alarm: BoolArray
    window_log: FloatArray
    led_log: FloatArray


@dataclass
class Ledger:
    """Mass M of every tilt of N streams, float32 ``[12, directions, N]``.

    Notes
    -----
    ``M ← (M + b)·E``, an alarm when ``Σ w·M ≥ 1``, then M ← 0. With weights that sum to 1 and budgets b that
    are fixed before the window is looked at, Σ w·M + #alarms − Σ b is a supermartingale: the expected number
    of false alarms up to any time is at most the sum of the budgets, over any number of streams and under
    any dependence between them.

    The masses of a stream that *rests*, because it has no budget, are no evidence for an alarm: they are
    kept at Σ w·M = 1 and only say which tilts have fitted lately. Every window adds a hundredth, so that no
    tilt is forgotten.

    References
    ----------
    .. [1] J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential change
       detection", New England Journal of Statistics in Data Science 2 (2024).
    """

    mass: NDArray[np.float32]

    @classmethod
    def empty(cls, streams: int, directions: int) -> Ledger:
        """Return a ledger in which no budget has been spent."""
        return cls(np.zeros((TILTS, directions, streams), np.float32))

    def step(
        self,
        log_evalues: FloatArray,
        budget: FloatArray,
        weights: FloatArray,
        is_resting: BoolArray | None = None,
        single_log: FloatArray | None = None,
    ) -> LedgerStep:
        """Take in one window; the masses are changed in place.

        Parameters
        ----------
        log_evalues : FloatArray
            ``[12, directions, N]``.
        budget : FloatArray
            ``[N]``: false alarms that each stream may cost in this window, at least 0.
        weights : FloatArray
            ``[directions, N]`` from `detectors.tilts.tilt_weights`.
        is_resting : BoolArray, optional
            ``[N]``: streams that rest. If given, those that raise an alarm rest from then on; otherwise their
            masses begin at 0 again.
        single_log : FloatArray, optional
            ``[N]``: what the window shows on its own, by a budget of its own; an alarm at 0 or more. Nothing
            of it is kept.
        """
        factors = np.clip(log_evalues, _LEAST_LOG, _MOST_LOG).astype(np.float32)
        np.exp(factors, out=factors)
        added = budget if is_resting is None else np.where(is_resting, _RESTING_SHARE, budget)
        self.mass += added.astype(np.float32)
        before = self._weighted(weights)
        self.mass *= factors
        total = self._weighted(weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            evidence = np.log(total)
            alone = np.log((factors.sum(axis=0) * weights).sum(axis=0))
            led = np.where(before > 0, evidence - np.log(before), alone)
        is_alarm = total >= 1.0
        if single_log is not None:
            evidence, is_alarm = np.maximum(evidence, single_log), is_alarm | (single_log >= 0)
        if is_resting is None:
            self.mass[..., is_alarm] = 0.0
            return LedgerStep(evidence, is_alarm, alone, led)
        is_alarm &= ~is_resting
        rests = is_resting | is_alarm
        if rests.any():
            # What weighs nothing would grow beyond all limits.
            share = np.where(weights[:, rests] > 0, 1 / total[rests], 0.0)
            self.mass[..., rests] *= share.astype(np.float32)
        return LedgerStep(np.where(is_resting, -np.inf, evidence), is_alarm, alone, led)

    def _weighted(self, weights: FloatArray) -> FloatArray:
        """Σ w·M of each stream."""
        return np.asarray((self.mass.sum(axis=0) * weights).sum(axis=0))
