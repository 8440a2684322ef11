"""One-sided e-detector of a rate, of wrong predictions or missing values: only a rise is drift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import ClassVar, NamedTuple

import numpy as np
from scipy import stats

from detectors.base import Detector, Example, Moment, Step
from detectors.calibration import Z_REFERENCE, Calibration, calibrated
from detectors.concluding import conclude
from detectors.edetector import SINGLE_SHARE
from detectors.effects import compare
from detectors.ledger import Ledger, LedgerStep
from detectors.planted_outcomes import planted_outcome_reference, planted_outcomes
from detectors.rate_evidence import RateLimit, RateVariation, learn_rate
from detectors.readings import WRONG
from detectors.streams import StreamStates
from detectors.tensor import BoolArray, FloatArray, IntArray, ReferenceCounts
from detectors.tilts import TILTS
from schemas.errors import UsageError
from schemas.verdict import Verdict

_SINGLE_BUDGET = 1e-4
_LEVEL = 0.95


class Collected(NamedTuple):
    """What a window said of all streams.

    Parameters
    ----------
    found : LedgerStep
    is_normal : BoolArray
        ``[S·C]``: the window looks as it should.
    budget : FloatArray
        ``[S·C]``: what each stream could spend.
    counted, rows : FloatArray
        ``[S·C]``: rows that are counted, and all.
    """

    found: LedgerStep
    is_normal: BoolArray
    budget: FloatArray
    counted: FloatArray
    rows: FloatArray


@dataclass(frozen=True)
class RateEDetector(Detector):
    """Collect evidence that a rate has risen above what the reference allows.

    Parameters
    ----------
    counted : str
        Label of the bin whose share of the rows is the rate, for example ``"wrong"`` or ``"missing"``.
        Columns without such a bin are never drift, and their threshold source says so.
    margin : float
        By how much the rate may rise without being worth anybody's time; 0 or more.
    relative_margin : float
        The same as a part of the reference's rate; the larger of the two counts.
    z_reference : float
        Standard errors by which the reference itself may be wrong.

    Raises
    ------
    UsageError
        If a parameter is out of range.

    Notes
    -----
    Only a rise is drift. The rate that is allowed is ``c = u + max(margin, relative_margin·u)``, u the upper
    limit of the reference's rate at that time of the day or week. The false-alarm budget is kept as in
    `detectors.edetector.EDetector`, in the same two parts: what adds up over windows, and what a single
    window shows. A stream is settled after three windows in a row that are nothing unusual at the rate c
    (5 %) and no evidence of their own, once all windows together speak against a rate that is higher by what
    matters (see `detectors.rate_evidence.RateLimit.is_back`): a few small windows without a single count do
    not end what is rare. Slots count where the rate itself differs between them by more than
    chance (5 %), whatever the other bins of the column do.

    `judge` looks at one window on its own, with a budget of 0.0001 for each stream.

    Examples
    --------
    >>> detector = RateEDetector()
    >>> example = detector.examples()[0]
    >>> verdict = detector.judge(example.reference, example.shifted[0])[0]
    >>> verdict.decision.value, verdict.evidence_log > verdict.threshold
    ('drift', True)
    """

    name: ClassVar[str] = "rate"
    formula: ClassVar[str] = (
        "evidence = the larger of ln Σ w·M with M ← (M + b/4)·E after each window, b the budget, and of "
        "ln(¾b/P) of the window alone; an alarm at 0 or more. ln E = "
        "(x·ln(q/c) + (n − x)·ln((1 − q)/(1 − c)))/D for rates q above c, the rate that is allowed; P is the "
        "probability of so many (docs/statistics.md)."
    )

    counted: str = WRONG
    margin: float = 0.01
    relative_margin: float = 0.0
    z_reference: float = Z_REFERENCE

    def __post_init__(self) -> None:
        for what in ("margin", "relative_margin", "z_reference"):
            value = getattr(self, what)
            if not 0 <= value < inf:
                msg = f"rate: {what}: {value} (a number of 0 or more is allowed)"
                raise UsageError(msg)
        if not self.counted:
            msg = f"rate: counted: {self.counted!r} (the label of a bin is needed)"
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
        states = StreamStates.from_bytes(state, window.shape[0] * window.shape[1], 1, moment.start_ms)
        collected = self.collect(reference, window, states, moment)
        return conclude(
            self.name,
            reference,
            states,
            collected.found,
            compare(reference.counts, window, reference.layout, reference.sd),
            is_normal=collected.is_normal,
            budget=collected.budget,
            sources=self._sources(counting(reference, self.counted)),
            moment=moment,
        )

    def collect(
        self, reference: ReferenceCounts, window: IntArray, states: StreamStates, moment: Moment
    ) -> Collected:
        """Take the evidence of a window in; the masses of the states are changed in place."""
        streams = window.shape[0] * window.shape[1]
        known = counting(reference, self.counted)
        x, n = known.of(window), window.sum(axis=2).ravel().astype(np.float64)
        limit = known.limit(moment.start_ms, self.z_reference, self.margin, self.relative_margin)
        budget = np.where(states.is_open, 0.0, moment.budget.ravel())
        states.rest(budget)
        single = SINGLE_SHARE * budget
        with np.errstate(divide="ignore"):
            jump = np.log(single) - limit.log_tail(x, n)
        ledger = Ledger(states.mass)
        evidence = limit.log_evalues(x, n)[:, None]
        weights = np.full((1, streams), 1 / TILTS)
        found = ledger.step(evidence, budget - single, weights, states.is_resting, jump)
        states.mass[:] = ledger.mass
        is_normal = limit.is_usual(x, n) & (found.window_log < 0) & limit.is_back(states.mass)
        return Collected(found, is_normal, budget, x, n)

    def _sources(self, known: Counting) -> list[str]:
        return [
            f"false-alarm budget; reference by {slot}"
            if place >= 0
            else f"nothing is watched: there is no bin {self.counted!r}"
            for place, slot in zip(known.places.tolist(), known.calibration.slot_names, strict=True)
        ]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Half as many wrong predictions again in windows of 1,000 rows."""
        return (
            Example(
                parameters={"counted": WRONG, "margin": 0.01, "z_reference": 4.0},
                reference=planted_outcome_reference(seed=1),
                null=planted_outcomes(seed=2, windows=200),
                shifted=planted_outcomes(seed=3, windows=20, wrong_share=0.16),
                shifted_column="outcome",
                false_alarm_rate=_SINGLE_BUDGET,
                delay=2,
            ),
        )


@dataclass(frozen=True)
class Counting:
    """Where a rate is found in the tensors of a reference, and what was learned of it.

    Parameters
    ----------
    reference : ReferenceCounts
    calibration : Calibration
        Which slots each column uses.
    places : IntArray
        ``[C]``: the bin that is counted; -1 where there is none.
    has_slots : BoolArray
        ``[S·C]``: the rate differs between the slots of its column.
    variation : RateVariation
        Of all streams.
    """

    reference: ReferenceCounts
    calibration: Calibration
    places: IntArray
    has_slots: BoolArray
    variation: RateVariation

    def of(self, window: IntArray) -> FloatArray:
        """Counts of a window ``[S, C, K]`` in the bins that are counted, ``[S·C]``."""
        return _picked(window, self.places)

    def limit(self, start_ms: int, z: float, margin: float, relative_margin: float) -> RateLimit:
        """What the reference allows at that time."""
        known, rows = _known(self.reference, self.calibration, self.places, self.has_slots, start_ms)
        return RateLimit.of(known, rows, self.variation, z, margin, relative_margin)


def _picked(counts: IntArray, places: IntArray) -> FloatArray:
    inside = np.take_along_axis(counts, np.maximum(places, 0)[None, :, None], axis=2)[..., 0]
    return np.where(places >= 0, inside, 0).ravel().astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Key:
    """A reference and a label as a key of the cache: references are compared by identity."""

    reference: ReferenceCounts
    counted: str

    def __hash__(self) -> int:
        return hash((id(self.reference), self.counted))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.reference is self.reference and other.counted == self.counted


def counting(reference: ReferenceCounts, counted: str) -> Counting:
    """Learn what is known of a rate, once for each reference and label."""
    return _counting(_Key(reference, counted))


def slots_of(reference: ReferenceCounts, counted: str) -> tuple[str, ...]:
    """Say what each column is compared by: always, the hour of the day, or that of the week."""
    return tuple(counting(reference, counted).calibration.slot_names)


@lru_cache(maxsize=64)
def _counting(key: _Key) -> Counting:
    reference = key.reference
    calibration = calibrated(reference)
    # What stands beside the values, such as the missing ones, comes last.
    found = [
        [i for i, label in enumerate(labels) if label == key.counted] for labels in reference.layout.labels
    ]
    places = np.array([each[-1] if each else -1 for each in found], np.int64)
    streams = len(reference.segments) * len(places)
    if not len(reference.windows):
        no_slots, nothing = np.zeros(streams, bool), RateVariation.nothing(streams)
        return Counting(reference, calibration, places, no_slots, nothing)
    x = np.stack([_picked(window, places) for window in reference.windows])
    n = reference.windows.sum(axis=3).reshape(len(x), streams).astype(np.float64)
    has_slots = _has_slots(reference, calibration, x, n)
    known = [
        _known(reference, calibration, places, has_slots, start_ms)
        for start_ms in reference.starts_ms.tolist()
    ]
    expected = np.stack([(hits + 0.5) / (rows + 1.0) for hits, rows in known])
    slots = np.where(has_slots, np.tile(_slots(reference, calibration), len(reference.segments)), 1)
    return Counting(reference, calibration, places, has_slots, learn_rate(x, n, expected, slots))


def _known(
    reference: ReferenceCounts,
    calibration: Calibration,
    places: IntArray,
    has_slots: BoolArray,
    start_ms: int,
) -> tuple[FloatArray, FloatArray]:
    """Counts and rows that a window beginning then is compared with, ``[S·C]``."""
    _, counts = calibration.at(start_ms)
    in_slot = _picked(counts.reshape(reference.counts.shape), places)
    rows = reference.counts.sum(axis=2).ravel()
    known = np.where(has_slots, in_slot, _picked(reference.counts, places))
    return known, np.where(has_slots, counts.sum(axis=1), rows).astype(np.float64)


def _has_slots(
    reference: ReferenceCounts, calibration: Calibration, x: FloatArray, n: FloatArray
) -> BoolArray:
    """Whether rates differ between the slots of their columns by more than chance, ``[S·C]``.

    Pearson's χ² of counts ``[W, S·C]`` by slot.
    """
    found = np.zeros((len(reference.segments), len(reference.layout.columns)), bool)
    for columns, season in calibration.seasons:
        slots = season.slotting.of(reference.starts_ms)
        if len(np.unique(slots)) < 2:
            continue
        hits, rows = (
            np.stack([part[slots == slot].sum(axis=0) for slot in np.unique(slots)]) for part in (x, n)
        )
        p = hits.sum(axis=0) / np.maximum(rows.sum(axis=0), 1)
        variance = rows * p * (1 - p)
        terms = np.where(variance > 0, (hits - rows * p) ** 2 / np.where(variance > 0, variance, 1), 0.0)
        differs = terms.sum(axis=0) > stats.chi2.ppf(_LEVEL, len(hits) - 1)
        found[:, columns] = differs.reshape(found.shape)[:, columns]
    return found.ravel()


def _slots(reference: ReferenceCounts, calibration: Calibration) -> IntArray:
    """How many slots of each column occur."""
    slots = np.ones(len(reference.layout.columns), np.int64)
    for columns, season in calibration.seasons:
        slots[columns] = len(np.unique(season.slotting.of(reference.starts_ms)))
    return slots
