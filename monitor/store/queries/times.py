"""How far event time has come, read from the positions of all partitions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, and_, func, select

from monitor.config import Configuration
from monitor.store.tables import partition_model, partition_state
from monitor.watermark import ModelTime, PartitionTime, watermark_ms

FRESH_MS = 60_000

_Place = tuple[str, int]


def watermarks(
    connection: Connection,
    configuration: Configuration,
    now_ms: int,
    models: Collection[str] | None = None,
    kind: str = "predictions",
) -> dict[str, int]:
    """Work out the watermark of each model.

    Parameters
    ----------
    connection : Connection
        Inside a transaction; two statements.
    configuration : Configuration
        Names the streams, and for each model how long to wait for late events and when a partition is idle.
    now_ms : int
        Wall clock, epoch milliseconds.
    models : collection of str, optional
        Default: every model that has ever had an event.
    kind : str
        Of the streams: ``predictions`` or ``labels``, whose time is that of the labels.

    Returns
    -------
    dict of str to int
        Epoch milliseconds; models without an event are left out.

    Notes
    -----
    A partition that nobody has reported on for a minute may have any number of events waiting: it does not
    count as being at its end, whatever was written last. Topics that are no longer configured hold nothing
    back.
    """
    topics = [stream.topic for stream in configuration.streams if stream.kind == kind]
    partitions = {
        (row.topic, row.partition): _partition_time(row, now_ms)
        for row in connection.execute(select(partition_state).where(partition_state.c.topic.in_(topics)))
    }
    found: dict[str, int] = {}
    for model, times in _model_times(connection, topics, models).items():
        settings = configuration.for_model(model)
        mark = watermark_ms(
            ((time, times.get(place)) for place, time in partitions.items()),
            lateness_ms=settings.lateness_ms,
            idle_after_ms=settings.idle_after_ms,
            now_ms=now_ms,
        )
        if mark is not None:
            found[model] = mark
    return found


def _partition_time(row: Any, now_ms: int) -> PartitionTime:
    is_fresh = now_ms - row.seen_at_ms <= FRESH_MS
    return PartitionTime(
        row.max_event_ms,
        row.at_end_since_ms if is_fresh else None,
        row.reached_end,
        row.stopped_reason is not None,
    )


def _model_times(
    connection: Connection, topics: list[str], models: Collection[str] | None
) -> dict[str, dict[_Place, ModelTime]]:
    query = select(partition_model).where(partition_model.c.topic.in_(topics))
    if models is not None:
        query = query.where(partition_model.c.model.in_(list(models)))
    found: dict[str, dict[_Place, ModelTime]] = {}
    for row in connection.execute(query.order_by(partition_model.c.model)):
        time = ModelTime(row.max_event_ms, row.arrived_at_ms)
        found.setdefault(row.model, {})[row.topic, row.partition] = time
    return found


def newest_events(connection: Connection, models: Collection[str] | None = None) -> dict[str, int]:
    """Newest event time of the predictions of each model, epoch milliseconds."""
    m, p = partition_model.c, partition_state.c
    query = (
        select(m.model, func.max(m.max_event_ms))
        .join(partition_state, and_(p.topic == m.topic, p.partition == m.partition))
        .where(p.kind == "predictions")
        .group_by(m.model)
    )
    if models is not None:
        query = query.where(m.model.in_(list(models)))
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def stopped_partitions(connection: Connection) -> dict[_Place, bool]:
    """Whether each partition that was ever read is stopped."""
    p = partition_state.c
    query = select(p.topic, p.partition, p.stopped_reason).order_by(p.topic, p.partition)
    return {(row.topic, row.partition): row.stopped_reason is not None for row in connection.execute(query)}
