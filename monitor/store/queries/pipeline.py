"""Where taking in and judging stand: how far each partition is, what waits to be judged and to be sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, ColumnElement, Connection, exists, func, select
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from monitor.store.outbox import WAITING
from monitor.store.tables import gap, half_message, outbox, partition_state, reference_pointer, window_state

MOST_GAPS = 100


@dataclass(frozen=True)
class Owned:
    """One partition, as the database has it; instants are epoch milliseconds by the wall clock."""

    topic: str
    partition: int
    epoch: int
    stamp_ms: int | None
    at_end_since_ms: int | None
    seen_at_ms: int


@dataclass(frozen=True)
class Backlog:
    """Windows that have changed since they were judged; `oldest_ms` is the end of the first of them."""

    model: str
    version: str
    window: str
    windows: int
    oldest_ms: int


@dataclass(frozen=True)
class Waiting:
    """Messages to a receiver that are not sent yet; `oldest_ms` is when the first may be sent."""

    receiver: str
    messages: int
    oldest_ms: int


def owned_partitions(connection: Connection) -> list[Owned]:
    """List every partition that was ever claimed, by topic and number."""
    p = partition_state.c
    columns = (p.topic, p.partition, p.epoch, p.stamp_ms, p.at_end_since_ms, p.seen_at_ms)
    return [Owned(*row) for row in connection.execute(select(*columns).order_by(p.topic, p.partition))]


def gaps(connection: Connection) -> list[Any]:
    """List what was lost before it could be read, the newest first."""
    return list(connection.execute(select(gap).order_by(gap.c.id.desc()).limit(MOST_GAPS)))


def backlog(connection: Connection, limit: int) -> list[Backlog]:
    """List the windows that wait to be judged by model version and shape, the oldest first.

    Those that begin before the first reference of their version are left out: they cannot be judged.
    """
    w = _changed().c
    oldest = func.min(w.end_ms)
    query = (
        select(w.model, w.version, w.window, func.count(), oldest)
        .where(_is_covered(w))
        .group_by(w.model, w.version, w.window)
        .order_by(oldest, w.model, w.version, w.window)
        .limit(limit)
    )
    return [Backlog(*row) for row in connection.execute(query)]


def changed_windows(connection: Connection) -> list[Any]:
    """Count the windows that wait to be judged by model version and end, as `backlog` does.

    Returns
    -------
    list of rows
        ``model``, ``version``, ``end_ms``, ``windows``.
    """
    w = _changed().c
    query = select(w.model, w.version, w.end_ms, func.count().label("windows")).where(_is_covered(w))
    return list(connection.execute(query.group_by(w.model, w.version, w.end_ms)))


def _changed() -> CTE:
    """Windows that have changed since they were judged.

    Kept apart, so that the index of these few windows leads to them: asked for groups, SQLite would rather
    read all windows there ever were, which it has in that order.
    """
    w = window_state.c
    columns = (w.model, w.version, w.window, w.start_ms, w.end_ms)
    changed = select(*columns).where(w.touched != w.judged).cte("changed")
    return changed.prefix_with("MATERIALIZED")


def _is_covered(w: ReadOnlyColumnCollection[str, Any]) -> ColumnElement[bool]:
    p = reference_pointer.c
    return exists().where(p.model == w.model, p.version == w.version, p.from_ms <= w.start_ms)


def waiting_messages(connection: Connection) -> list[Waiting]:
    """Count the messages that wait, by receiver, the longest waiting first."""
    o = outbox.c
    oldest = func.min(o.not_before_ms)
    query = select(o.receiver, func.count(), oldest).where(o.state == WAITING).group_by(o.receiver)
    return [Waiting(*row) for row in connection.execute(query.order_by(oldest, o.receiver))]


def waiting_halves(connection: Connection) -> dict[str, int]:
    """Count requests and responses that wait for each other, by topic."""
    h = half_message.c
    query = select(h.topic, func.count()).where(h.status == "waiting").group_by(h.topic)
    return {row[0]: int(row[1]) for row in connection.execute(query.order_by(h.topic))}
