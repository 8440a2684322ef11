"""Jensen–Shannon distance against a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detectors.base import Detector, Example
from detectors.planted import planted_reference, planted_windows
from detectors.tensor import IntArray, ReferenceCounts
from detectors.threshold import check_threshold, judge_by_threshold
from schemas.verdict import Verdict


@dataclass(frozen=True)
class JensenShannon(Detector):
    """Report drift when the Jensen–Shannon distance reaches a threshold.

    Parameters
    ----------
    threshold : float
        Smallest distance that is drift, above 0 and at most 1. The default of 0.1 is customary.

    Raises
    ------
    UsageError
        If `threshold` is out of range.

    Notes
    -----
    JS = √(½ Σ p log₂(2p/(p+q)) + ½ Σ q log₂(2q/(p+q))) of the shares p of the reference and q of the window.

    There is no stated false-alarm rate. Without any drift JS² is about (K−1)/(8·ln 2·n) on K bins and n rows,
    so that small windows of many categories exceed 0.1 nearly always; a shift of the mean by a fifth of a
    standard deviation stays below it in large ones.

    References
    ----------
    .. [1] J. Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Information Theory 37
       (1991), definition 4.1.

    Examples
    --------
    >>> detector = JensenShannon()
    >>> example = detector.examples()[0]
    >>> verdict = detector.judge(example.reference, example.shifted[0])[0]
    >>> verdict.decision.value, round(verdict.statistic, 2), verdict.threshold
    ('drift', 0.22, 0.1)
    """

    name: ClassVar[str] = "js"

    threshold: float = 0.1

    def __post_init__(self) -> None:
        check_threshold(self.name, self.threshold, most=1.0)

    def judge(self, reference: ReferenceCounts, window: IntArray) -> list[Verdict]:
        """Judge one window; see `Detector.judge`."""
        return judge_by_threshold(self.name, reference, window, lambda effects: effects.js, self.threshold)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Half a standard deviation in windows of 1,000 rows."""
        return (
            Example(
                parameters={"threshold": 0.1},
                reference=planted_reference(seed=1),
                null=planted_windows(seed=2, windows=200),
                shifted=planted_windows(seed=3, windows=20, shift_sd=0.5),
                shifted_column="amount",
                false_alarm_rate=0.02,
                delay=1,
            ),
        )
