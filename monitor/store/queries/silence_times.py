"""Silences by when they end: those that hold or will hold, and those that are over."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, tuple_

from monitor.store.tables import silence

MOST_TO_COME = 200


def to_come(connection: Connection, now_ms: int) -> list[Any]:
    """List the silences that hold or will hold, those that begin first first; at most 200."""
    s = silence.c
    query = select(silence).where(s.until_ms > now_ms).order_by(s.from_ms, s.until_ms, s.id)
    return list(connection.execute(query.limit(MOST_TO_COME)))


def past(connection: Connection, now_ms: int, after: tuple[int, str] | None, limit: int) -> list[Any]:
    """List the silences that are over, the latest first.

    Parameters
    ----------
    now_ms : int
        Wall clock.
    after : (int, str), optional
        `until_ms` and `id` of the last silence seen.
    limit : int
    """
    s = silence.c
    query = select(silence).where(s.until_ms <= now_ms)
    if after is not None:
        query = query.where(tuple_(s.until_ms, s.id) < tuple_(*after))
    return list(connection.execute(query.order_by(s.until_ms.desc(), s.id.desc()).limit(limit)))
