"""Page-Hinkley test by river, on the series of window means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from detectors.base import Detector, Example
from detectors.planted import planted_reference, planted_windows
from detectors.series import HISTORY, OnMeans, RiverDetector, check_history, check_least, check_range


@dataclass(frozen=True)
class PageHinkley(OnMeans, Detector):
    """Report drift when deviations from the running mean have added up to a threshold (Page-Hinkley).

    Parameters
    ----------
    delta : float
        Deviation that is tolerated in each window, in the unit of the watched number; above 0.
    threshold : float
        Sum of deviations beyond `delta` that is drift; above 0. River's default of 50 is meant for single
        rows of any unit; here the unit is a standard deviation of the reference.
    min_instances : int
        Windows before the first alarm; 1 or more.
    mode : {"up", "down", "both"}
        Which changes count.
    history : int
        Windows that are kept, twice `min_instances` or more. When there is no room for another one, the
        earlier half is dropped and the detector is started again on the later half.

    Raises
    ------
    UsageError
        If a parameter is out of range.

    Notes
    -----
    It watches one number a window: the mean of the column as its distance from the reference's mean, in
    standard deviations of the reference; for a column without a numeric axis the total variation from the
    reference.

    With σ the standard deviation of that number from window to window, an excursion from the mean becomes a
    false alarm with a probability of about exp(−2·delta·threshold/σ²) if windows are independent and normal;
    the defaults suit σ up to about 0.1.

    It is offered for comparison and early warning and has no stated false-alarm guarantee. After an alarm it
    begins anew: a shift that stays is reported once. `judge` sees a single window, hence never a change.

    References
    ----------
    .. [1] E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954).

    Examples
    --------
    >>> import numpy as np
    >>> from detectors.base import Moment
    >>> detector = PageHinkley()
    >>> example, state, found = detector.examples()[0], b"", []
    >>> for window in [*example.null, *example.shifted]:
    ...     moment = Moment(0, 1, np.zeros(window.shape[:2]))
    ...     verdicts, state = detector.step(example.reference, window, state, moment)
    ...     found.append(verdicts[0].decision.value)
    >>> len(example.null), found.index("drift")
    (200, 202)
    """

    name: ClassVar[str] = "page_hinkley"

    delta: float = 0.05
    threshold: float = 1.0
    min_instances: int = 30
    mode: Literal["up", "down", "both"] = "both"
    history: int = HISTORY

    def __post_init__(self) -> None:
        check_range(self.name, "delta", self.delta, 0)
        check_range(self.name, "threshold", self.threshold, 0)
        check_least(self.name, "min_instances", self.min_instances, 1)
        check_history(self.name, self.history, fewest=2 * self.min_instances)

    def start(self) -> RiverDetector:
        """Make a new detector of river."""
        from river import drift  # takes half a second

        return drift.PageHinkley(self.min_instances, self.delta, self.threshold, mode=self.mode)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Half a standard deviation in windows of 1,000 rows, after 200 windows without drift."""
        return (
            Example(
                parameters={"delta": 0.05, "threshold": 1.0, "min_instances": 30, "mode": "both"},
                reference=planted_reference(seed=1),
                null=planted_windows(seed=2, windows=200),
                shifted=planted_windows(seed=3, windows=30, shift_sd=0.5),
                shifted_column="amount",
                false_alarm_rate=0.001,
                delay=4,
            ),
        )
