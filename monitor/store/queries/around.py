"""What was measured, and what happened, around the time of an incident."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from monitor.store.queries.judged import Stream, windows
from monitor.store.tables import deployment, performance_value, result

MOST_DEPLOYMENTS = 50
MOST_VALUES = 2_000


@dataclass(frozen=True)
class Measured:
    """A measure of performance of all rows, from window to window."""

    model: str
    version: str
    window: str
    metric: str


def stream_results(connection: Connection, row: Any, from_ms: int, to_ms: int) -> list[Any]:
    """List what was said of the stream of a result, oldest first; windows as they were judged last.

    Parameters
    ----------
    row : row
        Of ``result``: its column, segment and detector in windows of its shape.
    from_ms, to_ms : int
        Starts of the windows.

    Notes
    -----
    Windows are found first: the unique index of results then leads to the stream among many others.
    """
    judged = windows(connection, Stream(row.model, row.version, row.window, from_ms, to_ms))
    r = result.c
    query = select(result).where(
        r.model == row.model,
        r.version == row.version,
        r.window == row.window,
        r.start_ms.in_([one.start_ms for one in judged]),
        r.column == row.column,
        r.segment == row.segment,
        r.detector == row.detector,
        r.judgement_id.in_([one.id for one in judged]),
    )
    return list(connection.execute(query.order_by(r.start_ms, r.id)))


def deployments_between(
    connection: Connection, models: Collection[str], from_ms: int, to_ms: int
) -> list[Any]:
    """List deployments of some models in a span of time, the earliest first; at most 50."""
    d = deployment.c
    query = select(deployment).where(d.model.in_(list(models)), d.at_ms >= from_ms, d.at_ms < to_ms)
    return list(connection.execute(query.order_by(d.at_ms, d.id).limit(MOST_DEPLOYMENTS)))


def means_between(
    connection: Connection, wanted: Measured, from_ms: int, to_ms: int
) -> dict[str, tuple[float, int]]:
    """Average a measure over the windows that start in a span of time, weighted by rows.

    Returns
    -------
    dict of str to (float, int)
        Mean and number of windows, by ``realised`` and ``estimated``.
    """
    p = performance_value.c
    query = select(p.kind, func.sum(p.value * p.n), func.sum(p.n), func.count()).where(
        *_of(wanted, from_ms, to_ms), p.n > 0, p.value.is_not(None)
    )
    rows = connection.execute(query.group_by(p.kind))
    return {str(kind): (float(total) / int(rows_), int(count)) for kind, total, rows_, count in rows}


def measures_between(connection: Connection, wanted: Measured, from_ms: int, to_ms: int) -> list[Any]:
    """List a measure of the windows that start in a span of time, the earliest first; at most 2,000."""
    p = performance_value.c
    query = select(p.start_ms, p.kind, p.value, p.low, p.high, p.n).where(*_of(wanted, from_ms, to_ms))
    return list(connection.execute(query.order_by(p.start_ms, p.kind).limit(MOST_VALUES)))


def _of(wanted: Measured, from_ms: int, to_ms: int) -> list[ColumnElement[bool]]:
    p = performance_value.c
    return [
        p.model == wanted.model,
        p.version == wanted.version,
        p.window == wanted.window,
        p.segment == "",
        p.metric == wanted.metric,
        p.kind.in_(["realised", "estimated"]),
        p.start_ms >= from_ms,
        p.start_ms < to_ms,
    ]
