"""The desk where changes of alerts become changes of incidents, and those become messages.

Pure: what is remembered goes in and comes out, so that the service, backtests and tests do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alerting.alert import Alert, Change, ChangeKind
from alerting.finding import instant
from alerting.incidents.impact import Impact
from alerting.incidents.incident import Incident, change_of, gather
from alerting.pipeline import FINISHED, Passage, Surroundings, next_look_ms, pass_through, reminders
from alerting.record import HeldBy, Record
from schemas.duration import format_duration

SERVICE = "driftline"


def tell_change(
    record: Record,
    before: Sequence[Alert],
    after: Sequence[Alert],
    change: Change,
    around: Surroundings,
    impact: Impact | None = None,
) -> Passage:
    """Tell of one change of one alert of an incident.

    Parameters
    ----------
    record : Record
        What is remembered of the incident.
    before, after : sequence of Alert
        The alerts of the incident; `before` is empty if the alert opened it.
    change : Change
        Of the alert.
    around : Surroundings
    impact : Impact, optional

    Returns
    -------
    Passage
        The incident's change, its new record, and who is told.
    """
    known = gather(record.id, record.sequence, before) if before else None
    counted = record.counted_up()
    incident = gather(record.id, counted.sequence, after, impact)
    of_incident = change_of(known, incident, change)
    if known is not None and known.whole.has_fired and _is_of_pending(before, after):
        return Passage(incident, tuple(after), of_incident, counted)
    return _passed(incident, after, of_incident, counted, around)


def _is_of_pending(before: Sequence[Alert], after: Sequence[Alert]) -> bool:
    """Whether all that changed are alerts that have never fired: they concern nobody, also beside others."""
    known = {alert.id: alert for alert in before}
    return not any(alert.has_fired for alert in after if known.get(alert.id) != alert)


def tell_words(
    record: Record,
    alerts: Sequence[Alert],
    kind: ChangeKind,
    cause: str,
    actor: str,
    around: Surroundings,
    impact: Impact | None = None,
) -> Passage:
    """Tell of something that happened to the incident itself: a comment, the end of a silence, a reminder."""
    counted = record.counted_up()
    incident = gather(record.id, counted.sequence, alerts, impact)
    change = Change(kind, counted.sequence, cause, actor, instant(around.now_ms))
    return _passed(incident, alerts, change, counted, around)


@dataclass(frozen=True)
class Look:
    """What a look at the clock came to.

    Parameters
    ----------
    passage : Passage or None
        What is told; None if nothing is due, or what was held back still is.
    record : Record
        To be remembered, also where nothing is told.
    again_at_ms : int or None
        When to look again.
    """

    passage: Passage | None
    record: Record
    again_at_ms: int | None


def tell_due(
    record: Record, alerts: Sequence[Alert], around: Surroundings, impact: Impact | None = None
) -> Look:
    """Tell of what time alone has brought: what was held back, a reminder, an escalation."""
    incident = gather(record.id, record.sequence, alerts, impact)
    standing = _standing(incident, alerts, record, around)
    if incident.state in FINISHED:
        return Look(None, record, None)
    if record.held:
        return _look_at_held(record, alerts, around, impact)
    due = reminders(standing, around)
    if due is None:
        return Look(None, record, next_look_ms(standing, around))
    kind, more = due
    waited = format_duration((around.now_ms - record.fired_at_ms) // 1_000 * 1_000)
    more_told = f"; also tells {', '.join(more)}" if more else ""
    cause = f"nobody has acknowledged it for {waited}{more_told}"
    remembered = replace(record, escalated=(*record.escalated, *more))
    passage = tell_words(remembered, alerts, kind, cause, SERVICE, around, impact)
    later_ms = min((one.not_before_ms for one in passage.to), default=around.now_ms)
    if kind is ChangeKind.REMINDED and later_ms > around.now_ms:
        return Look(None, record, later_ms)  # after the quiet hours one, not one for each that passed
    return _looked(passage, around)


def _look_at_held(
    record: Record, alerts: Sequence[Alert], around: Surroundings, impact: Impact | None
) -> Look:
    """Tell of what was held back, unless it still is, by the same or by something else."""
    kind = ChangeKind.UPDATED if record.told else ChangeKind.OPENED
    cause = f"no longer {record.held}" if record.held_by is HeldBy.SILENCE else f"was {record.held}"
    passage = tell_words(record, alerts, kind, cause, SERVICE, around, impact)
    if not passage.record.held:
        return _looked(passage, around)
    still = passage.record
    kept = replace(record, held=still.held, held_until_ms=still.held_until_ms, held_by=still.held_by)
    return Look(None, kept, still.held_until_ms)


def _looked(passage: Passage, around: Surroundings) -> Look:
    return Look(passage, passage.record, next_look_ms(passage, around))


def _passed(
    incident: Incident, alerts: Sequence[Alert], change: Change, record: Record, around: Surroundings
) -> Passage:
    return pass_through(Passage(incident, tuple(alerts), change, record), around)


def _standing(incident: Incident, alerts: Sequence[Alert], record: Record, around: Surroundings) -> Passage:
    change = Change(ChangeKind.UPDATED, record.sequence, "", SERVICE, instant(around.now_ms))
    return Passage(incident, tuple(alerts), change, record)
