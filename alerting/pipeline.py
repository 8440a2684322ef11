"""From a change of an incident to messages: the policy, a list of stages in the order in which they decide.

=========  =====================================================================================
match      is there anybody to be told: a pending incident concerns nobody
route      who: the receivers of every matching route, and whoever was told before
inhibit    not while a larger trouble of the same model is open
silence    not while people, maintenance or a deployment say so
wait       the first message waits a moment for more of the same incident
quieten    not in the quiet hours of a route: later
=========  =====================================================================================

What comes out is delivered within the limits of each receiver, see `alerting.limit`. Alerts are grouped into
incidents before, see `alerting.incidents.incident`. Stages read no clock and no database: all they know is in
`Surroundings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alerting.alert import OPEN_STATES, Alert, Change, ChangeKind, State
from alerting.incidents.incident import Incident
from alerting.notice import encode, notice_of
from alerting.outbox import OutboxRow, row_id
from alerting.policy import Grouping, Inhibition, Route
from alerting.record import HeldBy, Record
from alerting.silences import Silence, silenced_by
from alerting.summary import subject

LOOK_AGAIN_MS = 60_000
ENDS = frozenset({ChangeKind.RESOLVED, ChangeKind.RETRACTED})
TO_THOSE_WHO_KNOW = frozenset(
    {ChangeKind.ACKNOWLEDGED, ChangeKind.COMMENTED, ChangeKind.SILENCED, ChangeKind.RETRAINING}
)
FINISHED = frozenset({State.RESOLVED, State.RETRACTED})


@dataclass(frozen=True)
class Surroundings:
    """Everything that stages know beside the incident.

    Parameters
    ----------
    now_ms : int
        Wall clock; in backtests, event time.
    routes : sequence of Route
    grouping : Grouping
    inhibitions : sequence of Inhibition
    silences : sequence of Silence
        Those that may be active.
    open_alerts : sequence of Alert
        Of the models of the incident.
    owners : mapping of str to str
        Of models.
    targets : frozenset of str
        Receivers that start runs rather than read messages.
    console_url : str
        For links; empty for messages without.
    """

    now_ms: int
    routes: Sequence[Route] = ()
    grouping: Grouping = field(default_factory=Grouping)
    inhibitions: Sequence[Inhibition] = ()
    silences: Sequence[Silence] = ()
    open_alerts: Sequence[Alert] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    targets: frozenset[str] = frozenset()
    console_url: str = ""


@dataclass(frozen=True)
class Addressee:
    """A receiver, and when it may be told at the earliest."""

    receiver: str
    not_before_ms: int


@dataclass(frozen=True)
class Passage:
    """A change of an incident on its way through the stages.

    Parameters
    ----------
    incident : Incident
    alerts : tuple of Alert
        The incident's.
    change : Change
    record : Record
        What is remembered of the incident, as it will be stored.
    to : tuple of Addressee
        Who is told.
    targets : tuple of str
        Retraining targets that routes name.
    """

    incident: Incident
    alerts: tuple[Alert, ...]
    change: Change
    record: Record
    to: tuple[Addressee, ...] = ()
    targets: tuple[str, ...] = ()

    def held(self, by: HeldBy, why: str, until_ms: int) -> Passage:
        """Tell nobody now, but look again; ends and what people say still reach those who know of it."""
        told = tuple(one for one in self.to if one.receiver in self.record.told)
        if self.change.kind in ENDS:
            return replace(self, to=told)
        record = replace(self.record, held=why, held_until_ms=until_ms, held_by=by)
        to = told if self.change.kind in TO_THOSE_WHO_KNOW else ()
        return replace(self, to=to, targets=(), record=record)


def match(passage: Passage, around: Surroundings) -> Passage | None:
    """Drop what never fired."""
    return passage if passage.incident.whole.has_fired else None


def route(passage: Passage, around: Surroundings) -> Passage | None:
    """Name the receivers: of every matching route, each once, and whoever was told before."""
    named = [*receivers_of(passage.alerts, around), *passage.record.escalated, *passage.record.told]
    to = [name for name in dict.fromkeys(named) if name not in around.targets]
    if passage.change.kind in ENDS | TO_THOSE_WHO_KNOW or passage.incident.state in FINISHED:
        to = [name for name in to if name in passage.record.told]
    addressees = tuple(Addressee(name, around.now_ms) for name in to)
    targets = tuple(name for name in dict.fromkeys(named) if name in around.targets)
    return replace(passage, to=addressees, targets=targets)


def inhibit(passage: Passage, around: Surroundings) -> Passage | None:
    """Hold back what a larger trouble of the same model explains."""
    own = {alert.id for alert in passage.alerts}
    concerned = [alert for alert in passage.alerts if alert.state in OPEN_STATES]
    others = [alert for alert in around.open_alerts if alert.id not in own and alert.has_fired]
    for rule in around.inhibitions:
        by = [_larger(rule, alert, others, around) for alert in concerned]
        if by and (larger := by[0]) is not None and None not in by:
            why = f"held back while {subject(larger.model, larger.version)} has an open alert ({larger.kind})"
            return passage.held(HeldBy.INHIBITION, why, around.now_ms + LOOK_AGAIN_MS)
    return passage


def _larger(rule: Inhibition, alert: Alert, others: Sequence[Alert], around: Surroundings) -> Alert | None:
    """Find the open alert of the same model that explains an alert, by one rule."""
    if not rule.of.agrees_with(alert, _owner(alert, around)):
        return None
    same = (other for other in others if other.model == alert.model)
    return next((other for other in same if rule.by.agrees_with(other, _owner(other, around))), None)


def silence(passage: Passage, around: Surroundings) -> Passage | None:
    """Hold back what people, maintenance or a deployment have silenced."""
    found = silenced_by(around.silences, passage.incident.id, passage.alerts, around.owners, around.now_ms)
    if not found:
        return passage
    return passage.held(HeldBy.SILENCE, found[0].words, min(one.until_ms for one in found))


def wait(passage: Passage, around: Surroundings) -> Passage | None:
    """Let the first message to a receiver wait for more of the same incident, and the next ones with it."""
    at_ms = around.now_ms + around.grouping.wait_ms
    waits = passage.record.waits_until_ms
    to = []
    for one in passage.to:
        until_ms = waits.get(one.receiver, 0) if one.receiver in passage.record.told else at_ms
        to.append(replace(one, not_before_ms=max(one.not_before_ms, until_ms)))
    return replace(passage, to=tuple(to))


def quieten(passage: Passage, around: Surroundings) -> Passage | None:
    """Let messages wait until the quiet hours of their routes are over; the earliest route counts."""
    rules = _matching(passage, around)
    to = []
    for one in passage.to:
        at_ms = one.not_before_ms
        quiet = [rule.quiet for rule in rules if one.receiver in rule.to]
        ends = [at_ms if hours is None else hours.end_ms(at_ms) for hours in quiet]
        to.append(replace(one, not_before_ms=min(ends, default=at_ms)))
    return replace(passage, to=tuple(to))


Stage = Callable[[Passage, Surroundings], Passage | None]
STAGES: tuple[Stage, ...] = (match, route, inhibit, silence, wait, quieten)


def pass_through(passage: Passage, around: Surroundings, stages: Iterable[Stage] = STAGES) -> Passage:
    """Let every stage decide, and remember who is told.

    Returns
    -------
    Passage
        Nobody is told and no target is named where a stage dropped it.
    """
    at = replace(passage, record=passage.record.let_go())
    for stage in stages:
        after = stage(at, around)
        if after is None:
            return replace(at, to=(), targets=())
        at = after
    return replace(at, record=_remembered(at, around.now_ms))


def outbox_rows(passage: Passage, console_url: str = "") -> list[OutboxRow]:
    """Write one message for every receiver.

    Returns
    -------
    list of OutboxRow
        With deterministic identities: the same change always gives the same rows.
    """
    rows = []
    for one in passage.to:
        id_ = row_id(passage.incident.id, passage.change.sequence, one.receiver)
        payload = encode(notice_of(id_, passage.change, passage.incident, console_url))
        rows.append(
            OutboxRow(
                id_, passage.incident.id, passage.change.sequence, one.receiver, payload, one.not_before_ms
            )
        )
    return rows


def receivers_of(alerts: Sequence[Alert], around: Surroundings) -> list[str]:
    """Name the receivers of an incident: those of every route that matches an alert, each once, in order."""
    named = [name for rule in around.routes if _agrees(rule, alerts, around) for name in rule.to]
    return list(dict.fromkeys(named))


def next_look_ms(passage: Passage, around: Surroundings) -> int | None:
    """Say when something is due although nothing happens: the end of a silence, a reminder, an escalation.

    Returns
    -------
    int or None
        Wall clock, epoch milliseconds; None if nothing is.
    """
    record, state = passage.record, passage.incident.state
    if state in FINISHED:
        return None
    if record.held:
        return record.held_until_ms
    if state is not State.FIRING or not record.fired_at_ms:
        return None
    due = [at_ms for rule in _matching(passage, around) for at_ms in _due_of(rule, record)]
    return min(due, default=None)


def reminders(passage: Passage, around: Surroundings) -> tuple[ChangeKind, list[str]] | None:
    """Say what is due now of an incident that fires and that nobody has acknowledged.

    Returns
    -------
    (ChangeKind, list of str) or None
        ``ESCALATED`` and who is told in addition, or ``REMINDED`` and nobody new.
    """
    record, now_ms = passage.record, around.now_ms
    if passage.incident.state is not State.FIRING or not record.fired_at_ms:
        return None
    rules = _matching(passage, around)
    due = [
        name
        for rule in rules
        if rule.escalate is not None and record.fired_at_ms + rule.escalate.after_ms <= now_ms
        for name in rule.escalate.to
        if name not in record.escalated
    ]
    if due:
        return ChangeKind.ESCALATED, list(dict.fromkeys(due))
    repeats = [rule.repeat_ms for rule in rules if rule.repeat_ms is not None]
    if record.told_at_ms and repeats and record.told_at_ms + min(repeats) <= now_ms:
        return ChangeKind.REMINDED, []
    return None


def _due_of(rule: Route, record: Record) -> list[int]:
    due = []
    if rule.escalate is not None and not set(rule.escalate.to) <= set(record.escalated):
        due.append(record.fired_at_ms + rule.escalate.after_ms)
    if rule.repeat_ms is not None and record.told_at_ms:
        due.append(record.told_at_ms + rule.repeat_ms)
    return due


def _matching(passage: Passage, around: Surroundings) -> list[Route]:
    return [rule for rule in around.routes if _agrees(rule, passage.alerts, around)]


def _agrees(rule: Route, alerts: Sequence[Alert], around: Surroundings) -> bool:
    return any(rule.match.agrees_with(alert, _owner(alert, around)) for alert in alerts if alert.has_fired)


def _owner(alert: Alert, around: Surroundings) -> str:
    return around.owners.get(alert.model, "")


def _remembered(passage: Passage, now_ms: int) -> Record:
    record, state = passage.record, passage.incident.state
    if passage.to:
        first = {one.receiver: one.not_before_ms for one in passage.to if one.receiver not in record.told}
        waits = {name: at_ms for name, at_ms in (record.waits_until_ms | first).items() if at_ms > now_ms}
        told = record.told | {one.receiver: passage.change.sequence for one in passage.to}
        told_at_ms = min(one.not_before_ms for one in passage.to)
        record = replace(record, told=told, told_at_ms=told_at_ms, waits_until_ms=waits)
    if state is not State.FIRING:  # somebody has seen it, or it is over: patience begins anew
        record = replace(record, fired_at_ms=0, escalated=())
    elif not record.fired_at_ms:
        record = replace(record, fired_at_ms=now_ms)
    if state in FINISHED:
        record = record.let_go()
    return record
