"""Measures of performance of the segments of a model version, for some judged windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from monitor.store.queries.judged import Stream
from monitor.store.tables import performance_value

KIND = "realised"


def segment_values(
    connection: Connection, stream: Stream, starts: Sequence[int], segments: Sequence[str], metric: str
) -> list[Any]:
    """Realised values of a metric by window and segment: ``start_ms``, ``segment``, ``value``, ``n``."""
    p = performance_value.c
    query = select(p.start_ms, p.segment, p.value, p.n).where(
        p.model == stream.model,
        p.version == stream.version,
        p.window == stream.window,
        p.start_ms.in_(starts),
        p.segment.in_(segments),
        p.kind == KIND,
        p.metric == metric,
    )
    return list(connection.execute(query))


def segment_metrics(connection: Connection, stream: Stream, segments: Sequence[str]) -> list[str]:
    """Metrics that the newest window with labels has of some segments, by name."""
    p = performance_value.c
    same = (p.model == stream.model, p.version == stream.version, p.window == stream.window)
    newest = (
        select(p.start_ms)
        .where(*same, p.start_ms >= stream.from_ms, p.start_ms < stream.to_ms)
        .where(p.segment.in_(segments), p.kind == KIND)
        .order_by(p.start_ms.desc())
        .limit(1)
    )
    start_ms = connection.execute(newest).scalar()
    if start_ms is None:
        return []
    query = select(p.metric).distinct().where(*same, p.start_ms == start_ms, p.segment.in_(segments))
    return sorted(connection.execute(query.where(p.kind == KIND)).scalars())
