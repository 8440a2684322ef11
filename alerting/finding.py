"""What a judged window says to an incident: its findings, and which streams are not yet back to normal.

All instants are aware UTC, except the window's edges of an observation, which are epoch milliseconds as in
`schemas.window`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from schemas.attribution import Attribution
from schemas.column import MULTIVARIATE_PREFIX
from schemas.examples import Example
from schemas.verdict import Decision, Lane, MovedBin, Stream, Verdict

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
MAX_EXPLANATION = 300
MAX_LABEL = 80
SHOWN_BINS = 3
SHOWN_EXAMPLES = 3
LANE_ORDER = tuple(Lane)


def instant(at_ms: int) -> datetime:
    """Epoch milliseconds as an aware UTC instant.

    Examples
    --------
    >>> instant(1_767_225_600_123).isoformat()
    '2026-01-01T00:00:00.123000+00:00'
    """
    return EPOCH + at_ms * MILLISECOND


def epoch_ms(at: datetime) -> int:
    """Milliseconds since the epoch of an aware instant; the exact inverse of `instant`."""
    return (at - EPOCH) // MILLISECOND


class Kind(StrEnum):
    """What an incident is about; a model version has at most one open incident of each kind."""

    DRIFT = "drift"
    NO_DATA = "no_data"
    PARTITION_STOPPED = "partition_stopped"
    PERFORMANCE = "performance"
    SLO = "slo"
    ROLLBACK = "rollback"
    FAIRNESS = "fairness"
    QUALITY = "quality"


class Severity(StrEnum):
    """How loud an alert is, from the consequence of its worst finding."""

    INFO = "info"
    WARN = "warn"
    PAGE = "page"

    @property
    def rank(self) -> int:
        """Position from quiet (0) to loud."""
        return tuple(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """One stream (column and segment) that one window found to have drifted.

    Parameters
    ----------
    window_start, window_end : datetime
        The judged window.
    psi, psi_debiased, psi_low, psi_high : float or None
        Effect size with its interval; ``None`` where the detector measures something else.
    statistic, threshold : float or None
        What was compared with what; ``None`` if not finite.
    evidence_log, threshold_log : float or None
        Both as natural logarithms of an e-value, for detectors that have one.
    moved : tuple of MovedBin
        The bins that moved most, at most three.
    onset_at : datetime or None
        When the drift began, if the detector can tell.
    severity : Severity
        Filled in by the state machine from the policy, unless the finding has one of its own.
    fixed_severity : Severity or None
        Its own severity, whatever the policy says: that which a contract names.
    examples : tuple of Example
        Events that broke a rule, at most three.
    attribution : Attribution or None
        Where the change of the predictions comes from, for the finding on the predictions of all rows.
    """

    column: str
    segment: str
    lane: Lane
    detector: str
    window_start: datetime
    window_end: datetime
    psi: float | None = None
    psi_debiased: float | None = None
    psi_low: float | None = None
    psi_high: float | None = None
    statistic: float | None = None
    threshold: float | None = None
    threshold_source: str = ""
    evidence_log: float | None = None
    threshold_log: float | None = None
    explanation: str = ""
    moved: tuple[MovedBin, ...] = ()
    onset_at: datetime | None = None
    severity: Severity = Severity.INFO
    attribution: Attribution | None = None
    fixed_severity: Severity | None = None
    examples: tuple[Example, ...] = ()

    @classmethod
    def of(cls, verdict: Verdict, start_ms: int, end_ms: int) -> Finding:
        """Take over a verdict of one window.

        Parameters
        ----------
        verdict : Verdict
            What the detector said.
        start_ms, end_ms : int
            The window, epoch milliseconds.
        """
        effects = verdict.effects
        return cls(
            column=verdict.column,
            segment=verdict.segment,
            lane=verdict.lane,
            detector=verdict.detector,
            window_start=instant(start_ms),
            window_end=instant(end_ms),
            psi=_finite(effects.psi) if effects else None,
            psi_debiased=_finite(effects.psi_debiased) if effects else None,
            psi_low=_finite(effects.psi_low) if effects else None,
            psi_high=_finite(effects.psi_high) if effects else None,
            statistic=_finite(verdict.statistic),
            threshold=_finite(verdict.threshold),
            threshold_source=verdict.threshold_source[:MAX_EXPLANATION],
            evidence_log=_finite(verdict.evidence_log),
            threshold_log=_threshold_log(verdict),
            explanation=shorten(verdict.explanation, MAX_EXPLANATION),
            moved=_most_moved(verdict.moved),
            onset_at=None if verdict.onset_ms is None else instant(verdict.onset_ms),
            attribution=verdict.attribution,
            examples=verdict.examples[:SHOWN_EXAMPLES],
        )

    @property
    def stream(self) -> Stream:
        """What was judged, and by which detector."""
        return Stream(self.column, self.segment, self.detector)

    @property
    def rank(self) -> tuple[object, ...]:
        """Sort key: the finding that matters most comes first."""
        return (
            -self.severity.rank,
            LANE_ORDER.index(self.lane),
            bool(self.segment),  # of data quality: all rows first
            self.column.startswith(MULTIVARIATE_PREFIX),  # a column of its own tells people more
            -(self.psi_debiased or 0.0),
            -(self.evidence_log or 0.0),
            self.column,
            self.segment,
            self.window_start,
            self.detector,
        )


@dataclass(frozen=True)
class WindowObservation:
    """What one judgement of one window says to the incidents of one kind.

    Parameters
    ----------
    model, version : str
        Whose window it is.
    start_ms, end_ms : int
        The window, epoch milliseconds.
    revision : int
        0 or 1 is the first judgement; anything above is a revision, which may take findings back but never
        adds any.
    findings : tuple of Finding
        Streams that drifted; empty for a window without alarm.
    kind : Kind
        Which incident it speaks to.
    unsettled : frozenset of Stream
        Streams without an alarm that are not back at their reference either. While a stream of the open
        incident is among them, the window does not count as clean. Others are ignored.
    reference_hash : str
        Reference that the window was compared with; part of the identity of an alert.
    """

    model: str
    version: str
    start_ms: int
    end_ms: int
    revision: int = 1
    findings: tuple[Finding, ...] = ()
    kind: Kind = Kind.DRIFT
    unsettled: frozenset[Stream] = field(default=frozenset())
    reference_hash: str = ""

    @classmethod
    def of(
        cls,
        model: str,
        version: str,
        start_ms: int,
        end_ms: int,
        verdicts: list[Verdict],
        *,
        revision: int = 1,
        reference_hash: str = "",
        kind: Kind = Kind.DRIFT,
    ) -> WindowObservation:
        """Keep of all verdicts of a window those that say DRIFT, and which streams are ONGOING.

        Parameters
        ----------
        verdicts : list of Verdict
            Everything that was judged.
        """
        findings = tuple(
            Finding.of(verdict, start_ms, end_ms)
            for verdict in verdicts
            if verdict.decision is Decision.DRIFT
        )
        unsettled = frozenset(v.stream for v in verdicts if v.decision is Decision.ONGOING)
        return cls(model, version, start_ms, end_ms, revision, findings, kind, unsettled, reference_hash)

    @property
    def is_revision(self) -> bool:
        """Whether the window had been judged before."""
        return self.revision > 1

    @property
    def start_at(self) -> datetime:
        """First instant of the window."""
        return instant(self.start_ms)

    @property
    def end_at(self) -> datetime:
        """First instant after the window."""
        return instant(self.end_ms)


def shorten(text: str, limit: int) -> str:
    """Cut a text to a number of characters, with an ellipsis where something is missing.

    Examples
    --------
    >>> shorten("abcdef", 4), shorten("abcd", 4)
    ('abc…', 'abcd')
    """
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _threshold_log(verdict: Verdict) -> float | None:
    """Threshold on the scale of the evidence; its logarithm unless the statistic is one already."""
    if verdict.evidence_log is None or not math.isfinite(verdict.threshold):
        return None
    if verdict.statistic == verdict.evidence_log:
        return float(verdict.threshold)
    return math.log(verdict.threshold) if verdict.threshold > 0 else None


def _most_moved(moved: tuple[MovedBin, ...]) -> tuple[MovedBin, ...]:
    """Keep the bins with the largest finite parts of the PSI, with labels of bounded length."""
    finite = [bin_ for bin_ in moved if all(map(math.isfinite, (bin_.reference_share, bin_.share, bin_.psi)))]
    largest = sorted(finite, key=lambda bin_: -bin_.psi)[:SHOWN_BINS]
    return tuple(
        MovedBin(
            shorten(bin_.label, MAX_LABEL), float(bin_.reference_share), float(bin_.share), float(bin_.psi)
        )
        for bin_ in largest
    )
