"""Two-sample Kolmogorov–Smirnov test on binned counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from detectors.base import Detector, Example
from detectors.effects import compare
from detectors.planted import planted_reference, planted_windows
from detectors.significance import check_alpha, judge_by_test, rows_on_axis
from detectors.tensor import IntArray, ReferenceCounts
from schemas.verdict import Verdict


@dataclass(frozen=True)
class KolmogorovSmirnov(Detector):
    """Report drift when a two-sample Kolmogorov–Smirnov test rejects.

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
    D = max |F_p − F_q| on the numeric axis; drift from D = K_α·√((n+m)/(nm)) on, where K_α is the
    upper α quantile of Kolmogorov's distribution and n and m count the rows on the axis. D on bins is at most
    the D of the values, so the test is conservative: fewer than a share α of windows without drift are
    rejected.

    α counts for one window of one stream: a hundred streams judged every hour give up to 120 false alarms a
    day at 0.05. Rows are taken for independent, and in large windows every difference is significant. A
    column without a numeric axis is never drift; its threshold source says so.

    References
    ----------
    .. [1] N. Smirnov, "Table for estimating the goodness of fit of empirical distributions", Annals of
       Mathematical Statistics 19 (1948).

    Examples
    --------
    >>> detector = KolmogorovSmirnov()
    >>> example = detector.examples()[0]
    >>> amount, carrier, *_ = detector.judge(example.reference, example.shifted[0])
    >>> amount.decision.value, round(amount.statistic, 2), round(amount.threshold, 3)
    ('drift', 0.1, 0.044)
    >>> carrier.decision.value, carrier.threshold_source
    ('ok', 'not on a numeric axis')
    """

    name: ClassVar[str] = "ks"

    alpha: float = 0.05

    def __post_init__(self) -> None:
        check_alpha(self.name, self.alpha)

    def judge(self, reference: ReferenceCounts, window: IntArray) -> list[Verdict]:
        """Judge one window; see `Detector.judge`."""
        reference.check_window(window)
        effects = compare(reference.counts, window, reference.layout, reference.sd)
        n, m = rows_on_axis(window, reference), rows_on_axis(reference.counts, reference)
        critical = special.kolmogi(self.alpha) * np.sqrt(1 / np.maximum(n, 1) + 1 / np.maximum(m, 1))
        return judge_by_test(self.name, reference, effects, effects.ks, critical, self.alpha)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A fifth of a standard deviation in windows of 1,000 rows."""
        return (
            Example(
                parameters={"alpha": 0.05},
                reference=planted_reference(seed=1),
                null=planted_windows(seed=2, windows=200),
                shifted=planted_windows(seed=3, windows=20, shift_sd=0.2),
                shifted_column="amount",
                false_alarm_rate=0.02,  # half of the columns are tested
                delay=2,
            ),
        )
