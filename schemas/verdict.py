"""What a detector says of one window, column and segment."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from schemas.attribution import Attribution
from schemas.examples import Example

QUALITY_PREFIX = "quality."
"""Results of a watch of data quality are those of a detector of this name: ``quality.missing``."""


class Decision(StrEnum):
    """Outcome of a judgement: `DRIFT` raises an alarm, `ONGOING` has raised one and is not back to normal."""

    OK = "ok"
    DRIFT = "drift"
    ONGOING = "ongoing"
    NO_DATA = "no_data"


class Lane(StrEnum):
    """What kind of thing is watched; lanes share the false-alarm budget."""

    PERFORMANCE = "performance"
    PREDICTIONS = "predictions"
    QUALITY = "quality"
    FEATURES = "features"
    MULTIVARIATE = "multivariate"
    SEGMENTS = "segments"


class Stream(NamedTuple):
    """What one detector judges from window to window."""

    column: str
    segment: str
    detector: str


@dataclass(frozen=True)
class Effects:
    """How far a window is from its reference; see ``detectors.effects`` for the formulas."""

    psi: float
    psi_debiased: float
    psi_low: float
    psi_high: float
    js: float
    hellinger: float
    total_variation: float
    linf: float
    chi2: float
    g: float
    cramers_v: float
    ks: float | None = None
    wasserstein: float | None = None
    wasserstein_error: float | None = None


@dataclass(frozen=True)
class MovedBin:
    """One bin of a column, its share in the reference and in the window, and its part of the PSI."""

    label: str
    reference_share: float
    share: float
    psi: float


@dataclass(frozen=True)
class Verdict:
    """What one detector says of one (window, column, segment).

    `statistic` is compared with `threshold`; `threshold_source` says where that came from.
    `evidence_log` is the natural logarithm of the evidence, `budget` the expected number of false alarms that
    the stream could cost in this window, and `onset_ms` when the drift began, where a detector has them.
    `attribution` says where a change of the mean prediction comes from, `examples` are events that broke a
    rule.
    """

    detector: str
    column: str
    segment: str
    lane: Lane
    decision: Decision
    n: int
    m: int
    statistic: float
    threshold: float
    threshold_source: str
    effects: Effects | None = None
    evidence_log: float | None = None
    moved: tuple[MovedBin, ...] = field(default=())
    explanation: str = ""
    budget: float | None = None
    onset_ms: int | None = None
    attribution: Attribution | None = None
    examples: tuple[Example, ...] = ()

    @property
    def stream(self) -> Stream:
        """What is judged, and by which detector."""
        return Stream(self.column, self.segment, self.detector)


def without_alarms(verdicts: list[Verdict], but: Collection[Stream] = frozenset()) -> list[Verdict]:
    """Take alarms back, except those of some streams; everything else stays."""
    return [
        replace(verdict, decision=Decision.OK, explanation="", onset_ms=None)
        if verdict.decision is Decision.DRIFT and verdict.stream not in but
        else verdict
        for verdict in verdicts
    ]
