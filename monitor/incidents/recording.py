"""Writes what a change of an alert means for its incident: grouped, judged by the policy, in one transaction.

Everything is written in the transaction of the results that caused it: the alert, the incident, the audit
trail, the messages of the outbox, and the runs that are to be started.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from alerting.alert import Alert, Change, ChangeKind
from alerting.finding import epoch_ms
from alerting.incidents.incident import belongs, inputs_of
from alerting.pipeline import Passage, Surroundings, next_look_ms, outbox_rows
from alerting.record import Record
from alerting.telling import tell_change, tell_words
from monitor.config import Configuration
from monitor.incidents.costs import impact_of
from monitor.incidents.surroundings import surroundings
from monitor.retraining.proposals import propose, waiting_for_approval
from monitor.store import alerts, incidents, outbox
from monitor.store.engine import after_commit
from monitor.store.incidents import Known

logger = logging.getLogger("monitor.incidents")


def record(
    connection: Connection,
    configuration: Configuration,
    alert: Alert,
    changes: Sequence[Change],
    now_ms: int,
) -> None:
    """Save an alert as it is now, and tell of its changes.

    Parameters
    ----------
    connection : Connection
        Inside a write transaction that holds the lock of the alert (`monitor.store.alerts.load_for`).
    configuration : Configuration
    alert : Alert
        As `alerting.alert.step` returned it; also to be saved when there was no change.
    changes : sequence of Change
        May be empty.
    now_ms : int
        Wall clock.
    """
    if not changes:
        alerts.save(connection, alert, (), now_ms)
        return
    incidents.lock(connection)
    known = _incident_of(connection, configuration, alert, len(changes))
    alerts.save(connection, alert, changes, now_ms)
    incidents.add_alert(connection, known.record.id, alert)
    for change in changes:
        known = _told(connection, configuration, known, alert, change, now_ms)


def record_together(
    connection: Connection,
    configuration: Configuration,
    known: Known,
    changed: Sequence[tuple[Alert, Sequence[Change]]],
    now_ms: int,
) -> None:
    """Save several alerts of one incident after the same decision, and tell of it once.

    Parameters
    ----------
    known : Known
        The incident before.
    changed : sequence of (Alert, changes)
        Alerts after the decision; those without a change are left out.
    """
    stepped = [(alert, changes) for alert, changes in changed if changes]
    if not stepped:
        return
    for alert, changes in stepped:
        alerts.save(connection, alert, changes, now_ms)
    new = {alert.id: alert for alert, _ in stepped}
    after = tuple(new.get(one.id, one) for one in known.alerts)
    last, changes = stepped[-1]
    around = surroundings(connection, configuration, after, now_ms)
    impact = impact_of(connection, configuration, after)
    passage = tell_change(known.record, known.alerts, after, changes[-1], around, impact)
    write(connection, configuration, passage, around, last.id, now_ms)


def say(
    connection: Connection,
    configuration: Configuration,
    known: Known,
    kind: ChangeKind,
    text: str,
    actor: str,
    now_ms: int,
) -> None:
    """Tell of something that happened to an incident, but to none of its alerts.

    Parameters
    ----------
    connection : Connection
        Inside a write transaction that holds the lock of incidents (`monitor.store.incidents.lock`).
    """
    around = surroundings(connection, configuration, known.alerts, now_ms)
    impact = impact_of(connection, configuration, known.alerts)
    passage = tell_words(known.record, known.alerts, kind, text, actor, around, impact)
    write(connection, configuration, passage, around, None, now_ms)


def write(
    connection: Connection,
    configuration: Configuration,
    passage: Passage,
    around: Surroundings,
    alert_id: str | None,
    now_ms: int,
) -> None:
    """Write an incident after a change, what happened, the messages, and the runs that are asked for."""
    incidents.save(connection, passage, next_look_ms(passage, around), now_ms)
    incidents.add_event(connection, passage, alert_id, now_ms)
    propose(connection, configuration, passage, around)
    waiting = replace(passage.incident, proposals=waiting_for_approval(connection, passage.incident.id))
    rows = outbox_rows(replace(passage, incident=waiting), around.console_url)
    outbox.add(connection, rows, now_ms)
    after_commit(connection, lambda: _note(passage))


def _note(passage: Passage) -> None:
    """Log a change of an incident, once it is stored."""
    whole = passage.incident.whole
    about = {"incident": whole.id, "model": whole.model, "version": whole.version}
    told = {**about, "lane": whole.lane.value, "severity": whole.severity.value}
    logger.info("incident %s", passage.change.kind.value, extra=told)


def _told(
    connection: Connection,
    configuration: Configuration,
    known: Known,
    alert: Alert,
    change: Change,
    now_ms: int,
) -> Known:
    after = (*(one for one in known.alerts if one.id != alert.id), alert)
    around = surroundings(connection, configuration, after, now_ms)
    impact = impact_of(connection, configuration, after)
    passage = tell_change(known.record, known.alerts, after, change, around, impact)
    write(connection, configuration, passage, around, alert.id, now_ms)
    return Known(passage.record, after)


def _incident_of(connection: Connection, configuration: Configuration, alert: Alert, fresh: int) -> Known:
    """Find the incident of an alert, or the one that it joins, or begin one."""
    known_id = incidents.incident_of(connection, alert.id)
    if known_id is not None:
        known = incidents.load(connection, known_id)
        if known is not None:
            return known
    if alert.sequence > fresh:  # from before there were incidents: goes on counting where its messages are
        return Known(Record(alert.id, sequence=alert.sequence - fresh), ())
    return _joined(connection, configuration, alert) or Known(Record(alert.id), ())


def _joined(connection: Connection, configuration: Configuration, alert: Alert) -> Known | None:
    grouping = configuration.alerts.grouping
    starts = {epoch_ms(alert.window_start), epoch_ms(alert.onset_at or alert.window_start)}
    length_ms = epoch_ms(alert.window_end) - epoch_ms(alert.window_start)
    within_ms = grouping.within_ms
    if within_ms is None:
        within_ms = 2 * max(length_ms, configuration.longest_window_ms)
    columns = inputs_of(alert) if grouping.across_models else ()
    span_ms = min(starts) - within_ms, max(starts) + within_ms
    for id_ in incidents.candidates(connection, alert.model, columns, *span_ms):
        known = incidents.load(connection, id_)
        if known is not None and belongs(alert, known.alerts, grouping):
            return known
    return None
