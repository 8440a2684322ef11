"""The inbox: incidents by what people look for, the severest or the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, case, exists, func, literal, or_, select, tuple_

from monitor.store.tables import incident, incident_alert

RANKS = {"page": 2, "warn": 1}
Place = tuple[int, int, str]


@dataclass(frozen=True)
class InboxWanted:
    """Which incidents; None or empty: all.

    Parameters
    ----------
    states : sequence of str
    model : str, optional
        Incidents with an alert of this model.
    severity : str, optional
    text : str, optional
        A part of the summary or of the id, in letters of either case.
    from_ms, to_ms : int, optional
        Event time at which they were opened; the second is not part of it.
    is_severest_first : bool
        Otherwise the newest come first, whatever their severity.
    """

    states: Sequence[str] = ()
    model: str | None = None
    severity: str | None = None
    text: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    is_severest_first: bool = True


def inbox(connection: Connection, wanted: InboxWanted, after: Place | None, limit: int) -> list[Place]:
    """List incidents by what orders them.

    Parameters
    ----------
    wanted : InboxWanted
    after : Place, optional
        Of the last incident seen.
    limit : int
        Most incidents.

    Returns
    -------
    list of (int, int, str)
        Rank of the severity (0 where it does not order them), `opened_at_ms`, id.
    """
    i = incident.c
    rank: ColumnElement[int] = literal(0)
    if wanted.is_severest_first:
        rank = case(RANKS, value=i.severity, else_=0)
    query = _narrowed(select(rank.label("rank"), i.opened_at_ms, i.id), wanted)
    if after is not None:
        query = query.where(tuple_(rank, i.opened_at_ms, i.id) < tuple_(*after))
    order = (rank.desc(),) if wanted.is_severest_first else ()
    rows = connection.execute(query.order_by(*order, i.opened_at_ms.desc(), i.id.desc()).limit(limit))
    return [(int(row.rank), int(row.opened_at_ms), str(row.id)) for row in rows]


def totals(connection: Connection) -> dict[str, int]:
    """Count the incidents of each state."""
    i = incident.c
    found = connection.execute(select(i.state, func.count()).group_by(i.state))
    return {str(state): int(total) for state, total in found}


def _narrowed(query: Select[tuple[int, int, str]], wanted: InboxWanted) -> Select[tuple[int, int, str]]:
    i, member = incident.c, incident_alert.c
    if wanted.states:
        query = query.where(i.state.in_(list(wanted.states)))
    if wanted.model is not None:
        query = query.where(exists().where(member.incident_id == i.id, member.model == wanted.model))
    if wanted.severity is not None:
        query = query.where(i.severity == wanted.severity)
    if wanted.text is not None:
        same = (column.icontains(wanted.text, autoescape=True) for column in (i.summary, i.id, i.model))
        query = query.where(or_(*same))
    if wanted.from_ms is not None:
        query = query.where(i.opened_at_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        query = query.where(i.opened_at_ms < wanted.to_ms)
    return query
