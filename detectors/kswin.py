"""KSWIN (Kolmogorov–Smirnov windowing) by river, on the series of window means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detectors.base import Detector, Example
from detectors.planted import planted_reference, planted_windows
from detectors.series import HISTORY, OnMeans, RiverDetector, check_history, check_least, check_range
from schemas.errors import UsageError


@dataclass(frozen=True)
class Kswin(OnMeans, Detector):
    """Report drift when the latest window means are distributed differently from earlier ones (KSWIN).

    Parameters
    ----------
    alpha : float
        Level of each Kolmogorov–Smirnov test, between 0 and 1.
    window_size : int
        Latest windows that are looked at; it needs so many to begin.
    stat_size : int
        How many of them, the latest, are compared with as many drawn at random from the others; 2 or more and
        at most half of `window_size`.
    seed : int
        Seed of the draw, 0 or more.
    history : int
        Windows that are kept, twice `window_size` or more. When there is no room for another one, the earlier
        half is dropped and the detector is started again on the later half.

    Raises
    ------
    UsageError
        If a parameter is out of range.

    Notes
    -----
    It watches one number a window: the mean of the column as its distance from the reference's mean, in
    standard deviations of the reference; for a column without a numeric axis the total variation from the
    reference.

    KSWIN tests at every window, so that false alarms are certain in the long run: 20 among 10,000 independent
    values at the default level.

    It is offered for comparison and early warning and has no stated false-alarm guarantee. After an alarm it
    begins anew: a shift that stays is reported once. `judge` sees a single window, hence never a change.

    References
    ----------
    .. [1] C. Raab, M. Heusinger, F.-M. Schleif, "Reactive soft prototype computing for concept drift
       streams", Neurocomputing 416 (2020).

    Examples
    --------
    >>> import numpy as np
    >>> from detectors.base import Moment
    >>> detector = Kswin()
    >>> example, state, found = detector.examples()[0], b"", []
    >>> for window in [*example.null, *example.shifted]:
    ...     moment = Moment(0, 1, np.zeros(window.shape[:2]))
    ...     verdicts, state = detector.step(example.reference, window, state, moment)
    ...     found.append(verdicts[0].decision.value)
    >>> len(example.null), found.index("drift")
    (200, 211)
    """

    name: ClassVar[str] = "kswin"

    alpha: float = 0.005
    window_size: int = 100
    stat_size: int = 30
    seed: int = 1
    history: int = HISTORY

    def __post_init__(self) -> None:
        check_range(self.name, "alpha", self.alpha, 0, 1)
        check_least(self.name, "window_size", self.window_size, 4)
        if not 2 <= self.stat_size <= self.window_size // 2:
            most = self.window_size // 2
            msg = f"kswin: stat_size: {self.stat_size} (a whole number from 2 to {most} is allowed)"
            raise UsageError(msg)
        check_least(self.name, "seed", self.seed, 0)
        check_history(self.name, self.history, fewest=2 * self.window_size)

    def start(self) -> RiverDetector:
        """Make a new detector of river."""
        from river.drift import KSWIN  # takes half a second

        return KSWIN(self.alpha, self.window_size, self.stat_size, self.seed)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Half a standard deviation in windows of 1,000 rows, after 200 windows without drift."""
        return (
            Example(
                parameters={"alpha": 0.005, "window_size": 100, "stat_size": 30, "seed": 1},
                reference=planted_reference(seed=1),
                null=planted_windows(seed=2, windows=200),
                shifted=planted_windows(seed=3, windows=30, shift_sd=0.5),
                shifted_column="amount",
                false_alarm_rate=0.005,
                delay=15,
            ),
        )
