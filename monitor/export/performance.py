"""Measures of windows: a row for each window, segment, kind and metric, oldest window first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, select, tuple_

from monitor.export.wanted import Wanted
from monitor.export.writing import INSTANT, Rows
from monitor.store.tables import performance_value
from schemas.window import WindowSpec

AT_ONCE = 10_000

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("version", pa.string()),
        ("window", pa.string()),
        ("window_start", INSTANT),
        ("window_end", INSTANT),
        ("segment", pa.string()),
        ("kind", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("coverage", pa.float64()),
        ("computed_at", INSTANT),
    ]
)
_SAME = ("model", "version", "window", "segment", "kind", "metric", "value", "low", "high", "n", "coverage")


def portions(connection: Connection, wanted: Wanted) -> Iterator[Rows]:
    """Read measures of windows."""
    p = performance_value.c
    order = (p.start_ms, p.version, p.window, p.segment, p.kind, p.metric)
    query = select(performance_value).where(p.model == wanted.model, *wanted.within(p.start_ms))
    if wanted.version is not None:
        query = query.where(p.version == wanted.version)
    query = query.order_by(*order).limit(AT_ONCE)
    following = query
    while rows := connection.execute(following).all():
        last = tuple(getattr(rows[-1], column.name) for column in order)
        following = query.where(tuple_(*order) > tuple_(*last))
        yield [_row(row) for row in rows]


def _row(row: Any) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in _SAME},
        "window_start": row.start_ms,
        "window_end": row.start_ms + WindowSpec.parse(row.window.partition("+")[0]).length_ms,
        "computed_at": row.computed_at_ms,
    }
