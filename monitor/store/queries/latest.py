"""The latest judged window of every model version, for the metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from monitor.store.tables import judgement, model_version, result

PORTION = 200


@dataclass(frozen=True)
class Latest:
    """Latest judgement of a model version; instants are epoch milliseconds."""

    judgement_id: int
    model: str
    version: str
    start_ms: int
    end_ms: int
    reference_hash: str | None


def version_total(connection: Connection) -> int:
    """Number of model versions."""
    return int(connection.execute(select(func.count()).select_from(model_version)).scalar_one())


def latest_judgements(connection: Connection, shape_of: Callable[[str], str], limit: int) -> list[Latest]:
    """Find the newest revision of the newest judged window of each model version.

    Parameters
    ----------
    connection : Connection
    shape_of : callable
        Shape of the window that counts for a model: ``1h``.
    limit : int
        Most model versions, by name.

    Notes
    -----
    One descent of the unique index of ``judgement`` for each version, however many windows have been judged.
    """
    versions = select(model_version.c.model, model_version.c.version)
    by_name = (model_version.c.model, model_version.c.version)
    keys = [(row.model, row.version) for row in connection.execute(versions.order_by(*by_name).limit(limit))]
    shapes: dict[str, set[str]] = {}
    for model, _ in keys:
        shapes.setdefault(shape_of(model), set()).add(model)
    found = []
    for shape, names in shapes.items():
        found += [row for row in _latest(connection, shape, limit) if row.model in names]
    return sorted(found, key=lambda row: (row.model, row.version))


def _latest(connection: Connection, shape: str, limit: int) -> list[Latest]:
    of = judgement.alias("of_version")
    newest = (
        select(of.c.id)
        .where(
            of.c.model == model_version.c.model,
            of.c.version == model_version.c.version,
            of.c.window == shape,
        )
        .order_by(of.c.start_ms.desc(), of.c.revision.desc())
        .limit(1)
        .correlate(model_version)
        .scalar_subquery()
    )
    which = (
        select(newest.label("id"))
        .select_from(model_version)
        .order_by(model_version.c.model, model_version.c.version)
        .limit(limit)
    ).subquery()
    j = judgement.c
    query = select(j.id, j.model, j.version, j.start_ms, j.end_ms, j.reference_hash).join(
        which, which.c.id == j.id
    )
    return [Latest(*row) for row in connection.execute(query)]


def effects(connection: Connection, judgement_ids: list[int], names: tuple[str, ...]) -> list[Any]:
    """Effect sizes of some judgements, of all rows without segments, by column.

    Returns
    -------
    list of rows
        ``judgement_id``, ``column``, ``lane``, ``evidence_log`` and the named effects; one row for each
        detector of a column.
    """
    columns = result.c
    always = (columns.judgement_id, columns.column, columns.lane, columns.evidence_log)
    wanted = [*always, *(columns[name] for name in names)]
    found: list[Any] = []
    for first in range(0, len(judgement_ids), PORTION):
        part = judgement_ids[first : first + PORTION]
        query = select(*wanted).where(columns.judgement_id.in_(part), columns.segment == "")
        found += connection.execute(query.order_by(columns.id))
    return found
