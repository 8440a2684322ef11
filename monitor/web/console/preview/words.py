"""What a preview found, for people: incidents of both policies beside each other, and what is only in one."""

from __future__ import annotations

from dataclasses import dataclass

from alerting.finding import shorten
from alerting.incidents.incident import Incident
from alerting.pipeline import FINISHED
from alerting.retraining.guards import Standing
from alerting.summary import subject
from monitor.backtest import Backtest
from monitor.backtest.report import Retraining

MOST_INCIDENTS = 100
MOST_WORDS = 240


@dataclass(frozen=True)
class IncidentLine:
    """One incident: `is_new` says that the other policy has none of the same model that overlaps it."""

    opened_at: str | None
    over_at: str | None
    severity: str
    of: str
    summary: str
    told: str
    training: tuple[str, ...]
    is_new: bool


@dataclass(frozen=True)
class Side:
    """What one policy would have done."""

    name: str
    found: Backtest
    incidents: tuple[IncidentLine, ...]
    incidents_total: int
    pages: int
    messages: int
    started: int
    refused: int


def sides(today: Backtest, changed: Backtest) -> tuple[Side, Side]:
    """Say what both policies would have done over the same range."""
    return _side("The policy of today", today, changed), _side("The changed policy", changed, today)


def _side(name: str, found: Backtest, other: Backtest) -> Side:
    fired = [one for one in found.incidents if one.whole.has_fired]
    others = [one for one in other.incidents if one.whole.has_fired]
    return Side(
        name,
        found,
        tuple(_line(one, found, others) for one in fired[:MOST_INCIDENTS]),
        len(fired),
        sum(one.whole.severity == "page" for one in fired),
        len(found.deliveries),
        sum(request.standing == Standing.STARTED for request in found.retraining),
        sum(request.standing == Standing.REFUSED for request in found.retraining),
    )


def _line(incident: Incident, found: Backtest, others: list[Incident]) -> IncidentLine:
    whole = incident.whole
    is_over = incident.state in FINISHED and whole.closed_at is not None
    told = dict.fromkeys(one.receiver for one in found.deliveries if one.alert_id == incident.id)
    number = sum(one.alert_id == incident.id for one in found.deliveries)
    names = dict.fromkeys(subject(member.model, member.version) for member in incident.members)
    return IncidentLine(
        whole.opened_at.isoformat(),
        whole.closed_at.isoformat() if is_over and whole.closed_at is not None else None,
        str(whole.severity),
        ", ".join(names),
        shorten(whole.summary.partition(": ")[2] or whole.summary, MOST_WORDS),
        f"{', '.join(told)} ({number})" if told else "nobody",
        tuple(_request(one) for one in found.retraining if one.incident_id == incident.id),
        not any(_overlap(incident, one) for one in others),
    )


def _request(request: Retraining) -> str:
    why = f": {request.reason}" if request.standing == Standing.REFUSED and request.reason else ""
    return f"{request.receiver} {request.standing.replace('_', ' ')}{why}"


def _overlap(one: Incident, other: Incident) -> bool:
    """Whether two incidents share a model and a moment."""
    if set(one.models).isdisjoint(other.models):
        return False
    first, second = one.whole, other.whole
    ends_before = first.closed_at is not None and first.closed_at < second.opened_at
    begins_after = second.closed_at is not None and second.closed_at < first.opened_at
    return not (ends_before or begins_after)
