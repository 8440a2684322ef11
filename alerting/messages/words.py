"""What every receiver says of an incident, whatever its markup: topics, states, lists. Nothing is escaped."""

from __future__ import annotations

from collections.abc import Iterator

from alerting.alert import ChangeKind, State
from alerting.finding import SHOWN_EXAMPLES, Finding, Kind
from alerting.notice import Notice
from alerting.summary import subject
from schemas.attribution import Attribution, PartKind

SHOWN_MEMBERS = 10

STATES = {
    State.PENDING: "Pending",
    State.FIRING: "Firing",
    State.ACKNOWLEDGED: "Acknowledged",
    State.RESOLVED: "Resolved",
    State.RETRACTED: "Retracted, no alarm after all",
}
TOPICS = {
    Kind.DRIFT: "drift in {column}",
    Kind.NO_DATA: "no data",
    Kind.PERFORMANCE: "performance, {column}",
    Kind.SLO: "objective missed, {column}",
    Kind.ROLLBACK: "going back recommended, {column}",
    Kind.FAIRNESS: "fairness, {column}",
    Kind.QUALITY: "data quality, {column}",
    Kind.PARTITION_STOPPED: "a partition was stopped",
}
_CHANGES = {
    ChangeKind.PENDING: "Pending",
    ChangeKind.REMINDED: "Still open",
    ChangeKind.ESCALATED: "Escalated",
    ChangeKind.COMMENTED: "Comment",
    ChangeKind.SILENCED: "Silenced",
    ChangeKind.RETRAINING: "Retraining",
    ChangeKind.OPENED: "Opened",
    ChangeKind.UPDATED: "Update",
    ChangeKind.ACKNOWLEDGED: "Acknowledged",
    ChangeKind.RESOLVED: "Resolved",
    ChangeKind.RETRACTED: "Retracted",
}


def topic(kind: Kind, column: str) -> str:
    """Say what an alert is about.

    Examples
    --------
    >>> topic(Kind.DRIFT, "temp"), topic(Kind.QUALITY, "")
    ('drift in temp', 'data quality, several columns')
    """
    return TOPICS[kind].format(column=column or "several columns")


def about(notice: Notice) -> str:
    """Name the model and the topic of an incident."""
    alert = notice.alert
    return f"{subject(alert.model, alert.version)}, {topic(alert.kind, alert.column)}"


def reply_of(notice: Notice) -> str:
    """Say what changed, who did it, and why."""
    change = notice.change
    by = "" if change.actor == "driftline" else f" by {change.actor}"
    return f"{_CHANGES[change.kind]}{by}: {change.cause}"


def lead_by_column(notice: Notice) -> list[Finding]:
    """Choose one finding for each column, the strongest."""
    by_column: dict[str, Finding] = {}
    for finding in notice.alert.findings:
        by_column.setdefault(finding.column, finding)
    return list(by_column.values())


def reasons(found: Attribution) -> tuple[str, list[str]]:
    """Say how the predictions changed, and list the parts of that change."""
    lines = []
    for part in found.parts:
        name = part.name if part.kind is not PartKind.ROWS else f"rows {part.name}"
        lines.append(f"{name}: {part.part:+.2g} ({part.low:+.2g} to {part.high:+.2g}), {part.words}")
    return f"{found.outcome}: {found.reference_mean:.3g} → {found.mean:.3g}. What goes with it, alone:", lines


def members(notice: Notice) -> list[str]:
    """List the alerts of an incident that has several, the first few, each with its state."""
    if notice.members_total < 2:
        return []
    return [
        f"{subject(member.model, member.version)}, {topic(member.kind, member.column)}: {member.state}"
        for member in notice.members[:SHOWN_MEMBERS]
    ]


def examples(notice: Notice) -> Iterator[str]:
    """List events that broke rules, the first few."""
    words = (example.words for finding in notice.alert.leading for example in finding.examples)
    for _, text in zip(range(SHOWN_EXAMPLES), words, strict=False):
        yield text
