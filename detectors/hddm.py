"""HDDM (Hoeffding's bounds) by river, on the series of windows with too many errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from detectors.base import Detector, Example
from detectors.planted_outcomes import planted_outcome_reference, planted_outcomes
from detectors.series import HISTORY, OnErrors, RiverDetector, check_history, check_range


@dataclass(frozen=True)
class Hddm(OnErrors, Detector):
    """Report drift when windows with too many wrong predictions have become more frequent (HDDM).

    Parameters
    ----------
    drift_confidence : float
        Probability that the bound of one comparison is exceeded by chance, between 0 and 1.
    variant : {"a", "w"}
        ``"a"`` compares averages (Hoeffding's bound), better for sudden changes of a rate; ``"w"`` compares
        exponentially weighted averages (McDiarmid's bound), better for gradual ones.
    history : int
        Windows that are kept, 20 or more. When there is no room for another one, the earlier half is dropped
        and the detector is started again on the later half.

    Raises
    ------
    UsageError
        If a parameter is out of range.

    Notes
    -----
    River's detector takes 0 and 1. Each window gives one of them: 1 if more of its predictions were wrong
    than in 95 % of windows with the reference's error rate. Without drift about one window in twenty or
    thirty therefore counts as an error. Only columns of the performance lane with bins ``right`` and
    ``wrong`` are watched; others are never drift, and their threshold source says so.

    Only increases of the error rate count.

    It is offered for comparison and early warning and has no stated false-alarm guarantee. After an alarm it
    begins anew: a shift that stays is reported once. `judge` sees a single window, hence never a change.

    References
    ----------
    .. [1] I. Frías-Blanco et al., "Online and non-parametric drift detection methods based on Hoeffding's
       bounds", IEEE Transactions on Knowledge and Data Engineering 27 (2015).

    Examples
    --------
    >>> import numpy as np
    >>> from detectors.base import Moment
    >>> detector = Hddm()
    >>> example, state, found = detector.examples()[0], b"", []
    >>> for window in [*example.null, *example.shifted]:
    ...     moment = Moment(0, 1, np.zeros(window.shape[:2]))
    ...     verdicts, state = detector.step(example.reference, window, state, moment)
    ...     found.append(verdicts[0].decision.value)
    >>> len(example.null), found.index("drift")
    (200, 206)
    """

    name: ClassVar[str] = "hddm"

    drift_confidence: float = 0.001
    variant: Literal["a", "w"] = "a"
    history: int = HISTORY

    def __post_init__(self) -> None:
        check_range(self.name, "drift_confidence", self.drift_confidence, 0, 1)
        check_history(self.name, self.history, fewest=20)

    def start(self) -> RiverDetector:
        """Make a new detector of river."""
        from river.drift.binary import HDDMA, HDDMW  # takes half a second

        kind = HDDMA if self.variant == "a" else HDDMW
        return kind(drift_confidence=self.drift_confidence)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Twice as many wrong predictions in windows of 1,000 rows, after 200 windows without drift."""
        return (
            Example(
                parameters={"drift_confidence": 0.001, "variant": "a"},
                reference=planted_outcome_reference(seed=1),
                null=planted_outcomes(seed=2, windows=200),
                shifted=planted_outcomes(seed=3, windows=30, wrong_share=0.2),
                shifted_column="outcome",
                false_alarm_rate=0.001,
                delay=10,
            ),
        )
