"""Silences by id, and one of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from monitor.store.tables import silence


def silences(connection: Connection, ended_before_ms: int | None, after: str | None, limit: int) -> list[Any]:
    """List silences by id; those that ended before an instant are left out."""
    columns = silence.c
    query = select(silence)
    if ended_before_ms is not None:
        query = query.where(columns.until_ms > ended_before_ms)
    if after is not None:
        query = query.where(columns.id > after)
    return list(connection.execute(query.order_by(columns.id).limit(limit)))


def silence_of(connection: Connection, silence_id: str) -> Any:
    """Read one silence; None if there is none."""
    return connection.execute(select(silence).where(silence.c.id == silence_id)).one_or_none()
