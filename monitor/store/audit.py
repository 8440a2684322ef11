"""SQL of the audit log: who changed what, kept for a bounded time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from monitor.store.tables import audit

MOST_KEPT = 1_000_000
FORGOTTEN_AT_ONCE = 5_000


def begin(connection: Connection, row: dict[str, Any]) -> int:
    """Write down that something is about to be done; returns the number of the entry."""
    return int(connection.execute(audit.insert().returning(audit.c.id), row).scalar_one())


def finish(connection: Connection, number: int, status: int, detail: str | None = None) -> None:
    """Write down how it was answered, and what was done where the path does not say it."""
    values = {"status": status, "detail": detail}
    connection.execute(update(audit).where(audit.c.id == number).values(values))


def forget(connection: Connection, before_ms: int) -> int:
    """Remove entries that are older, or beyond the newest million, some thousand at a time.

    Returns
    -------
    int
        How many were removed; fewer than `FORGOTTEN_AT_ONCE` if no more are left to remove.
    """
    newest = connection.execute(select(func.max(audit.c.id))).scalar() or 0
    removed = 0
    for which, order in (
        (audit.c.at_ms < before_ms, audit.c.at_ms),
        (audit.c.id <= newest - MOST_KEPT, audit.c.id),
    ):
        some = select(audit.c.id).where(which).order_by(order).limit(FORGOTTEN_AT_ONCE - removed)
        removed += connection.execute(delete(audit).where(audit.c.id.in_(some.scalar_subquery()))).rowcount
    return removed


def listed(connection: Connection, actor: str | None, before: int | None, limit: int) -> list[Any]:
    """Read entries, the newest first.

    Parameters
    ----------
    connection : Connection
    actor : str, optional
        Only what this one did.
    before : int, optional
        Only entries with smaller numbers.
    limit : int
    """
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if actor is not None:
        query = query.where(audit.c.actor == actor)
    if before is not None:
        query = query.where(audit.c.id < before)
    return list(connection.execute(query))
