"""Messages of the outbox, newest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, tuple_

from monitor.store.tables import outbox


def deliveries(
    connection: Connection,
    state: str | None,
    receiver: str | None,
    after: tuple[int, str] | None,
    limit: int,
) -> list[Any]:
    """List messages of the outbox, the latest first."""
    columns = outbox.c
    query = select(outbox)
    if state is not None:
        query = query.where(columns.state == state)
    if receiver is not None:
        query = query.where(columns.receiver == receiver)
    if after is not None:
        query = query.where(tuple_(columns.created_at_ms, columns.id) < tuple_(*after))
    return list(
        connection.execute(query.order_by(columns.created_at_ms.desc(), columns.id.desc()).limit(limit))
    )
