"""Stored slices of a range for counting: their bytes, and only some of them where there are too many."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from monitor.store.queries.slices import Span
from monitor.store.tables import slice_profile


def slice_total(connection: Connection, span: Span, most: int) -> int:
    """Count the stored slices of a span, up to `most`; the index answers it alone."""
    some = select(slice_profile.c.slice_ms).where(*_within(span)).limit(most).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def slice_bytes(connection: Connection, span: Span, slice_ms: int, stride: int) -> list[Any]:
    """Read ``slice_ms``, ``version``, ``reference_hash``, ``rows`` and ``bytes`` of every n-th slice.

    Parameters
    ----------
    slice_ms : int
        Length of a slice.
    stride : int
        1 for all slices.
    """
    c = slice_profile.c
    query = select(c.slice_ms, c.version, c.reference_hash, c.rows, c.bytes).where(*_within(span))
    if stride > 1:
        query = query.where(c.slice_ms // slice_ms % stride == 0)
    return list(connection.execute(query.order_by(c.slice_ms, c.id)))


def slice_rows(connection: Connection, span: Span, window_ms: int, most: int) -> dict[int, int]:
    """Rows of the stored slices of a span by windows of a length, the newest slices, at most `most`."""
    c = slice_profile.c
    query = select(c.slice_ms, c.rows).where(*_within(span)).order_by(c.slice_ms.desc()).limit(most)
    found: dict[int, int] = {}
    for row in connection.execute(query):
        start = row.slice_ms // window_ms * window_ms
        found[start] = found.get(start, 0) + row.rows
    return dict(sorted(found.items()))


def first_slice(connection: Connection, model: str, version: str) -> int | None:
    """Start of the oldest stored slice of a version; epoch milliseconds."""
    c = slice_profile.c
    query = select(func.min(c.slice_ms)).where(c.model == model, c.version == version)
    found: int | None = connection.execute(query).scalar()
    return found


def _within(span: Span) -> list[ColumnElement[bool]]:
    c = slice_profile.c
    found = [c.model == span.model, c.slice_ms >= span.from_ms, c.slice_ms < span.to_ms]
    if span.version is not None:
        found.append(c.version == span.version)
    return found
