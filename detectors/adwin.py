"""ADWIN (adaptive windowing) by river, on the series of window means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detectors.base import Detector, Example
from detectors.planted import planted_reference, planted_windows
from detectors.series import HISTORY, OnMeans, RiverDetector, check_history, check_least, check_range


@dataclass(frozen=True)
class Adwin(OnMeans, Detector):
    """Report drift when the mean of a column has changed between earlier and later windows (ADWIN).

    Parameters
    ----------
    delta : float
        Significance value of each comparison, between 0 and 1.
    clock : int
        Windows between two comparisons. River's default of 32 saves time on single rows; on windows it would
        delay alarms.
    history : int
        Windows that are kept, 20 or more. When there is no room for another one, the earlier half is dropped
        and the detector is started again on the later half.

    Raises
    ------
    UsageError
        If a parameter is out of range.

    Notes
    -----
    It watches one number a window: the mean of the column as its distance from the reference's mean, in
    standard deviations of the reference; for a column without a numeric axis the total variation from the
    reference.

    ADWIN keeps windows as long as their mean does not differ between an earlier and a later part; it expects
    values of a range of about 1. After 200 windows without drift a shift by half a standard deviation takes
    it about 20 windows, by a tenth about 140.

    It is offered for comparison and early warning and has no stated false-alarm guarantee. After an alarm it
    begins anew: a shift that stays is reported once. `judge` sees a single window, hence never a change.

    References
    ----------
    .. [1] A. Bifet, R. Gavaldà, "Learning from time-changing data with adaptive windowing", SIAM
       International Conference on Data Mining (2007).

    Examples
    --------
    >>> import numpy as np
    >>> from detectors.base import Moment
    >>> detector = Adwin()
    >>> example, state, found = detector.examples()[0], b"", []
    >>> for window in [*example.null, *example.shifted]:
    ...     moment = Moment(0, 1, np.zeros(window.shape[:2]))
    ...     verdicts, state = detector.step(example.reference, window, state, moment)
    ...     found.append(verdicts[0].decision.value)
    >>> len(example.null), found.index("drift")
    (200, 222)
    """

    name: ClassVar[str] = "adwin"

    delta: float = 0.002
    clock: int = 1
    history: int = HISTORY

    def __post_init__(self) -> None:
        check_range(self.name, "delta", self.delta, 0, 1)
        check_least(self.name, "clock", self.clock, 1)
        check_history(self.name, self.history, fewest=20)

    def start(self) -> RiverDetector:
        """Make a new detector of river."""
        from river.drift import ADWIN  # takes half a second

        return ADWIN(delta=self.delta, clock=self.clock)  # type: ignore[no-untyped-call]  # of river

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Half a standard deviation in windows of 1,000 rows, after 200 windows without drift."""
        return (
            Example(
                parameters={"delta": 0.002},
                reference=planted_reference(seed=1),
                null=planted_windows(seed=2, windows=200),
                shifted=planted_windows(seed=3, windows=30, shift_sd=0.5),
                shifted_column="amount",
                false_alarm_rate=0.001,
                delay=25,
            ),
        )
