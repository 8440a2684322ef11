"""Which model version is judged against which reference from when on: every pointer, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, select, tuple_

from monitor.store.tables import reference, reference_pointer

After = tuple[str, str, int]


@dataclass(frozen=True)
class Promotion:
    """A reference that a model version was given; instants are epoch milliseconds."""

    model: str
    version: str
    revision: int
    hash: str
    from_ms: int
    promoted_at_ms: int
    promoted_by: str
    rows: int
    metadata: str


def promotions(connection: Connection, model: str | None, after: After | None, limit: int) -> list[Promotion]:
    """List promotions by model, version and revision.

    Parameters
    ----------
    connection : Connection
    model : str or None
        Only of this model.
    after : (str, str, int) or None
        Model, version and revision of the last one seen.
    limit : int
    """
    p, r = reference_pointer.c, reference.c
    columns = (p.model, p.version, p.revision, p.hash, p.from_ms, p.promoted_at_ms, p.promoted_by)
    query = select(*columns, r.rows, r.metadata).join(reference, r.hash == p.hash)
    if model is not None:
        query = query.where(p.model == model)
    if after is not None:
        query = query.where(tuple_(p.model, p.version, p.revision) > tuple_(*after))
    query = query.order_by(p.model, p.version, p.revision).limit(limit)
    return [Promotion(*row) for row in connection.execute(query)]


def unused(connection: Connection, limit: int) -> list[Any]:
    """List references that no model version uses, the newest first, without their bytes."""
    r = reference.c
    is_used = exists().where(reference_pointer.c.hash == r.hash)
    query = select(r.hash, r.rows, r.created_at_ms).where(~is_used).order_by(r.created_at_ms.desc(), r.hash)
    return list(connection.execute(query.limit(limit)))
