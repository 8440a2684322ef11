"""Incidents, newest first; what happened to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, exists, select, tuple_

from monitor.store.tables import incident, incident_alert, incident_event

MOST_EVENTS = 500


def incident_ids(
    connection: Connection,
    states: Sequence[str],
    model: str | None,
    after: tuple[int, str] | None,
    limit: int,
) -> list[tuple[int, str]]:
    """List incidents by the end of the window that opened them, the latest first.

    Parameters
    ----------
    states : sequence of str
        Only incidents in one of these states; empty: any.
    model : str or None
        Only incidents with an alert of this model.
    after : (int, str) or None
        `opened_at_ms` and `id` of the last incident seen.
    limit : int
    """
    i, member = incident.c, incident_alert.c
    query = select(i.opened_at_ms, i.id)
    if states:
        query = query.where(i.state.in_(list(states)))
    if model is not None:
        query = query.where(exists().where(member.incident_id == i.id, member.model == model))
    if after is not None:
        query = query.where(tuple_(i.opened_at_ms, i.id) < tuple_(*after))
    rows = connection.execute(query.order_by(i.opened_at_ms.desc(), i.id.desc()).limit(limit))
    return [(int(row.opened_at_ms), str(row.id)) for row in rows]


def events(connection: Connection, incident_id: str) -> list[Any]:
    """Everything that happened to an incident, in order; the latest 500 of it."""
    columns = incident_event.c
    query = select(incident_event).where(columns.incident_id == incident_id)
    return list(connection.execute(query.order_by(columns.sequence.desc()).limit(MOST_EVENTS)))[::-1]
