"""What happened to one column of a model: findings, events that broke rules, incidents, references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, exists, or_, select

from monitor.store.queries.judged import Stream
from monitor.store.tables import incident, incident_alert, incident_column, reference_pointer, result

MOST_WINDOWS = 400  # the newest ones of a range that are looked through
MOST_LISTED = 20


def findings(
    connection: Connection, stream: Stream, starts: Sequence[int], column: str, segment: str
) -> list[Any]:
    """Alarms that were raised on a column and segment, the newest first; 20 at most.

    Returns
    -------
    list of rows
        ``start_ms``, ``detector``, ``lane``, ``explanation``, ``revision``.
    """
    r = result.c
    query = (
        select(r.start_ms, r.detector, r.lane, r.explanation, r.revision)
        .where(*_in(stream, starts), r.column == column, r.segment == segment, r.decision == "drift")
        .order_by(r.start_ms.desc(), r.revision.desc(), r.detector)
    )
    newest: dict[tuple[int, str], Any] = {}
    for row in connection.execute(query.limit(4 * MOST_LISTED)):
        newest.setdefault((row.start_ms, row.detector), row)
    return list(newest.values())[:MOST_LISTED]


def broken_rules(connection: Connection, stream: Stream, starts: Sequence[int], column: str) -> list[Any]:
    """Results of rules on a column that kept examples, the newest first; 20 at most.

    Returns
    -------
    list of rows
        ``start_ms``, ``detector``, ``attribution``.
    """
    r = result.c
    query = (
        select(r.start_ms, r.detector, r.attribution)
        .where(*_in(stream, starts), r.column == column, r.segment == "")
        .where(r.detector.startswith("contract."), r.attribution.is_not(None))
    )
    # An order that the index of instants does not have: with it, all results of every window would be read.
    order = (r.start_ms.desc(), r.revision.desc(), r.detector)
    return list(connection.execute(query.order_by(*order).limit(MOST_LISTED)))


def attributions(
    connection: Connection, stream: Stream, starts: Sequence[int], columns: Sequence[str]
) -> Any | None:
    """Newest attribution of a change of the mean prediction: ``start_ms``, ``attribution``."""
    r = result.c
    query = select(r.start_ms, r.attribution).where(
        *_in(stream, starts), r.column.in_(columns), r.segment == "", r.attribution.is_not(None),
        r.detector.not_like("contract.%"),
    )  # fmt: skip
    order = (r.start_ms.desc(), r.revision.desc(), r.column.desc())  # as above
    return connection.execute(query.order_by(*order).limit(1)).first()


def incidents_of(connection: Connection, stream: Stream, column: str) -> list[Any]:
    """Incidents of a model that a column has part in, within the range; the newest first, 20 at most.

    Returns
    -------
    list of rows
        ``id``, ``state``, ``severity``, ``start_ms``, ``opened_at_ms``, ``closed_at_ms``, ``summary``.
    """
    i, of, member = incident.c, incident_column.c, incident_alert.c
    query = (
        select(i.id, i.state, i.severity, i.start_ms, i.opened_at_ms, i.closed_at_ms, i.summary)
        .join(incident_column, of.incident_id == i.id)
        .where(of.column == column, i.start_ms < stream.to_ms)
        .where(or_(i.closed_at_ms.is_(None), i.closed_at_ms >= stream.from_ms))
        .where(exists().where(member.incident_id == i.id, member.model == stream.model))
    )
    return list(connection.execute(query.order_by(i.opened_at_ms.desc(), i.id).limit(MOST_LISTED)))


def promotions(connection: Connection, stream: Stream) -> list[Any]:
    """References that came into force within the range: ``from_ms``, ``hash``, ``promoted_by``."""
    p = reference_pointer.c
    query = select(p.from_ms, p.hash, p.promoted_by).where(
        p.model == stream.model,
        p.version == stream.version,
        p.from_ms >= stream.from_ms,
        p.from_ms < stream.to_ms,
    )
    return list(connection.execute(query.order_by(p.from_ms.desc()).limit(MOST_LISTED)))


def _in(stream: Stream, starts: Sequence[int]) -> Sequence[Any]:
    r = result.c
    newest = sorted(starts)[-MOST_WINDOWS:]
    return (
        r.model == stream.model,
        r.version == stream.version,
        r.window == stream.window,
        r.start_ms.in_(newest),
    )
