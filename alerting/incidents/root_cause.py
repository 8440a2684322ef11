"""What may be behind an incident: everything that changed on the way in, the likeliest first.

Notes
-----
The order follows from what is known, not from a model of causes: faults of the data come before changes of
their distribution, and both before changes of the traffic; what comes with more of the change of the
predictions, and what began first, moves up. It is association, and the words say why each candidate stands
where it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from alerting.alert import Alert
from alerting.finding import Finding, Kind, shorten
from alerting.summary import attribution_of, moved_text
from schemas.attribution import Attribution
from schemas.column import is_input
from schemas.contract import DETECTOR_PREFIX
from schemas.verdict import QUALITY_PREFIX, Lane

SHOWN_CAUSES = 5
MAX_WORDS = 240
NO_EVENTS, FAULT, CONTRACT, DRIFT, TRAFFIC = 2.0, 1.0, 1.0, 0.6, 0.3
BEGAN_FIRST = 0.3
PIPELINE = {Kind.NO_DATA: "no events arrived", Kind.PARTITION_STOPPED: "a partition was stopped"}


@dataclass(frozen=True)
class Cause:
    """One candidate.

    Parameters
    ----------
    name : str
        A column, ``events`` for the stream as a whole, or a segment.
    score : float
        What it is ordered by; has no meaning beyond the incident.
    explained : float or None
        Share of the change of the mean prediction that comes with it, where that is known.
    since : datetime or None
        When it began.
    models : tuple of str
        Models that see it.
    words : str
        Why it is here.
    """

    name: str
    score: float
    explained: float | None
    since: datetime | None
    models: tuple[str, ...]
    words: str


def rank_causes(alerts: Sequence[Alert]) -> tuple[Cause, ...]:
    """Rank what may be behind the alerts of an incident.

    Parameters
    ----------
    alerts : sequence of Alert
        Those of one incident.

    Returns
    -------
    tuple of Cause
        At most five, the likeliest first; empty if nothing that a model is fed with has changed.
    """
    candidates: dict[str, list[tuple[Alert, Finding]]] = {}
    for alert in alerts:
        for finding in alert.findings:
            name = _candidate(alert, finding)
            if name is not None:
                candidates.setdefault(name, []).append((alert, finding))
    explained = _explained(alerts)
    first = min((since for found in candidates.values() if (since := _since(found))), default=None)
    causes = [_cause(name, found, explained.get(name), first) for name, found in candidates.items()]
    if len(causes) > 1 and len({cause.since for cause in causes}) == 1:
        first = None  # nothing began before the others
        causes = [_cause(name, found, explained.get(name), first) for name, found in candidates.items()]
    return tuple(sorted(causes, key=lambda cause: (-cause.score, cause.name))[:SHOWN_CAUSES])


def causes_text(causes: Iterable[Cause]) -> str:
    """List causes, one on a line; empty without any. Not escaped."""
    lines = [f"{rank}. {cause.name}: {cause.words}" for rank, cause in enumerate(causes, 1)]
    return "\n".join(["What may be behind it, the likeliest first:", *lines]) if lines else ""


def _candidate(alert: Alert, finding: Finding) -> str | None:
    """Name what a finding speaks of, if that can be a cause rather than a symptom."""
    if alert.kind in PIPELINE or (alert.kind is Kind.QUALITY and not finding.column):
        return "events"
    if alert.kind not in (Kind.DRIFT, Kind.QUALITY):
        return None
    if finding.detector.startswith(DETECTOR_PREFIX):
        return finding.column
    if is_input(finding.column) and finding.lane is not Lane.PREDICTIONS:
        return finding.column
    return None


def _cause(
    name: str, found: Sequence[tuple[Alert, Finding]], explained: float | None, first: datetime | None
) -> Cause:
    weight, lead = max(((_weight(alert, finding), finding) for alert, finding in found), key=_heaviest)
    since = _since(found)
    began_first = first is not None and since == first
    score = weight + (explained or 0.0) + (BEGAN_FIRST if began_first else 0.0)
    models = tuple(dict.fromkeys(alert.model for alert, _ in found))
    words = _words(found[0][0], lead, explained, models, began_first=began_first)
    return Cause(name, round(score, 6), explained, since, models, words)


def _heaviest(pair: tuple[float, Finding]) -> tuple[object, ...]:
    weight, finding = pair
    return weight, not finding.segment, finding.psi_debiased or 0.0, finding.evidence_log or 0.0


def _weight(alert: Alert, finding: Finding) -> float:
    if alert.kind in PIPELINE:
        return NO_EVENTS
    if finding.detector.startswith(DETECTOR_PREFIX):
        return CONTRACT
    if finding.detector.startswith(QUALITY_PREFIX) or alert.kind is Kind.QUALITY:
        return FAULT
    return TRAFFIC if finding.segment else DRIFT


def _since(found: Sequence[tuple[Alert, Finding]]) -> datetime | None:
    return min((finding.onset_at or finding.window_start for _, finding in found), default=None)


def _explained(alerts: Sequence[Alert]) -> dict[str, float]:
    """Share of the change of the mean prediction that comes with each column, between 0 and 1."""
    shares: dict[str, float] = {}
    for alert in alerts:
        found = attribution_of(alert.findings)
        if found is not None:
            for name, share in _shares(found).items():
                shares[name] = max(share, shares.get(name, 0.0))
    return shares


def _shares(found: Attribution) -> dict[str, float]:
    if found.change == 0:
        return {}
    parts = (part for part in found.parts if part.is_beyond_chance and part.part * found.change > 0)
    return {part.name: min(1.0, part.part / found.change) for part in parts}


def _words(
    alert: Alert, lead: Finding, explained: float | None, models: tuple[str, ...], *, began_first: bool
) -> str:
    what = PIPELINE.get(alert.kind) or moved_text(lead) or lead.explanation or "changed"
    what = what.removeprefix(f"{lead.column}: ")
    reasons = [f"where {lead.segment}: {what}" if lead.segment else what]
    if explained is not None:
        reasons.append(f"{100 * explained:.0f} % of the change of the mean prediction comes with it")
    if began_first:
        reasons.append("began first")
    if len(models) > 1:
        reasons.append(f"seen by {len(models)} models")
    return shorten("; ".join(reason.rstrip(".") for reason in reasons), MAX_WORDS)
