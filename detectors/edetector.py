"""Tilted-multinomial e-detector: alarms within a stated false-alarm budget. The default judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.base import Detector, Example, Moment, Step
from detectors.calibration import (
    Z_REFERENCE,
    Calibration,
    calibrated,
    overall_dispersion,
    rank_evalues,
    relative_distance,
)
from detectors.concluding import conclude
from detectors.effects import compare
from detectors.ledger import Ledger, LedgerStep
from detectors.planted import planted_reference, planted_windows
from detectors.streams import StreamStates
from detectors.surprise import log_surprise
from detectors.tensor import FloatArray, IntArray, ReferenceCounts
from detectors.tilts import AXIS, axis_directions, log_evalues, tilt_weights
from schemas.errors import UsageError
from schemas.verdict import Verdict

STREAMS_AT_ONCE = 1_024  # the working arrays stay in the processor's cache
SINGLE_SHARE = 0.75  # of a budget, for jumps that a single window shows; the rest is for what adds up
_SINGLE_BUDGET = 1e-4

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class EDetector(Detector):
    """Collect evidence that a stream has left the tolerated neighbourhood of its reference.

    Parameters
    ----------
    tolerance : float
        Population stability index that a column may have without being worth anybody's time; 0 or more.
    tolerances : mapping of str to float
        The same for single columns.
    z_reference : float
        Standard errors by which the reference itself may be wrong.

    Raises
    ------
    UsageError
        If a parameter is out of range.

    Notes
    -----
    In each window every stream gets a budget b: the expected number of false alarms that it may cost. The
    expected number of false alarms up to any time is at most the sum of the budgets, whatever the number of
    streams and however they hang together, as long as the rows of a window vary no more than the reference's
    windows did. A stream whose alarm is open spends nothing; it is settled after three windows with a
    de-biased PSI of at most half the tolerance and no evidence of their own.

    `judge` looks at one window on its own, with a budget of 0.0001 for each stream.

    References
    ----------
    .. [1] J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential change
       detection", New England Journal of Statistics in Data Science 2 (2024).

    Examples
    --------
    >>> detector = EDetector()
    >>> example = detector.examples()[0]
    >>> verdict = detector.judge(example.reference, example.shifted[0])[0]
    >>> verdict.decision.value, verdict.evidence_log > verdict.threshold
    ('drift', True)
    """

    name: ClassVar[str] = "edetector"
    formula: ClassVar[str] = (
        "evidence = the larger of ln Σ w·M with M ← (M + b/4)·E after each window, b the budget, and of "
        "ln(¾b · w/P) of the window alone; an alarm at 0 or more. ln E = (x·ln(q/p) − n·ln(1 + ε·sd))/D for "
        "each tilt q of the reference p, P the probability of such a jump in a window (docs/statistics.md)."
    )

    tolerance: float = 0.01
    tolerances: Mapping[str, float] = field(default_factory=dict)
    z_reference: float = Z_REFERENCE

    def __post_init__(self) -> None:
        for what, value in (("tolerance", self.tolerance), ("z_reference", self.z_reference)):
            if not 0 <= value < inf:
                msg = f"edetector: {what}: {value} (a number of 0 or more is allowed)"
                raise UsageError(msg)
        for column, value in self.tolerances.items():
            if not 0 <= value < inf:
                msg = f"edetector: tolerances: {column}: {value} (a number of 0 or more is allowed)"
                raise UsageError(msg)

    def judge(self, reference: ReferenceCounts, window: IntArray) -> list[Verdict]:
        """Judge one window on its own; see `Detector.judge`."""
        start_ms = int(reference.starts_ms[-1]) + reference.window_ms if len(reference.starts_ms) else 0
        budget = np.full(window.shape[:2], _SINGLE_BUDGET)
        return self.step(reference, window, b"", Moment(start_ms, start_ms + 1, budget)).verdicts

    def step(self, reference: ReferenceCounts, window: IntArray, state: bytes, moment: Moment) -> Step:
        """Judge the next window of a series; see `Detector.step`.

        Raises
        ------
        UsageError
            If the window or the state do not belong to the reference.
        """
        reference.check_window(window)
        calibration = calibrated(reference)
        tolerance = self._tolerances(reference)
        streams = window.shape[0] * window.shape[1]
        directions = AXIS + window.shape[2]
        states = StreamStates.from_bytes(state, streams, directions, moment.start_ms)
        shares, counts = calibration.at(moment.start_ms)
        x = window.reshape(streams, -1).astype(np.float64)
        dispersion = calibration.variation.dispersion(x.sum(axis=1))
        budget = np.where(states.is_open, 0.0, moment.budget.ravel())
        states.rest(budget)
        found = self._collect(
            states, x, shares, counts, dispersion, budget, reference, calibration, tolerance
        )
        overall = overall_dispersion(shares, dispersion).reshape(window.shape[:2])
        effects = compare(
            counts.reshape(window.shape), window, reference.layout, reference.sd, dispersion=overall
        )
        # Where windows vary more than this one does, the de-biased interval lies below the index itself.
        effects = replace(effects, psi_high=np.maximum(effects.psi_high, effects.psi))
        is_normal = (effects.psi_debiased.ravel() <= tolerance / 2) & (found.window_log < 0)
        return conclude(
            self.name,
            reference,
            states,
            found,
            effects,
            is_normal=is_normal,
            budget=budget,
            sources=_sources(calibration),
            moment=moment,
        )

    def _tolerances(self, reference: ReferenceCounts) -> FloatArray:
        """Tolerance of each stream in PSI units, ``[S·C]``."""
        each = [self.tolerances.get(column, self.tolerance) for column in reference.layout.columns]
        return np.tile(np.array(each, np.float64), len(reference.segments))

    def _collect(
        self,
        states: StreamStates,
        x: FloatArray,
        shares: FloatArray,
        counts: IntArray,
        dispersion: FloatArray,
        budget: FloatArray,
        reference: ReferenceCounts,
        calibration: Calibration,
        tolerance: FloatArray,
    ) -> LedgerStep:
        segments = len(reference.segments)
        valid = np.tile(reference.layout.valid, (segments, 1))
        ordered = np.tile(reference.layout.ordered, (segments, 1))
        rows = counts.sum(axis=1)
        epsilon = calibration.variation.radius(rows, np.sqrt(tolerance), self.z_reference)
        single = np.where(calibration.is_calibrated, SINGLE_SHARE, 0.0) * budget
        windows = calibration.variation.single
        parts = []
        for at in _chunks(len(x)):
            p = _bins_first(shares, at)
            axis = axis_directions(p, _bins_first(ordered, at))
            evidence = log_evalues(
                _bins_first(x, at), p, axis, _bins_first(epsilon, at), _bins_first(dispersion, at)
            )
            evidence[:, :, (rows[at] == 0) | (x[at].sum(axis=1) == 0)] = 0.0
            _use_ranks(evidence, x, shares, calibration, at)
            ledger = Ledger(states.mass[:, :, at])
            weights = tilt_weights(_bins_first(valid, at), axis)
            surprise = log_surprise(
                _bins_first(x, at), p, axis, weights, _bins_first(epsilon, at), windows.at(at)
            )
            jump = surprise + _logs(single[at])
            parts.append(ledger.step(evidence, (budget - single)[at], weights, states.is_resting[at], jump))
            states.mass[:, :, at] = ledger.mass
        return LedgerStep(*(np.concatenate(column)[: len(x)] for column in zip(*parts, strict=True)))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Half a standard deviation in windows of 1,000 rows."""
        reference = planted_reference(seed=1)
        return (
            Example(
                parameters={"tolerance": 0.01, "z_reference": 4.0},
                reference=reference,
                null=planted_windows(seed=2, windows=200),
                shifted=planted_windows(seed=3, windows=20, shift_sd=0.5),
                shifted_column="amount",
                false_alarm_rate=_SINGLE_BUDGET,
                delay=2,
            ),
        )


def _chunks(streams: int) -> Iterator[slice | IntArray]:
    """Streams to compute at once: never one alone, which is computed twice instead.

    NumPy adds up an array of one stream in another order than one of several, which must not show.
    """
    if streams == 1:
        yield np.zeros(2, np.int64)
        return
    begins = [*range(0, streams - 1, STREAMS_AT_ONCE), streams]
    yield from (slice(begin, end) for begin, end in pairwise(begins))


def _bins_first(streams_first: NDArray[Scalar], at: slice | IntArray) -> NDArray[Scalar]:
    return np.ascontiguousarray(streams_first[at].T)


def _logs(budget: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(budget))


def _use_ranks(
    evidence: FloatArray, x: FloatArray, shares: FloatArray, calibration: Calibration, at: slice | IntArray
) -> None:
    """Judge streams that are not calibrated by the rank of their distance."""
    wild = ~calibration.is_calibrated[at] & (x[at].sum(axis=1) > 0)
    if wild.any():
        far = relative_distance(x[at][wild], shares[at][wild], calibration.excess[at][wild])
        ranks = rank_evalues(far, calibration.distances[:, at][:, wild])
        # Windows in a row that are off together are worth one.
        evidence[:, :, wild] = ranks / calibration.lasting[at][wild]


def _sources(calibration: Calibration) -> list[str]:
    columns = calibration.shape[1]
    names = calibration.slot_names
    return [
        f"false-alarm budget; reference by {names[i]}"
        if calibration.is_calibrated[i]
        else f"false-alarm budget; uncalibrated: ranks among the reference's windows by {names[i]}"
        for i in range(columns)
    ]
