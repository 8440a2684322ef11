"""An incident: alerts with one cause, shown to people as one thing that develops.

Alerts of a model that start together are one incident, whatever they are about (data quality, drift,
performance), and so are alerts of several models on the same column at the same time. An incident has no life
of its own: its state follows from its alerts. Nothing here reads a clock, a database or a configuration file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from alerting.alert import OPEN_STATES, Alert, Change, ChangeKind, JudgedWindow, State
from alerting.finding import Finding, Kind, Severity
from alerting.incidents.impact import Impact
from alerting.incidents.root_cause import Cause, rank_causes
from alerting.policy import Grouping
from alerting.summary import subject, summarise_several
from schemas.column import is_input
from schemas.verdict import Lane

T = TypeVar("T")
MOST_FINDINGS = 1_000
MOST_WINDOWS = 100
STATE_ORDER = (State.FIRING, State.ACKNOWLEDGED, State.PENDING, State.RESOLVED, State.RETRACTED)
UPSTREAM_KINDS = frozenset({Kind.DRIFT, Kind.QUALITY})
_OF_STATE = {
    State.FIRING: ChangeKind.OPENED,
    State.ACKNOWLEDGED: ChangeKind.ACKNOWLEDGED,
    State.PENDING: ChangeKind.PENDING,
    State.RESOLVED: ChangeKind.RESOLVED,
    State.RETRACTED: ChangeKind.RETRACTED,
}


@dataclass(frozen=True)
class Member:
    """One alert of an incident, in short."""

    id: str
    model: str
    version: str
    kind: Kind
    lane: Lane
    severity: Severity
    state: State
    column: str
    segment: str
    opened_at: datetime
    closed_at: datetime | None
    summary: str


@dataclass(frozen=True)
class Proposal:
    """A run of training that waits for a person's approval.

    Parameters
    ----------
    id : str
        Of the request.
    receiver : str
        Who would start it.
    model : str
        Which model would be trained.
    """

    id: str
    receiver: str
    model: str


@dataclass(frozen=True)
class Incident:
    """What people see of alerts with one cause.

    Parameters
    ----------
    whole : Alert
        All alerts as if they were one: its id is the incident's, its findings are those of all alerts, the
        alert that matters most gives the kind, the model and the effect. `sequence` counts the changes of the
        incident.
    members : tuple of Member
        The alerts, the one that matters most first.
    causes : tuple of Cause
        What may be behind it, the likeliest first.
    impact : Impact or None
        What it costs, where performance is known or estimated.
    proposals : tuple of Proposal
        Runs of training that wait for approval.
    """

    whole: Alert
    members: tuple[Member, ...]
    causes: tuple[Cause, ...] = ()
    impact: Impact | None = None
    proposals: tuple[Proposal, ...] = ()

    @property
    def id(self) -> str:
        """Identity: that of the alert which opened the incident."""
        return self.whole.id

    @property
    def state(self) -> State:
        """The most urgent state of an alert."""
        return self.whole.state

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, that of the alert that matters most first."""
        return tuple(dict.fromkeys(member.model for member in self.members))

    @property
    def segments(self) -> tuple[str, ...]:
        """Segments that findings name."""
        named = (finding.segment for finding in self.whole.findings if finding.segment)
        return tuple(dict.fromkeys(named))


def gather(id_: str, sequence: int, alerts: Sequence[Alert], impact: Impact | None = None) -> Incident:
    """Put the alerts of an incident together.

    Parameters
    ----------
    id_ : str
        Of the incident.
    sequence : int
        Number of its changes.
    alerts : sequence of Alert
        At least one, in any order.
    impact : Impact, optional
        What it costs.

    Examples
    --------
    >>> from alerting.alert import step
    >>> from alerting.policy import AlertPolicy
    >>> from alerting.finding import WindowObservation, instant
    >>> found = Finding("age", "", Lane.FEATURES, "e-detector", instant(0), instant(1), psi=0.4)
    >>> alert, _ = step(None, WindowObservation("churn", "3", 0, 1, findings=(found,)), AlertPolicy())
    >>> incident = gather(alert.id, 1, [alert])
    >>> incident.state, incident.models, incident.id == alert.id
    (<State.FIRING: 'firing'>, ('churn',), True)
    """
    ordered = sorted(alerts, key=_urgency)
    lead, speaking = ordered[0], _speaking(ordered)
    findings = _merged_findings(speaking)
    closed = [alert.closed_at for alert in ordered if alert.closed_at is not None]
    onsets = [alert.onset_at for alert in speaking if alert.onset_at is not None]
    state = min((alert.state for alert in ordered), key=STATE_ORDER.index)
    is_over = state in (State.RESOLVED, State.RETRACTED)
    whole = replace(
        lead,
        id=id_,
        state=state,
        severity=max((alert.severity for alert in speaking), key=lambda severity: severity.rank),
        opened_at=min(alert.opened_at for alert in speaking),
        closed_at=max(closed, default=None) if is_over else None,
        window_start=min(alert.window_start for alert in speaking),
        window_end=min(alert.window_end for alert in speaking),
        onset_at=min(onsets, default=None),
        sequence=sequence,
        findings=findings,
        recent=_merged_windows(speaking),
        lanes=_union(alert.lanes for alert in ordered),
        severities=_union(alert.severities for alert in ordered),
        forgotten=sum(alert.forgotten for alert in speaking),
        has_fired=any(alert.has_fired for alert in ordered),
        summary=_summary(speaking),
    )
    members = tuple(_member(alert) for alert in ordered)
    return Incident(whole, members, rank_causes(speaking), impact)


def inputs_of(alert: Alert) -> frozenset[str]:
    """Columns that the model is fed with and that have changed; none where that is not what it is about."""
    if alert.kind not in UPSTREAM_KINDS:
        return frozenset()
    return frozenset(finding.column for finding in alert.findings if is_input(finding.column))


def change_of(before: Incident | None, after: Incident, change: Change) -> Change:
    """Say what a change of one alert is to its incident.

    Parameters
    ----------
    before : Incident or None
        None if the alert opened it.
    after : Incident
        With its `sequence` counted up.
    change : Change
        Of the alert.

    Returns
    -------
    Change
        The end of one of several alerts is an update; the incident is over with the last one.
    """
    kind, cause = _kind(before, after), change.cause
    if kind is ChangeKind.UPDATED and change.kind in (ChangeKind.RESOLVED, ChangeKind.RETRACTED):
        cause = f"{_ended(before, after)} is over: {cause}"
    return replace(change, kind=kind, cause=cause, sequence=after.whole.sequence)


def belongs(alert: Alert, others: Iterable[Alert], grouping: Grouping) -> bool:
    """Say whether an alert has the same cause as the alerts of an incident.

    Parameters
    ----------
    alert : Alert
        The new one.
    others : iterable of Alert
        Those of the incident.
    grouping : Grouping
        How far apart what starts together may start, and whether alerts of several models can be one
        incident: on the same column, for data quality and drift.

    Notes
    -----
    An alert starts with its first window, or where the change was located: either may agree.
    """
    together = (other for other in others if _start_together(alert, other, grouping))
    return any(
        alert.model == other.model or (grouping.across_models and _same_upstream(alert, other))
        for other in together
    )


def _kind(before: Incident | None, after: Incident) -> ChangeKind:
    if before is None or not before.whole.has_fired:
        return _OF_STATE[after.state]
    # Whoever knows of it is not told that it is pending because an alert that joined it is.
    if after.state in (before.state, State.FIRING, State.PENDING):
        return ChangeKind.UPDATED
    return _OF_STATE[after.state]


def _start_together(alert: Alert, other: Alert, grouping: Grouping) -> bool:
    lengths = (alert.window_end - alert.window_start, other.window_end - other.window_start)
    own = 2 * max(lengths)
    within = own if grouping.within_ms is None else timedelta(milliseconds=grouping.within_ms)
    return min(abs(first - second) for first in _starts(alert) for second in _starts(other)) <= within


def _ended(before: Incident | None, after: Incident) -> str:
    """Name the alerts that a change has ended."""
    was_open = {member.id for member in before.members if member.state in OPEN_STATES} if before else set()
    ended = [one for one in after.members if one.id in was_open and one.state not in OPEN_STATES]
    return ", ".join(f"{one.kind} of {subject(one.model, one.version)}" for one in ended) or "one alert"


def _same_upstream(alert: Alert, other: Alert) -> bool:
    return not inputs_of(alert).isdisjoint(inputs_of(other))


def _starts(alert: Alert) -> set[datetime]:
    """Its first window, and where the change was located."""
    return {alert.window_start, alert.onset_at or alert.window_start}


def _urgency(alert: Alert) -> tuple[object, ...]:
    """Sort key: the alert that matters most first; open before closed."""
    lane = tuple(Lane).index(alert.lane)
    urgency = STATE_ORDER.index(alert.state), -alert.severity.rank, lane, alert.opened_at
    return *urgency, alert.model, alert.version, alert.kind, alert.id


def _speaking(ordered: Sequence[Alert]) -> list[Alert]:
    """Leave out what was taken back or never fired, unless there is nothing else."""
    kept = [alert for alert in ordered if alert.state is not State.RETRACTED and alert.has_fired]
    return kept or list(ordered)


def _merged_findings(alerts: Sequence[Alert]) -> tuple[Finding, ...]:
    if len(alerts) == 1:
        return alerts[0].findings
    found = [finding for alert in alerts for finding in alert.findings]
    return tuple(sorted(found, key=lambda finding: finding.rank)[:MOST_FINDINGS])


def _merged_windows(alerts: Sequence[Alert]) -> tuple[JudgedWindow, ...]:
    """A window is clean if it was for every alert that saw it."""
    if len(alerts) == 1:
        return alerts[0].recent
    windows: dict[datetime, JudgedWindow] = {}
    for alert in alerts:
        for window in alert.recent:
            known = windows.setdefault(window.start, window)
            windows[window.start] = replace(known, clean=known.clean and window.clean)
    return tuple(windows[start] for start in sorted(windows))[-MOST_WINDOWS:]


def _summary(alerts: Sequence[Alert]) -> str:
    return summarise_several([alert.summary for alert in alerts], _others(alerts))


def _others(alerts: Sequence[Alert]) -> str:
    """Name the models beside the first one."""
    lead = subject(alerts[0].model, alerts[0].version)
    names = [subject(alert.model, alert.version) for alert in alerts]
    rest = [name for name in dict.fromkeys(names) if name != lead]
    if not rest:
        return ""
    more = f" and {len(rest) - 3} more" if len(rest) > 3 else ""
    return f"{', '.join(rest[:3])}{more}"


def _union(several: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(item for one in several for item in one))


def _member(alert: Alert) -> Member:
    return Member(
        alert.id, alert.model, alert.version, alert.kind, alert.lane, alert.severity, alert.state,
        alert.column, alert.segment, alert.opened_at, alert.closed_at, alert.summary,
    )  # fmt: skip
