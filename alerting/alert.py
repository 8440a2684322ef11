"""The life of an incident: a pure state machine over judged windows and the decisions of people.

::

    (none) ──finding──► pending ──it lasts──► firing ──a person──► acknowledged
                          │                     │  ▲                    │
                          │                     │  └─ severity rises ───┤
                          └──────────────┬──────┴───────────────────────┘
                    clean windows or a person │ a revision takes the last finding back
                                         ▼         ▼
                                     resolved ──► retracted

One open alert per model, version and kind; alerts with one cause are one incident, see
`alerting.incidents.incident`. A policy that asks for one window (the default) lets alerts fire at once.
Nothing here reads a clock, a database or a configuration file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from alerting.finding import Finding, Kind, Severity, WindowObservation
from alerting.policy import AlertPolicy
from alerting.summary import summarise, where
from schemas.errors import UsageError
from schemas.verdict import Lane, Stream

SERVICE = "driftline"
T = TypeVar("T")


class State(StrEnum):
    """Where an alert is in its life."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    RETRACTED = "retracted"


OPEN_STATES = (State.PENDING, State.FIRING, State.ACKNOWLEDGED)


class ChangeKind(StrEnum):
    """What happened to an alert, or to the incident that it belongs to.

    The last five happen to incidents alone: nobody did anything for a while, somebody said something.
    """

    PENDING = "pending"
    OPENED = "opened"
    UPDATED = "updated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    RETRACTED = "retracted"
    REMINDED = "reminded"
    ESCALATED = "escalated"
    COMMENTED = "commented"
    SILENCED = "silenced"
    RETRAINING = "retraining"


@dataclass(frozen=True)
class Effect:
    """Effect size of the finding that matters most."""

    psi: float | None = None
    psi_low: float | None = None
    psi_high: float | None = None


@dataclass(frozen=True)
class JudgedWindow:
    """Whether one of the latest windows was clean."""

    start: datetime
    end: datetime
    clean: bool


@dataclass(frozen=True)
class Change:
    """One step in the life of an alert or an incident.

    Parameters
    ----------
    kind : ChangeKind
        What happened.
    sequence : int
        1 for the first change of an alert, then counted up.
    cause : str
        Why, in plain words.
    actor : str
        Who: ``driftline`` or the name of a person.
    at : datetime
        Event time for what the service does, wall time for what people do.
    """

    kind: ChangeKind
    sequence: int
    cause: str
    actor: str
    at: datetime


@dataclass(frozen=True)
class Alert:
    """An incident as it is now.

    The fields up to `findings` are those of the HTTP API. `findings` holds one entry per stream and
    supporting window, the one that matters most first. `recent` are the latest windows, `lanes` and
    `severities` everything the alert ever was (for routing), `forgotten` the number of findings that were
    dropped for space, `supported` the number of windows with findings (those that were taken back do not
    count), and `has_fired` whether it was ever
    more than pending.

    Guarantees
    ----------
    Memory is bounded: at most ``policy.max_findings`` findings and ``policy.clean_windows`` windows.
    """

    id: str
    model: str
    version: str
    kind: Kind
    lane: Lane
    severity: Severity
    column: str
    segment: str
    state: State
    opened_at: datetime
    closed_at: datetime | None
    window_start: datetime
    window_end: datetime
    onset_at: datetime | None
    evidence_log: float | None
    threshold_log: float | None
    effect: Effect
    summary: str
    sequence: int
    findings: tuple[Finding, ...]
    recent: tuple[JudgedWindow, ...]
    lanes: tuple[Lane, ...]
    severities: tuple[Severity, ...]
    forgotten: int = 0
    supported: int = 1
    has_fired: bool = True

    @property
    def is_open(self) -> bool:
        """Whether the incident goes on."""
        return self.state in OPEN_STATES

    @property
    def clean_windows(self) -> int:
        """Clean windows in a row, up to the latest one."""
        count = 0
        for window in reversed(self.recent):
            if not window.clean:
                break
            count += 1
        return count

    @property
    def columns(self) -> frozenset[str]:
        """Columns that are drifting."""
        return frozenset(finding.column for finding in self.findings)

    @property
    def windows(self) -> frozenset[datetime]:
        """Starts of the windows whose findings are remembered."""
        return frozenset(finding.window_start for finding in self.findings)

    @property
    def leading(self) -> tuple[Finding, ...]:
        """One finding per stream, the one that matters most first."""
        first: dict[Stream, Finding] = {}
        for finding in self.findings:
            first.setdefault(finding.stream, finding)
        return tuple(first.values())


def alert_id(observation: WindowObservation) -> str:
    """Identity of the alert that a window opens: the same window gives the same one after any restart."""
    parts = (
        observation.model,
        observation.version,
        observation.kind,
        str(observation.start_ms),
        observation.reference_hash,
    )
    # Lengths keep ("a", "bc") and ("ab", "c") apart.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def step(
    alert: Alert | None, observation: WindowObservation, policy: AlertPolicy
) -> tuple[Alert | None, list[Change]]:
    """Take in one judgement of one window.

    Parameters
    ----------
    alert : Alert or None
        The incident so far. For a first judgement: the open one. For a revision: the open one, or the closed
        one that the window belonged to.
    observation : WindowObservation
        What the window says. Windows may come in any order.
    policy : AlertPolicy
        Severities, number of clean windows, limits.

    Returns
    -------
    alert : Alert or None
        As it is now; must be stored even without a change, since support and clean windows are part of it.
    changes : list of Change
        None or one.

    Guarantees
    ----------
    A revision never opens an alert, adds a finding or makes it more severe. An alert is retracted exactly
    when revisions have taken back every finding of every window that supported it (unless some had to be
    forgotten for space).
    """
    if observation.is_revision:
        return (None, []) if alert is None else _revise(alert, observation, policy)
    if alert is None or not alert.is_open:
        return _open(observation, policy) if observation.findings else (alert, [])
    return _continue(alert, observation, policy)


def acknowledge(alert: Alert, actor: str, at: datetime, cause: str = "") -> tuple[Alert, list[Change]]:
    """Record that a person has seen the incident; doing it twice changes nothing.

    Raises
    ------
    UsageError
        If the alert is over, or has not fired.
    """
    _require_open(alert)
    if alert.state is State.ACKNOWLEDGED:
        return alert, []
    if alert.state is State.PENDING:
        msg = f"alert {alert.id} is pending: it has not fired, and nobody was told of it"
        raise UsageError(msg)
    return _changed(
        replace(alert, state=State.ACKNOWLEDGED), ChangeKind.ACKNOWLEDGED, cause or "seen", at, actor
    )


def resolve(alert: Alert, actor: str, at: datetime, cause: str = "") -> tuple[Alert, list[Change]]:
    """Record that a person has declared the incident over. The next window with a finding opens a new one.

    Raises
    ------
    UsageError
        If the incident is over already.
    """
    _require_open(alert)
    closed = replace(alert, state=State.RESOLVED, closed_at=at)
    return _changed(closed, ChangeKind.RESOLVED, cause or "declared over", at, actor)


def _require_open(alert: Alert) -> None:
    if not alert.is_open:
        msg = f"alert {alert.id} is {alert.state} already (only open alerts can change)"
        raise UsageError(msg)


def _open(observation: WindowObservation, policy: AlertPolicy) -> tuple[Alert, list[Change]]:
    findings = _graded(observation, policy)
    lead = findings[0]
    fires = policy.min_windows <= 1
    alert = Alert(
        id=alert_id(observation),
        model=observation.model,
        version=observation.version,
        kind=observation.kind,
        lane=lead.lane,
        severity=lead.severity,
        column=lead.column,
        segment=lead.segment,
        state=State.FIRING if fires else State.PENDING,
        opened_at=observation.end_at,
        closed_at=None,
        window_start=observation.start_at,
        window_end=observation.end_at,
        onset_at=lead.onset_at,
        evidence_log=lead.evidence_log,
        threshold_log=lead.threshold_log,
        effect=Effect(lead.psi, lead.psi_low, lead.psi_high),
        summary="",
        sequence=0,
        findings=(),
        recent=(),
        lanes=(),
        severities=(),
        has_fired=fires,
    )
    alert = _remember(_supported(alert, findings, policy), observation, policy)
    if fires:
        return _changed(alert, ChangeKind.OPENED, alert.summary, observation.end_at)
    cause = f"waits for {policy.min_windows - 1} more windows of the same: {alert.summary}"
    return _changed(alert, ChangeKind.PENDING, cause, observation.end_at)


def _continue(
    alert: Alert, observation: WindowObservation, policy: AlertPolicy
) -> tuple[Alert, list[Change]]:
    kept = tuple(finding for finding in alert.findings if finding.window_start != observation.start_at)
    after = _supported(alert, kept + _graded(observation, policy), policy)
    after = _remember(after, observation, policy)
    if observation.findings and observation.start_at not in alert.windows:
        after = replace(after, supported=alert.supported + 1)
    if alert.state is State.PENDING:
        return _fired_or_dropped(after, observation, policy)
    added = sorted(after.columns - alert.columns)
    if after.severity.rank > alert.severity.rank:
        cause = f"severity rose from {alert.severity} to {after.severity}: {where(after.findings[0])}"
        return _changed(replace(after, state=State.FIRING), ChangeKind.UPDATED, cause, observation.end_at)
    if added:
        return _changed(after, ChangeKind.UPDATED, f"also {_names(added)}", observation.end_at)
    return _resolved_if_clean(after, policy)


def _fired_or_dropped(
    alert: Alert, observation: WindowObservation, policy: AlertPolicy
) -> tuple[Alert, list[Change]]:
    """Let a pending alert fire once it has lasted, and end with the first clean window before that."""
    if alert.supported >= policy.min_windows:
        fired = replace(alert, state=State.FIRING, has_fired=True, opened_at=observation.end_at)
        return _changed(fired, ChangeKind.OPENED, alert.summary, observation.end_at)
    return _dropped_if_clean(alert, observation, policy)


def _dropped_if_clean(
    alert: Alert, observation: WindowObservation, policy: AlertPolicy
) -> tuple[Alert, list[Change]]:
    if alert.clean_windows == 0:
        return alert, []
    over = replace(alert, state=State.RESOLVED, closed_at=observation.end_at)
    cause = f"did not last: {alert.supported} of {policy.min_windows} windows"
    return _changed(over, ChangeKind.RESOLVED, cause, observation.end_at)


def _revise(alert: Alert, observation: WindowObservation, policy: AlertPolicy) -> tuple[Alert, list[Change]]:
    """Refresh what the window still supports and drop what it no longer does."""
    if alert.state is State.RETRACTED:
        return alert, []
    again = {_source(finding): finding for finding in _graded(observation, policy)}
    kept: list[Finding] = []
    for finding in alert.findings:
        if finding.window_start != observation.start_at:
            kept.append(finding)
        elif (renewed := again.get(_source(finding))) is not None:
            kept.append(replace(renewed, onset_at=finding.onset_at))
    if alert.findings and not kept and not alert.forgotten:
        return _retracted(alert, observation)
    after = _supported(alert, tuple(kept), policy) if kept else replace(alert, findings=())
    if observation.start_at in alert.windows - {finding.window_start for finding in kept}:
        after = replace(after, supported=max(0, alert.supported - 1))
    if not alert.is_open:
        return after, []
    after = _remember(after, observation, policy)
    if alert.state is State.PENDING:
        return _dropped_if_clean(after, observation, policy)
    return _resolved_if_clean(after, policy)


def _source(finding: Finding) -> tuple[object, ...]:
    return finding.stream, finding.lane


def _retracted(alert: Alert, observation: WindowObservation) -> tuple[Alert, list[Change]]:
    ends = [window.end for window in alert.recent]
    at = max([observation.end_at, alert.opened_at, *ends])
    after = replace(alert, state=State.RETRACTED, closed_at=alert.closed_at or at)
    cause = "late events changed the window: the revised figures no longer support this alert"
    return _changed(after, ChangeKind.RETRACTED, cause, at)


def _resolved_if_clean(alert: Alert, policy: AlertPolicy) -> tuple[Alert, list[Change]]:
    if alert.clean_windows < policy.clean_windows:
        return alert, []
    at = alert.recent[-1].end
    count = policy.clean_windows
    cause = f"{count} clean window{'s' if count > 1 else ''} in a row"
    return _changed(replace(alert, state=State.RESOLVED, closed_at=at), ChangeKind.RESOLVED, cause, at)


def _changed(
    alert: Alert, kind: ChangeKind, cause: str, at: datetime, actor: str = SERVICE
) -> tuple[Alert, list[Change]]:
    sequence = alert.sequence + 1
    return replace(alert, sequence=sequence), [Change(kind, sequence, cause, actor, at)]


def _graded(observation: WindowObservation, policy: AlertPolicy) -> tuple[Finding, ...]:
    """Give every finding its severity and order them by what matters most."""
    graded = [
        replace(finding, severity=finding.fixed_severity or policy.severity(observation.kind, finding.lane))
        for finding in observation.findings
    ]
    return tuple(sorted(graded, key=lambda finding: finding.rank))


def _supported(alert: Alert, findings: tuple[Finding, ...], policy: AlertPolicy) -> Alert:
    """Let the finding that matters most speak for the alert; severity never falls."""
    ordered = sorted(findings, key=lambda finding: finding.rank)
    kept = tuple(_within_limit(ordered, policy.max_findings))
    if not kept:  # those that were left were forgotten for space
        return replace(alert, findings=())
    lead = kept[0]
    return replace(
        alert,
        findings=kept,
        forgotten=alert.forgotten + len(ordered) - len(kept),
        lane=lead.lane,
        severity=max(alert.severity, lead.severity, key=lambda severity: severity.rank),
        column=lead.column,
        segment=lead.segment,
        onset_at=min((finding.onset_at for finding in kept if finding.onset_at), default=None),
        evidence_log=lead.evidence_log,
        threshold_log=lead.threshold_log,
        effect=Effect(lead.psi, lead.psi_low, lead.psi_high),
        summary=summarise(alert.kind, alert.model, alert.version, kept),
        lanes=_union(alert.lanes, [finding.lane for finding in kept]),
        severities=_union(alert.severities, [finding.severity for finding in kept]),
    )


def _within_limit(ordered: list[Finding], limit: int) -> list[Finding]:
    """Keep each column's strongest finding, then each stream's, then what else there is room for."""
    if len(ordered) <= limit:
        return ordered
    columns: set[str] = set()
    streams: set[Stream] = set()
    tiers: tuple[list[Finding], ...] = ([], [], [])
    for finding in ordered:
        tiers[(finding.column in columns) + (finding.stream in streams)].append(finding)
        columns.add(finding.column)
        streams.add(finding.stream)
    return sorted((tiers[0] + tiers[1] + tiers[2])[:limit], key=lambda finding: finding.rank)


def _remember(alert: Alert, observation: WindowObservation, policy: AlertPolicy) -> Alert:
    """Note whether the window was clean for this incident; a revision only corrects what is remembered."""
    streams = {finding.stream for finding in alert.findings}
    clean = not observation.findings and streams.isdisjoint(observation.unsettled)
    windows = {window.start: window for window in alert.recent}
    if observation.is_revision and observation.start_at not in windows:
        return alert
    windows[observation.start_at] = JudgedWindow(observation.start_at, observation.end_at, clean)
    latest = sorted(windows.values(), key=lambda window: window.start)[-policy.clean_windows :]
    return replace(alert, recent=tuple(latest))


def _union(had: tuple[T, ...], has: list[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys([*had, *has]))


def _names(columns: list[str], shown: int = 5) -> str:
    more = f" and {len(columns) - shown} more" if len(columns) > shown else ""
    return ", ".join(columns[:shown]) + more
