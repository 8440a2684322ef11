"""What tells how every model is: a few statements, however many slices and results there are."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, exists, func, select

from alerting.alert import OPEN_STATES
from monitor.store.tables import (
    alert,
    dead_letter,
    incident,
    incident_alert,
    ledger,
    model_version,
    outcome_ledger,
    partition_model,
    partition_state,
    reference_pointer,
)


@dataclass(frozen=True)
class Seen:
    """A model, and the version of it that came last.

    Parameters
    ----------
    model, version : str
    first_slice_ms : int
        First slice of any version, epoch milliseconds.
    is_learning : bool
        The version has no reference yet.
    """

    model: str
    version: str
    first_slice_ms: int
    is_learning: bool


@dataclass(frozen=True)
class Arrival:
    """Newest event of a model: its own time, and the wall clock when it arrived; epoch milliseconds."""

    newest_ms: int
    arrived_ms: int


@dataclass(frozen=True)
class OpenIncident:
    """An open incident as one of its models sees it: how bad the alerts of that model are."""

    model: str
    id: str
    state: str
    severity: str


def models_seen(connection: Connection) -> dict[str, Seen]:
    """Every model by name; a champion that came last counts before challengers and shadows."""
    v, p = model_version.c, reference_pointer.c
    has_reference = exists().where(p.model == v.model, p.version == v.version)
    query = select(v.model, v.version, v.role, v.first_slice_ms, has_reference)
    latest: dict[str, tuple[tuple[bool, int, str], bool]] = {}
    first: dict[str, int] = {}
    for model, version, role, first_ms, is_ready in connection.execute(query):
        key = (role == "champion", first_ms, version)
        if model not in latest or key > latest[model][0]:
            latest[model] = (key, bool(is_ready))
        first[model] = min(first_ms, first.get(model, first_ms))
    return {
        model: Seen(model, key[2], first[model], not is_ready)
        for model, (key, is_ready) in sorted(latest.items())
    }


def arrivals(connection: Connection) -> dict[str, Arrival]:
    """Newest prediction of each model; models without one are left out."""
    m, p = partition_model.c, partition_state.c
    query = (
        select(m.model, func.max(m.max_event_ms), func.max(m.arrived_at_ms))
        .join(partition_state, and_(p.topic == m.topic, p.partition == m.partition))
        .where(p.kind == "predictions")
        .group_by(m.model)
    )
    return {row[0]: Arrival(int(row[1]), int(row[2])) for row in connection.execute(query)}


def open_incidents(connection: Connection) -> list[OpenIncident]:
    """Open incidents with every model that has an open alert in them; an entry for each severity."""
    i, member, a = incident.c, incident_alert.c, alert.c
    query = (
        select(a.model, i.id, i.state, a.severity)
        .select_from(incident)
        .join(incident_alert, member.incident_id == i.id)
        .join(alert, a.id == member.alert_id)
        .where(i.state.in_(OPEN_STATES), a.state.in_(OPEN_STATES))
        .distinct()
    )
    rows = connection.execute(query)
    return [OpenIncident(row.model, row.id, row.state, row.severity) for row in rows]


def open_by_severity(connection: Connection) -> dict[str, int]:
    """Number of open incidents of each severity; those without are left out."""
    i = incident.c
    query = select(i.severity, func.count()).where(i.state.in_(OPEN_STATES)).group_by(i.severity)
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def letters_since(connection: Connection, from_ms: int) -> int:
    """Number of dead letters that were stored since an instant of the wall clock."""
    query = select(func.count()).select_from(dead_letter).where(dead_letter.c.stored_at_ms >= from_ms)
    return int(connection.execute(query).scalar_one())


def spent_total(connection: Connection, from_ms: int, to_ms: int) -> float:
    """False alarms that windows could cost which ended after `from_ms` and not after `to_ms`."""
    total = 0.0
    for table in (ledger, outcome_ledger):
        query = select(func.sum(table.c.spent)).where(table.c.end_ms > from_ms, table.c.end_ms <= to_ms)
        total += connection.execute(query).scalar() or 0.0
    return total
