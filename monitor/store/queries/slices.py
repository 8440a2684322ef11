"""Stored slices of a range of event time, in bounded portions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, func, select

from monitor.store.tables import slice_profile

PORTION = 256  # slices read at once: some ten MiB
DAY_MS = 86_400_000  # longest sum of slices


@dataclass(frozen=True)
class Span:
    """Slices of a model that start in ``[from_ms, to_ms)``, of one version or of all."""

    model: str
    from_ms: int
    to_ms: int
    version: str | None = None


def newest_slice(connection: Connection, model: str, version: str | None) -> int | None:
    """Start of the newest slice of a model, or of one version of it; epoch milliseconds."""
    query = select(func.max(slice_profile.c.slice_ms)).where(slice_profile.c.model == model)
    if version is not None:
        query = query.where(slice_profile.c.version == version)
    newest: int | None = connection.execute(query).scalar()
    return newest


def slice_index(connection: Connection, span: Span, limit: int) -> list[tuple[int, str]]:
    """Ids and versions of the stored slices of a span, by id; at most `limit`, and no profiles."""
    columns = slice_profile.c
    query = select(columns.id, columns.version).where(
        columns.model == span.model, columns.slice_ms >= span.from_ms, columns.slice_ms < span.to_ms
    )
    if span.version is not None:
        query = query.where(columns.version == span.version)
    return [(row.id, row.version) for row in connection.execute(query.order_by(columns.id).limit(limit))]


def slices_between(connection: Connection, key: tuple[str, str], from_ms: int, to_ms: int) -> list[Any]:
    """Stored slices of a model version that start in ``[from_ms, to_ms)``, whole, by id."""
    c = slice_profile.c
    query = select(slice_profile).where(
        c.model == key[0], c.version == key[1], c.slice_ms >= from_ms, c.slice_ms < to_ms
    )
    return list(connection.execute(query.order_by(c.id)))


def widened(connection: Connection, span: Span) -> Span:
    """Widen a range to whole hours or days where slices were added up to these.

    A sum belongs to ranges that hold all of it: where the range begins or ends within one, it begins or ends
    where that does.
    """
    c = slice_profile.c
    mine = [c.model == span.model, c.span_ms > 0]
    if span.version is not None:
        mine.append(c.version == span.version)
    from_ms, to_ms = span.from_ms, span.to_ms
    first = select(func.min(c.slice_ms)).where(
        *mine, c.slice_ms > from_ms - DAY_MS, c.slice_ms < from_ms, c.slice_ms + c.span_ms > from_ms
    )
    last = select(func.max(c.slice_ms + c.span_ms)).where(
        *mine, c.slice_ms > to_ms - DAY_MS, c.slice_ms < to_ms, c.slice_ms + c.span_ms > to_ms
    )
    begin, end = (connection.execute(query).scalar() for query in (first, last))
    return replace(span, from_ms=from_ms if begin is None else begin, to_ms=to_ms if end is None else end)


def is_cut(connection: Connection, span: Span) -> bool:
    """Whether a range begins or ends within slices that were added up: it cannot be counted any more."""
    return widened(connection, span) != span


def slices(connection: Connection, ids: list[int]) -> Iterator[Any]:
    """Read slices by ascending id, a portion at a time."""
    for first in range(0, len(ids), PORTION):
        part = ids[first : first + PORTION]
        query = select(slice_profile).where(slice_profile.c.id.in_(part)).order_by(slice_profile.c.id)
        yield from connection.execute(query)
