"""References, newest first, and which model versions they are used by."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, tuple_

from monitor.store.tables import reference, reference_pointer


def references(connection: Connection, after: tuple[int, str] | None, limit: int) -> list[Any]:
    """List references without their bytes.

    Parameters
    ----------
    after : (int, str) or None
        `created_at_ms` and `hash` of the last one seen.
    limit : int
        Most references.
    """
    columns = reference.c
    query = select(columns.hash, columns.rows, columns.metadata, columns.created_at_ms)
    if after is not None:
        query = query.where(tuple_(columns.created_at_ms, columns.hash) < tuple_(*after))
    query = query.order_by(columns.created_at_ms.desc(), columns.hash.desc()).limit(limit)
    return list(connection.execute(query))


def reference_of(connection: Connection, hash_: str) -> Any | None:
    """Read one reference with its bytes; None if there is none of that hash."""
    return connection.execute(select(reference).where(reference.c.hash == hash_)).one_or_none()


def uses(connection: Connection, hashes: list[str]) -> dict[str, list[Any]]:
    """Pointers of model versions to some references, in order."""
    pointer = reference_pointer.c
    query = select(reference_pointer).where(pointer.hash.in_(hashes))
    found: dict[str, list[Any]] = {}
    for row in connection.execute(query.order_by(pointer.model, pointer.version, pointer.revision)):
        found.setdefault(row.hash, []).append(row)
    return found


def pointers(connection: Connection, model: str, versions: set[str]) -> list[Any]:
    """Pointers of some versions of a model, oldest first."""
    pointer = reference_pointer.c
    query = select(reference_pointer).where(pointer.model == model, pointer.version.in_(versions))
    order = (pointer.promoted_at_ms, pointer.from_ms, pointer.version, pointer.revision)
    return list(connection.execute(query.order_by(*order)))
