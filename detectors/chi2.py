"""Pearson's χ² test of two samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detectors.base import Detector, Example
from detectors.effects import compare
from detectors.planted import planted_reference, planted_windows
from detectors.significance import check_alpha, critical_chi2, judge_by_test
from detectors.tensor import IntArray, ReferenceCounts
from schemas.verdict import Verdict


@dataclass(frozen=True)
class ChiSquared(Detector):
    """Report drift when Pearson's χ² test of homogeneity rejects.

    Parameters
    ----------
    alpha : float
        Level of the test for each stream and window, from 1e-9 to 0.5.

    Raises
    ------
    UsageError
        If `alpha` is out of range.

    Notes
    -----
    χ² = Σ (observed − expected)²/expected over the table with the rows reference and window and a
    column for each bin that occurs in either; its degrees of freedom are the number of those bins less one.
    Drift from the upper α quantile of χ² on.

    α counts for one window of one stream: a hundred streams judged every hour give 120 false alarms a day at
    0.05. Rows are taken for independent, and in large windows every difference is significant. Where fewer
    than about five rows are expected in many bins, the level is only roughly α.

    References
    ----------
    .. [1] K. Pearson, "On the criterion that a given system of deviations from the probable […] can be
       reasonably supposed to have arisen from random sampling", Philosophical Magazine 50 (1900).

    Examples
    --------
    >>> detector = ChiSquared()
    >>> example = detector.examples()[0]
    >>> verdict = detector.judge(example.reference, example.shifted[0])[0]
    >>> verdict.decision.value, round(verdict.threshold, 2), verdict.threshold_source
    ('drift', 21.03, 'critical value at alpha = 0.05 for one window of one stream')
    """

    name: ClassVar[str] = "chi2"

    alpha: float = 0.05

    def __post_init__(self) -> None:
        check_alpha(self.name, self.alpha)

    def judge(self, reference: ReferenceCounts, window: IntArray) -> list[Verdict]:
        """Judge one window; see `Detector.judge`."""
        reference.check_window(window)
        effects = compare(reference.counts, window, reference.layout, reference.sd)
        critical = critical_chi2(reference, window, self.alpha)
        return judge_by_test(self.name, reference, effects, effects.chi2, critical, self.alpha)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A quarter of a standard deviation in windows of 1,000 rows."""
        return (
            Example(
                parameters={"alpha": 0.05},
                reference=planted_reference(seed=1),
                null=planted_windows(seed=2, windows=200),
                shifted=planted_windows(seed=3, windows=20, shift_sd=0.25),
                shifted_column="amount",
                false_alarm_rate=0.06,  # 0.05, and three standard errors of a count among 1,200 verdicts
                delay=2,
            ),
        )
