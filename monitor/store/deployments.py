"""SQL of deployments: which version of a model came when."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, exists, func, select

from monitor.store.sql import insert_new
from monitor.store.tables import deployment, model_version


def add(connection: Connection, values: dict[str, Any]) -> None:
    """Write a deployment; one with the same id stays as it is."""
    insert_new(connection, deployment, [values])


def get(connection: Connection, id_: str) -> Any:
    """Read one deployment; None if there is none."""
    return connection.execute(select(deployment).where(deployment.c.id == id_)).one_or_none()


def unnoted(connection: Connection, limit: int) -> list[Any]:
    """List versions that send events and of which no deployment is known, but for the first of each model."""
    v, other = model_version.c, model_version.alias("other")
    known = exists().where(and_(deployment.c.model == v.model, deployment.c.version == v.version))
    earlier = exists().where(
        other.c.model == v.model, other.c.version != v.version, other.c.created_at_ms < v.created_at_ms
    )
    query = select(model_version).where(v.role == "champion", ~known, earlier)
    return list(connection.execute(query.order_by(v.created_at_ms, v.model, v.version).limit(limit)))


def next_of(connection: Connection, model: str, but: str, since_ms: int) -> Any:
    """Read the first deployment of another version of a model since an instant; None if there was none."""
    d = deployment.c
    query = select(deployment).where(d.model == model, d.version != but, d.at_ms >= since_ms)
    return connection.execute(query.order_by(d.at_ms, d.id).limit(1)).one_or_none()


def first_slice_ms(connection: Connection, model: str, version: str) -> int | None:
    """Event time of the first slice of a version."""
    v = model_version.c
    query = select(func.min(v.first_slice_ms)).where(v.model == model, v.version == version)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else int(found)
