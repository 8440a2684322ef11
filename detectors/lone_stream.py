"""One stream with e-values of its own, judged through a ledger: what calibration and fairness share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.latch import Latch
from detectors.ledger import Ledger
from detectors.tensor import FloatArray
from schemas.verdict import Lane, Verdict

LEAST_LOG = -700.0


@dataclass(frozen=True)
class LoneStep:
    """What one window did to a stream.

    Parameters
    ----------
    before, after : Latch
        Around the window.
    mass : float32 array [J]
        Of the alternatives after it; 0 while an alarm is open.
    rows : int
        Of the window.
    given : float
        Budget that was in effect: none while an alarm is open.
    evidence_log : float
        ln Σ w·M.
    is_alarm : bool
    """

    before: Latch
    after: Latch
    mass: NDArray[np.float32]
    rows: int
    given: float
    evidence_log: float
    is_alarm: bool

    def verdict(self, *, detector: str, column: str, m: int, source: str, words: str) -> Verdict:
        """Say so of all rows; it has evidence and no effects.

        Parameters
        ----------
        detector, column : str
        m : int
            Rows of the reference.
        source : str
            Where the threshold comes from.
        words : str
            What has happened; said of an alarm only.
        """
        has_log = self.given > 0 and bool(np.isfinite(self.evidence_log))
        return Verdict(
            detector=detector,
            column=column,
            segment="",
            lane=Lane.PERFORMANCE,
            decision=self.after.decision(self.rows, is_alarm=self.is_alarm),
            n=self.rows,
            m=m,
            statistic=max(self.evidence_log, LEAST_LOG) if has_log else LEAST_LOG,
            threshold=0.0,
            threshold_source=source,
            evidence_log=self.evidence_log if has_log else None,
            explanation=words if self.is_alarm else "",
            budget=self.given,
            onset_ms=self.before.quiet_since_ms if self.is_alarm else None,
        )


def step_alone(
    latch: Latch,
    mass: NDArray[np.float32],
    evidence: FloatArray,
    weights: FloatArray,
    *,
    budget: float,
    rows: int,
    end_ms: int,
    is_back: bool | None = None,
) -> LoneStep:
    """Take the next window of a stream.

    Parameters
    ----------
    latch : Latch
        Before it.
    mass : float32 array [J]
        Of the alternatives before it.
    evidence, weights : FloatArray
        ``[J]``: logarithms of e-values, and weights that sum to 1.
    budget : float
        Expected number of false alarms that the window may cost.
    rows, end_ms : int
        Of the window.
    is_back : bool, optional
        Whether it is back to normal; default: whether it has no evidence of its own.
    """
    given = 0.0 if latch.is_open else budget
    ledger = Ledger(mass.reshape(1, -1, 1).copy())
    found = ledger.step(evidence.reshape(1, -1, 1), np.array([given]), weights[:, None])
    is_alarm, is_calm = bool(found.is_alarm[0]) and not latch.is_open, bool(found.window_log[0] < 0)
    after = latch.after(
        rows=rows,
        is_alarm=is_alarm,
        is_back=is_calm if is_back is None else is_back,
        is_quiet=is_calm,
        end_ms=end_ms,
    )
    kept = np.zeros_like(mass) if latch.is_open or is_alarm else ledger.mass.ravel()
    return LoneStep(latch, after, kept, rows, given, float(found.evidence_log[0]), is_alarm)
