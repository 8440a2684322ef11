"""PSI against a threshold: the index people know, without its bias and with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from detectors.base import Detector, Example
from detectors.effects import compare
from detectors.planted import planted_reference, planted_windows
from detectors.stability import debiased_psi
from detectors.tensor import FloatArray, IntArray, ReferenceCounts
from detectors.verdicts import make_verdicts
from schemas.errors import UsageError
from schemas.verdict import Verdict

_MARGIN = 1.25
_FEWEST_WINDOWS = 4


@dataclass(frozen=True)
class PsiThreshold(Detector):
    """Report drift when the de-biased PSI reaches a threshold and is certainly more than a tolerated value.

    Parameters
    ----------
    threshold : float
        Smallest de-biased PSI that is drift; above 0. The default of 0.1 is the usual "moderate shift".
    tolerance : float
        The lower limit of the PSI's 90 % interval must exceed this; 0 or more. It keeps windows of few rows
        quiet.
    calibrate : bool
        Raise the threshold of a column to 1.25 × the largest de-biased PSI among the reference's own windows,
        where at least 4 of them have data. Columns that vary by nature then do not alarm for that.

    Raises
    ------
    UsageError
        If `threshold` or `tolerance` is out of range.

    Notes
    -----
    The threshold is a statement of what matters and comes with no stated false-alarm rate: the more often one
    looks, the more false alarms there are. Segments use the thresholds of all rows.

    References
    ----------
    .. [1] N. Siddiqi, "Credit risk scorecards", Wiley (2006): the customary limits 0.1 and 0.25.

    Examples
    --------
    >>> detector = PsiThreshold()
    >>> example = detector.examples()[0]
    >>> verdict = detector.judge(example.reference, example.shifted[0])[0]
    >>> verdict.decision.value, verdict.threshold_source
    ('drift', 'configured')
    >>> verdict.explanation.split("; ")[::2]
    ['amount: 14 % of rows ≥ 1.64, reference 5.0 %', 'median -0.002887 → 0.5197']
    """

    name: ClassVar[str] = "psi"
    formula: ClassVar[str] = (
        "PSI = Σ (q̂ − p̂)·ln(q̂/p̂), less (K − 1)·(1/n + 1/m); drift at the threshold (docs/effects.md)."
    )

    threshold: float = 0.1
    tolerance: float = 0.01
    calibrate: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.threshold < inf:
            msg = f"psi: threshold: {self.threshold} (a number above 0 is allowed)"
            raise UsageError(msg)
        if not 0 <= self.tolerance < inf:
            msg = f"psi: tolerance: {self.tolerance} (a number of 0 or more is allowed)"
            raise UsageError(msg)

    def judge(self, reference: ReferenceCounts, window: IntArray) -> list[Verdict]:
        """Judge one window; see `Detector.judge`."""
        reference.check_window(window)
        effects = compare(reference.counts, window, reference.layout, reference.sd)
        thresholds, sources = self._thresholds(reference)
        return make_verdicts(
            self.name,
            reference,
            effects,
            statistic=effects.psi_debiased,
            is_drift=(effects.psi_debiased >= thresholds) & (effects.psi_low > self.tolerance),
            thresholds=thresholds,
            threshold_sources=sources,
        )

    def _thresholds(self, reference: ReferenceCounts) -> tuple[FloatArray, list[str]]:
        """Threshold of each column ``[C]`` and where it came from."""
        columns = len(reference.layout.columns)
        configured = np.full(columns, self.threshold)
        if not self.calibrate or len(reference.windows) < _FEWEST_WINDOWS:
            return configured, ["configured"] * columns
        windows = reference.windows[:, 0]
        with_data = (windows.sum(axis=-1) > 0).sum(axis=0)
        largest = debiased_psi(reference.counts[0], windows, reference.layout).max(axis=0)
        natural = np.where(with_data >= _FEWEST_WINDOWS, _MARGIN * largest, 0)
        sources = [
            f"{_MARGIN} × largest of {count} reference windows" if is_natural else "configured"
            for count, is_natural in zip(with_data.tolist(), (natural > configured).tolist(), strict=True)
        ]
        return np.maximum(configured, natural), sources

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Half a standard deviation in windows of 1,000 rows."""
        reference = planted_reference(seed=1)
        return (
            Example(
                parameters={"threshold": 0.1, "tolerance": 0.01},
                reference=reference,
                null=planted_windows(seed=2, windows=200),
                shifted=planted_windows(seed=3, windows=20, shift_sd=0.5),
                shifted_column="amount",
                false_alarm_rate=0.001,
                delay=1,
            ),
        )
