"""SQL of sessions: browsers that are signed in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, or_, select, update

from monitor.store.tables import session

MOST_LISTED = 200


def add(connection: Connection, row: dict[str, Any]) -> None:
    """Write a session: all columns of `session`."""
    connection.execute(session.insert(), row)


def find(connection: Connection, id_hash: str, now_ms: int, idle_ms: int) -> Any | None:
    """Read a session that is neither over nor left alone for too long."""
    query = select(session).where(session.c.id_hash == id_hash, *_alive(now_ms, idle_ms))
    return connection.execute(query).one_or_none()


def touch(connection: Connection, id_hash: str, now_ms: int) -> None:
    """Remember that a session was used; never brings one back."""
    statement = update(session).where(session.c.id_hash == id_hash, session.c.used_at_ms < now_ms)
    connection.execute(statement.values(used_at_ms=now_ms))


def end(connection: Connection, id_hash: str) -> bool:
    """End a session; whether there was one."""
    return connection.execute(delete(session).where(session.c.id_hash == id_hash)).rowcount == 1


def name_of(connection: Connection, id_hash: str) -> str | None:
    """Whose session it is."""
    return connection.execute(select(session.c.name).where(session.c.id_hash == id_hash)).scalar()


def end_stale(connection: Connection, now_ms: int, idle_ms: int) -> int:
    """Remove sessions that are over; returns how many."""
    stale = or_(session.c.expires_at_ms <= now_ms, session.c.used_at_ms <= now_ms - idle_ms)
    return connection.execute(delete(session).where(stale)).rowcount


def listed(connection: Connection, now_ms: int, idle_ms: int) -> list[Any]:
    """Read the sessions that live, the last used first; at most 200."""
    query = select(session).where(*_alive(now_ms, idle_ms)).order_by(session.c.used_at_ms.desc())
    return list(connection.execute(query.limit(MOST_LISTED)))


def _alive(now_ms: int, idle_ms: int) -> tuple[Any, ...]:
    return session.c.expires_at_ms > now_ms, session.c.used_at_ms > now_ms - idle_ms
