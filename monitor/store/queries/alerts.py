"""Alerts, newest first; what happened to one of them, and who was told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, tuple_

from alerting.alert import OPEN_STATES, Alert
from alerting.codec import from_bytes
from monitor.store.tables import alert, alert_event, outbox

MOST_EVENTS = 500


def alerts(
    connection: Connection,
    states: tuple[str, ...],
    model: str | None,
    after: tuple[int, str] | None,
    limit: int,
) -> list[tuple[int, Alert]]:
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
    query = select(columns.opened_at_ms, columns.state_bytes)
    if states:
        query = query.where(columns.state.in_(states))
    if model is not None:
        query = query.where(columns.model == model)
    if after is not None:
        query = query.where(tuple_(columns.opened_at_ms, columns.id) < tuple_(*after))
    query = query.order_by(columns.opened_at_ms.desc(), columns.id.desc()).limit(limit)
    return [(row.opened_at_ms, from_bytes(bytes(row.state_bytes))) for row in connection.execute(query)]


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
