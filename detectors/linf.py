"""L∞ distance against a threshold: the one bin that changed most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detectors.base import Detector, Example
from detectors.planted import planted_reference, planted_windows
from detectors.tensor import IntArray, ReferenceCounts
from detectors.threshold import check_threshold, judge_by_threshold
from schemas.verdict import Verdict


@dataclass(frozen=True)
class LInfinity(Detector):
    """Report drift when the share of any one bin changed by a threshold.

    Parameters
    ----------
    threshold : float
        Smallest change of a share that is drift, above 0 and at most 1. With the default of 0.1 a category
        has to gain or lose a tenth of all rows.

    Raises
    ------
    UsageError
        If `threshold` is out of range.

    Notes
    -----
    L∞ = max |p − q| of the shares p of the reference and q of the window. Vertex AI Model Monitoring compares
    categorical features so.

    There is no stated false-alarm rate. On a numeric column the bins hold about a tenth of the rows each,
    hence a shift spreads over many bins and each changes little: a whole standard deviation gives about 0.2.

    References
    ----------
    .. [1] Google Cloud, "Vertex AI Model Monitoring: monitor feature skew and drift".

    Examples
    --------
    >>> detector = LInfinity()
    >>> example = detector.examples()[0]
    >>> verdict = detector.judge(example.reference, example.shifted[0])[0]
    >>> verdict.decision.value, round(verdict.statistic, 2), verdict.threshold
    ('drift', 0.2, 0.1)
    """

    name: ClassVar[str] = "linf"

    threshold: float = 0.1

    def __post_init__(self) -> None:
        check_threshold(self.name, self.threshold, most=1.0)

    def judge(self, reference: ReferenceCounts, window: IntArray) -> list[Verdict]:
        """Judge one window; see `Detector.judge`."""
        return judge_by_threshold(self.name, reference, window, lambda effects: effects.linf, self.threshold)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A whole standard deviation in windows of 1,000 rows."""
        return (
            Example(
                parameters={"threshold": 0.1},
                reference=planted_reference(seed=1),
                null=planted_windows(seed=2, windows=200),
                shifted=planted_windows(seed=3, windows=20, shift_sd=1.0),
                shifted_column="amount",
                false_alarm_rate=0.001,
                delay=1,
            ),
        )
