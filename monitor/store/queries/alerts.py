"""Alerts, newest first; what happened to one of them, and who was told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, tuple_

from alerting.alert import OPEN_STATES, Alert
from alerting.codec import from_bytes
from monitor.store.incidents import Unreadable
from monitor.store.tables import alert, alert_event, outbox
from schemas.errors import StoreError

MOST_EVENTS = 500


def alerts(
    connection: Connection,
    states: tuple[str, ...],
    model: str | None,
    after: tuple[int, str] | None,
    limit: int,
) -> list[tuple[int, Alert | Unreadable]]:
    """List alerts with the instant (epoch milliseconds) that they are ordered by.

    Parameters
    ----------
    states : tuple of str
        Only alerts in one of these states; empty: any.
    model : str or None
        Only alerts of this model.
    after : (int, str) or None
        `opened_at_ms` and `id` of the last alert seen.
    limit : int
        Most alerts.
    """
    columns = alert.c
    query = select(alert)
    if states:
        query = query.where(columns.state.in_(states))
    if model is not None:
        query = query.where(columns.model == model)
    if after is not None:
        query = query.where(tuple_(columns.opened_at_ms, columns.id) < tuple_(*after))
    query = query.order_by(columns.opened_at_ms.desc(), columns.id.desc()).limit(limit)
    return [(row.opened_at_ms, _read(row)) for row in connection.execute(query)]


def _read(row: Any) -> Alert | Unreadable:
    try:
        return from_bytes(bytes(row.state_bytes))
    except StoreError as error:  # of a later version, or damaged: it keeps no other from being listed
        written = ("id", "model", "version", "kind", "severity", "state", "summary")
        known = {name: getattr(row, name) for name in (*written, "opened_at_ms", "closed_at_ms")}
        return Unreadable(**known, why=str(error))


def events(connection: Connection, alert_id: str) -> list[Any]:
    """Everything that happened to an alert, in order; the latest 500 of it."""
    query = (
        select(alert_event)
        .where(alert_event.c.alert_id == alert_id)
        .order_by(alert_event.c.sequence.desc())
        .limit(MOST_EVENTS)
    )
    return list(connection.execute(query))[::-1]


def deliveries(connection: Connection, alert_id: str) -> list[Any]:
    """Messages that an alert caused, in order; the latest 500 of them."""
    columns = outbox.c
    query = (
        select(
            columns.id,
            columns.sequence,
            columns.receiver,
            columns.state,
            columns.attempts,
            columns.not_before_ms,
            columns.created_at_ms,
            columns.finished_at_ms,
            columns.last_error,
        )
        .where(columns.alert_id == alert_id)
        .order_by(columns.sequence.desc(), columns.receiver.desc())
        .limit(MOST_EVENTS)
    )
    return list(connection.execute(query))[::-1]


def open_total(connection: Connection) -> int:
    """Number of open alerts of all models."""
    query = select(func.count()).select_from(alert).where(alert.c.state.in_(OPEN_STATES))
    return int(connection.execute(query).scalar_one())


def open_by_model(connection: Connection, limit: int) -> list[tuple[tuple[str, str, str], int]]:
    """Count the open alerts by model, lane and severity, in the order of their names."""
    a = alert.c
    by = (a.model, a.lane, a.severity)
    query = select(*by, func.count()).where(a.state.in_(OPEN_STATES)).group_by(*by).order_by(*by).limit(limit)
    return [((row[0], row[1], row[2]), int(row[3])) for row in connection.execute(query)]
