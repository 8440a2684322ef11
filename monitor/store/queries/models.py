"""What is known of each model: its versions, how many rows, which reference, what was judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, select

from alerting.alert import OPEN_STATES
from monitor.store.queries.times import newest_events
from monitor.store.tables import (
    alert,
    judgement,
    model_column,
    model_version,
    reference_pointer,
    slice_profile,
)

Key = tuple[str, str]


@dataclass(frozen=True)
class VersionRow:
    """One version of a model; instants are epoch milliseconds.

    `reference_hash` is None while the first reference is being learned; `reference_from_ms` is the first
    slice that is judged against it.
    """

    version: str
    role: str
    first_slice_ms: int
    created_at_ms: int
    last_slice_ms: int | None
    rows: int
    reference_hash: str | None
    reference_from_ms: int | None
    windows_judged: int


@dataclass
class ModelRow:
    """One model, with its versions in order of their first slice."""

    model: str
    last_event_ms: int | None = None
    open_alerts: int = 0
    versions: list[VersionRow] = field(default_factory=list)


def models(connection: Connection, after: str | None, limit: int) -> list[ModelRow]:
    """List models by name.

    Parameters
    ----------
    after : str or None
        Begin behind this name.
    limit : int
        Most models.
    """
    query = select(model_version.c.model).distinct().order_by(model_version.c.model).limit(limit)
    if after is not None:
        query = query.where(model_version.c.model > after)
    names = list(connection.execute(query).scalars())
    found = {name: ModelRow(name) for name in names}
    _add_versions(connection, found)
    _add_events(connection, found)
    return list(found.values())


def model_exists(connection: Connection, model: str) -> bool:
    """Whether any version of a model has been seen."""
    query = select(model_version.c.model).where(model_version.c.model == model).limit(1)
    return connection.execute(query).first() is not None


def versions_of(connection: Connection, model: str) -> list[str]:
    """Name the versions of a model that were seen, in order."""
    query = select(model_version.c.version).where(model_version.c.model == model)
    return sorted(set(connection.execute(query).scalars()))


def column_names(connection: Connection, model: str) -> list[str]:
    """Registered columns of all versions of a model, sorted."""
    query = select(model_column.c.name).distinct().where(model_column.c.model == model)
    return sorted(connection.execute(query).scalars())


def _add_versions(connection: Connection, found: dict[str, ModelRow]) -> None:
    names = list(found)
    counts = _by_version(
        connection, slice_profile, names, func.sum(slice_profile.c.rows), func.max(slice_profile.c.slice_ms)
    )
    # The first revision of every window: the unique index of the table answers this alone.
    judged = _by_version(connection, judgement, names, func.count(), where=judgement.c.revision == 1)
    pointers = _newest_pointers(connection, names)
    query = select(model_version).where(model_version.c.model.in_(names))
    for row in connection.execute(query.order_by(model_version.c.first_slice_ms, model_version.c.version)):
        key = (row.model, row.version)
        rows, last = counts.get(key, (0, None))
        hash_, from_ms = pointers.get(key, (None, None))
        version = VersionRow(
            row.version,
            row.role,
            row.first_slice_ms,
            row.created_at_ms,
            last,
            int(rows),
            hash_,
            from_ms,
            judged.get(key, (0,))[0],
        )
        found[row.model].versions.append(version)


def _add_events(connection: Connection, found: dict[str, ModelRow]) -> None:
    for model, at_ms in newest_events(connection, list(found)).items():
        found[model].last_event_ms = at_ms
    for model, number in open_alerts(connection, list(found)).items():
        found[model].open_alerts = number


def open_alerts(connection: Connection, names: list[str]) -> dict[str, int]:
    """Number of open alerts of each of some models; models without one are left out."""
    query = (
        select(alert.c.model, func.count())
        .where(alert.c.model.in_(names), alert.c.state.in_(OPEN_STATES))
        .group_by(alert.c.model)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _by_version(
    connection: Connection,
    table: Table,
    names: list[str],
    *wanted: ColumnElement[Any],
    where: ColumnElement[bool] | None = None,
) -> dict[Key, tuple[Any, ...]]:
    """Aggregates of a table for each version of some models."""
    columns = table.c
    query = select(columns.model, columns.version, *wanted).where(columns.model.in_(names))
    if where is not None:
        query = query.where(where)
    rows: list[Any] = list(connection.execute(query.group_by(columns.model, columns.version)))
    return {(row[0], row[1]): tuple(row[2:]) for row in rows}


def _newest_pointers(connection: Connection, names: list[str]) -> dict[Key, tuple[str, int]]:
    query = (
        select(reference_pointer)
        .where(reference_pointer.c.model.in_(names))
        .order_by(reference_pointer.c.revision)
    )
    return {(row.model, row.version): (row.hash, row.from_ms) for row in connection.execute(query)}
