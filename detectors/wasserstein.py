"""Normalised Wasserstein distance against a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from detectors.base import Detector, Example
from detectors.planted import planted_reference, planted_windows
from detectors.tensor import IntArray, ReferenceCounts
from detectors.threshold import check_threshold, judge_by_threshold
from schemas.verdict import Verdict


@dataclass(frozen=True)
class Wasserstein(Detector):
    """Report drift when rows moved by a threshold on average, in standard deviations of the reference.

    Parameters
    ----------
    threshold : float
        Smallest mean movement that is drift; above 0. The default of 0.1 is customary.

    Raises
    ------
    UsageError
        If `threshold` is out of range.

    Notes
    -----
    W = Σ |F_p − F_q|·(distance to the next bin's position)/sd on the numeric axis. A column without one, or
    whose reference does not vary, is never drift; its threshold source says so.

    There is no stated false-alarm rate. Without any drift W is about 1.3/√n for a normal column of n rows,
    and exceeds 0.1 often in windows of a hundred. A few rows far out can dominate it.

    References
    ----------
    .. [1] A. Ramdas, N. García Trillos, M. Cuturi, "On Wasserstein two-sample testing and related families of
       nonparametric tests", Entropy 19 (2017), section 4.

    Examples
    --------
    >>> detector = Wasserstein()
    >>> example = detector.examples()[0]
    >>> amount, carrier, *_ = detector.judge(example.reference, example.shifted[0])
    >>> amount.decision.value, round(amount.statistic, 1), amount.threshold
    ('drift', 0.5, 0.1)
    >>> carrier.decision.value, carrier.threshold_source
    ('ok', 'not on a numeric axis')
    """

    name: ClassVar[str] = "wasserstein"

    threshold: float = 0.1

    def __post_init__(self) -> None:
        check_threshold(self.name, self.threshold)

    def judge(self, reference: ReferenceCounts, window: IntArray) -> list[Verdict]:
        """Judge one window; see `Detector.judge`."""
        return judge_by_threshold(
            self.name, reference, window, lambda effects: effects.wasserstein, self.threshold
        )

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
