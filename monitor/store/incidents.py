"""SQL of incidents: which alerts belong together, what is remembered of them, what happened to them.

Every function works on a connection inside the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, exists, func, or_, select, update

from alerting import codec
from alerting.alert import OPEN_STATES, Alert
from alerting.finding import epoch_ms
from alerting.incidents.incident import inputs_of
from alerting.pipeline import Passage
from alerting.record import Record, from_bytes, to_bytes
from monitor.store.sql import insert_new, upsert
from monitor.store.tables import alert, incident, incident_alert, incident_column, incident_event
from schemas.errors import StoreError, Unavailable

MOST_CANDIDATES = 50
MOST_TOGETHER = 200  # alerts that other models still join
MOST_COLUMNS = 200
MAX_NAME = 256
MAX_CAUSE = 2_000


@dataclass(frozen=True)
class Known:
    """An incident as it is stored: its memory, and its alerts."""

    record: Record
    alerts: tuple[Alert, ...]


@dataclass(frozen=True)
class Unreadable:
    """An incident whose state this version cannot read: all that can be shown of it.

    Parameters
    ----------
    id, model, version, kind, severity, state, summary : str
        As they were when it was written last.
    opened_at_ms : int
    closed_at_ms : int or None
    why : str
        Why it cannot be read, and what to do.
    """

    id: str
    model: str
    version: str
    kind: str
    severity: str
    state: str
    summary: str
    opened_at_ms: int
    closed_at_ms: int | None
    why: str


def lock(connection: Connection) -> None:
    """Let one transaction at a time group alerts: the next one has to see what this one makes of them.

    Always the last lock that a transaction takes, see `monitor.store.alerts.lock_version`.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended("driftline.incidents", 0)))
        )


def incident_of(connection: Connection, alert_id: str) -> str | None:
    """Find the incident that an alert belongs to."""
    columns = incident_alert.c
    return connection.execute(
        select(columns.incident_id).where(columns.alert_id == alert_id)
    ).scalar_one_or_none()


def load(connection: Connection, incident_id: str) -> Known | None:
    """Read an incident with its alerts."""
    data = connection.execute(
        select(incident.c.record_bytes).where(incident.c.id == incident_id)
    ).scalar_one_or_none()
    if data is None:
        return None
    return Known(from_bytes(bytes(data)), alerts_of(connection, incident_id))


def look(connection: Connection, incident_id: str) -> Known | Unreadable | None:
    """Read an incident to show it; None if there is none of that id, or it has no alerts.

    Guarantees
    ----------
    One that was written by a later version, or is damaged, keeps no other one from being shown.
    """
    try:
        known = load(connection, incident_id)
    except Unavailable:
        raise
    except StoreError as error:
        return _unreadable(connection, incident_id, str(error))
    return known if known is not None and known.alerts else None


def _unreadable(connection: Connection, incident_id: str, why: str) -> Unreadable:
    i = incident.c
    written = (i.id, i.model, i.version, i.kind, i.severity, i.state, i.summary)
    query = select(*written, i.opened_at_ms, i.closed_at_ms).where(i.id == incident_id)
    row = connection.execute(query).one()
    return Unreadable(*row, why)


def alerts_of(connection: Connection, incident_id: str) -> tuple[Alert, ...]:
    """Read the alerts of an incident, by id."""
    query = (
        select(alert.c.state_bytes)
        .join(incident_alert, incident_alert.c.alert_id == alert.c.id)
        .where(incident_alert.c.incident_id == incident_id)
        .order_by(alert.c.id)
    )
    return tuple(codec.from_bytes(bytes(data)) for data in connection.execute(query).scalars())


def candidates(
    connection: Connection, model: str, columns: Collection[str], from_ms: int, until_ms: int
) -> list[str]:
    """Name the incidents that an alert may belong to, its own model's and the earliest first.

    Parameters
    ----------
    model : str
        Of the alert: incidents with an alert of the same model.
    columns : collection of str
        Of the alert, where it may be of one cause with alerts of other models: incidents on one of them, as
        long as they are not too large to be read by anybody.
    from_ms, until_ms : int
        Incidents whose alerts started then, or some before and some after.
    """
    i, member, known = incident.c, incident_alert.c, incident_column.c
    same_model = exists().where(member.incident_id == i.id, member.model == model)
    size = select(func.count()).where(member.incident_id == i.id).scalar_subquery()
    same_column = exists().where(known.incident_id == i.id, known.column.in_(list(columns)))
    query = (
        select(i.id)
        .where(i.start_ms <= until_ms, i.latest_start_ms >= from_ms)
        .where(or_(same_model, and_(same_column, size < MOST_TOGETHER)))
        .order_by(same_model.desc(), i.start_ms, i.id)
        .limit(MOST_CANDIDATES)
    )
    return list(connection.execute(query).scalars())


def open_alerts(connection: Connection, models: Collection[str]) -> tuple[Alert, ...]:
    """Read the open alerts of some models."""
    query = (
        select(alert.c.state_bytes)
        .where(alert.c.model.in_(list(models)), alert.c.state.in_(OPEN_STATES))
        .order_by(alert.c.id)
    )
    return tuple(codec.from_bytes(bytes(data)) for data in connection.execute(query).scalars())


def due(connection: Connection, now_ms: int, limit: int) -> list[str]:
    """Name incidents to which time alone brings something now."""
    query = (
        select(incident.c.id)
        .where(incident.c.look_at_ms <= now_ms)
        .order_by(incident.c.look_at_ms, incident.c.id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def is_due(connection: Connection, incident_id: str, now_ms: int) -> bool:
    """Whether time alone brings something to one incident now."""
    query = select(incident.c.id).where(incident.c.id == incident_id, incident.c.look_at_ms <= now_ms)
    return connection.execute(query).one_or_none() is not None


def add_alert(connection: Connection, incident_id: str, member: Alert) -> None:
    """Let an alert belong to an incident."""
    values = {"alert_id": member.id, "incident_id": incident_id, "model": member.model}
    insert_new(connection, incident_alert, [values])
    named = sorted(inputs_of(member))[:MOST_COLUMNS]
    insert_new(
        connection, incident_column, [{"incident_id": incident_id, "column": name[:512]} for name in named]
    )


def save(connection: Connection, passage: Passage, look_at_ms: int | None, now_ms: int) -> None:
    """Write an incident as it is after a change."""
    whole = passage.incident.whole
    starts = [min(one.window_start, one.onset_at or one.window_start) for one in passage.alerts]
    values = {
        "id": whole.id,
        "model": whole.model,
        "version": whole.version,
        "kind": whole.kind.value,
        "severity": whole.severity.value,
        "state": whole.state.value,
        "start_ms": epoch_ms(min(starts)),
        "latest_start_ms": epoch_ms(max(one.window_start for one in passage.alerts)),
        "opened_at_ms": epoch_ms(whole.opened_at),
        "closed_at_ms": None if whole.closed_at is None else epoch_ms(whole.closed_at),
        "updated_at_ms": now_ms,
        "look_at_ms": look_at_ms,
        "sequence": passage.record.sequence,
        "summary": whole.summary,
        "record_bytes": to_bytes(passage.record),
    }
    upsert(connection, incident, [values])


def look_soon(connection: Connection, now_ms: int) -> None:
    """Look at everything that is held back at the next opportunity: a silence has ended early."""
    statement = update(incident).where(incident.c.look_at_ms > now_ms)
    connection.execute(statement.values(look_at_ms=now_ms))


def put_off_look(connection: Connection, incident_id: str, look_at_ms: int) -> None:
    """Look at an incident later, whatever is known of it."""
    connection.execute(update(incident).where(incident.c.id == incident_id).values(look_at_ms=look_at_ms))


def save_look(connection: Connection, record: Record, look_at_ms: int | None) -> None:
    """Write when to look again, where nothing else has changed."""
    statement = update(incident).where(incident.c.id == record.id)
    connection.execute(statement.values(look_at_ms=look_at_ms, record_bytes=to_bytes(record)))


def add_event(connection: Connection, passage: Passage, alert_id: str | None, now_ms: int) -> None:
    """Write what happened to the audit trail."""
    change = passage.change
    event: dict[str, Any] = {
        "incident_id": passage.incident.id,
        "sequence": change.sequence,
        "change": change.kind.value,
        "cause": change.cause[:MAX_CAUSE],
        "actor": change.actor[:MAX_NAME],
        "at_ms": epoch_ms(change.at),
        "noted_at_ms": now_ms,
        "alert_id": alert_id,
        "told": json.dumps([one.receiver for one in passage.to]),
        "held": passage.record.held,
    }
    insert_new(connection, incident_event, [event])


def has_event(
    connection: Connection, incident_id: str, change: str, actor: str, cause: str | None, since_ms: int
) -> bool:
    """Whether somebody has decided the very same since then; None: for whatever cause."""
    e = incident_event.c
    same = and_(e.change == change, e.actor == actor[:MAX_NAME])
    query = select(e.sequence).where(e.incident_id == incident_id, same, e.noted_at_ms >= since_ms)
    if cause is not None:
        query = query.where(e.cause == cause[:MAX_CAUSE])
    return connection.execute(query.limit(1)).first() is not None


def last_event(connection: Connection, incident_id: str, changes: Collection[str]) -> Any | None:
    """Read the latest of some kinds of things that happened to an incident."""
    e = incident_event.c
    query = select(incident_event).where(e.incident_id == incident_id, e.change.in_(list(changes)))
    return connection.execute(query.order_by(e.sequence.desc()).limit(1)).first()


def count_open(connection: Connection, states: Sequence[str]) -> int:
    """Number of incidents in some states."""
    query = select(func.count()).select_from(incident).where(incident.c.state.in_(list(states)))
    return int(connection.execute(query).scalar_one())
