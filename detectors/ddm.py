"""DDM (drift detection method) by river, on the series of windows with too many errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detectors.base import Detector, Example
from detectors.planted_outcomes import planted_outcome_reference, planted_outcomes
from detectors.series import HISTORY, OnErrors, RiverDetector, check_history, check_least, check_range


@dataclass(frozen=True)
class Ddm(OnErrors, Detector):
    """Report drift when windows with too many wrong predictions have become more frequent (DDM).

    Parameters
    ----------
    warm_start : int
        Windows before the first alarm; 1 or more.
    drift_threshold : float
        Standard deviations above the least error rate seen that are drift; above 0.
    history : int
        Windows that are kept, twice `warm_start` or more. When there is no room for another one, the earlier
        half is dropped and the detector is started again on the later half.

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

    If no window counts as an error until the warm start is over, which happens to about one stream in four,
    DDM takes the error rate for 0 and the first error for drift.

    It is offered for comparison and early warning and has no stated false-alarm guarantee. After an alarm it
    begins anew: a shift that stays is reported once. `judge` sees a single window, hence never a change.

    References
    ----------
    .. [1] J. Gama, P. Medas, G. Castillo, P. Rodrigues, "Learning with drift detection", Brazilian Symposium
       on Artificial Intelligence (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from detectors.base import Moment
    >>> detector = Ddm()
    >>> example, state, found = detector.examples()[0], b"", []
    >>> for window in [*example.null, *example.shifted]:
    ...     moment = Moment(0, 1, np.zeros(window.shape[:2]))
    ...     verdicts, state = detector.step(example.reference, window, state, moment)
    ...     found.append(verdicts[0].decision.value)
    >>> len(example.null), found.index("drift")
    (200, 205)
    """

    name: ClassVar[str] = "ddm"

    warm_start: int = 30
    drift_threshold: float = 3.0
    history: int = HISTORY

    def __post_init__(self) -> None:
        check_least(self.name, "warm_start", self.warm_start, 1)
        check_range(self.name, "drift_threshold", self.drift_threshold, 0)
        check_history(self.name, self.history, fewest=2 * self.warm_start)

    def start(self) -> RiverDetector:
        """Make a new detector of river."""
        from river.drift.binary import DDM  # takes half a second

        return DDM(self.warm_start, drift_threshold=self.drift_threshold)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Twice as many wrong predictions in windows of 1,000 rows, after 200 windows without drift."""
        return (
            Example(
                parameters={"warm_start": 30, "drift_threshold": 3.0},
                reference=planted_outcome_reference(seed=1),
                null=planted_outcomes(seed=2, windows=200),
                shifted=planted_outcomes(seed=3, windows=30, wrong_share=0.2),
                shifted_column="outcome",
                false_alarm_rate=0.005,
                delay=10,
            ),
        )
