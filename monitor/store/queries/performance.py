"""Measures of windows as they are stored: estimated, realised, and the parts of a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, select, tuple_

from monitor.store.tables import performance_value

KINDS = ("estimated", "realised", "covariate", "concept")
Position = tuple[int, str, str, str, str]


@dataclass(frozen=True)
class ValuesWanted:
    """Which values; None or empty: all."""

    model: str
    from_ms: int | None = None
    to_ms: int | None = None
    version: str | None = None
    segment: str = ""
    metric: str | None = None
    kind: str | None = None


def values(connection: Connection, wanted: ValuesWanted, after: Position | None, limit: int) -> list[Any]:
    """List values by window, version, kind and metric; those after a position, at most `limit`."""
    p = performance_value.c
    order = (p.start_ms, p.version, p.window, p.kind, p.metric)
    query = select(performance_value).where(p.model == wanted.model, p.segment == wanted.segment)
    if wanted.from_ms is not None:
        query = query.where(p.start_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        query = query.where(p.start_ms < wanted.to_ms)
    for column, value in ((p.version, wanted.version), (p.metric, wanted.metric), (p.kind, wanted.kind)):
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*after))
    return list(connection.execute(query.order_by(*order).limit(limit)))


def latest_values(connection: Connection, limit: int) -> list[Any]:
    """Estimated and realised measures of the latest window of each model version, all rows.

    Returns
    -------
    list of rows
        ``model``, ``version``, ``metric``, ``kind``, ``value`` and ``coverage``; at most `limit`.
    """
    p = performance_value.c
    newest = (
        select(p.model, p.version, p.kind, func.max(p.start_ms).label("start_ms"))
        .where(p.segment == "", p.kind.in_(("estimated", "realised")))
        .group_by(p.model, p.version, p.kind)
    ).subquery()
    query = (
        select(p.model, p.version, p.metric, p.kind, p.value, p.coverage)
        .join(
            newest,
            and_(
                newest.c.model == p.model,
                newest.c.version == p.version,
                newest.c.kind == p.kind,
                newest.c.start_ms == p.start_ms,
            ),
        )
        .where(p.segment == "")
        .order_by(p.model, p.version, p.kind, p.metric)
        .limit(limit)
    )
    return list(connection.execute(query))
