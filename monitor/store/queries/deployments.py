"""Deployments, newest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, tuple_

from monitor.store.tables import deployment


def deployments(
    connection: Connection, model: str | None, after: tuple[int, str] | None, limit: int
) -> list[Any]:
    """List deployments, the latest first."""
    columns = deployment.c
    query = select(deployment)
    if model is not None:
        query = query.where(columns.model == model)
    if after is not None:
        query = query.where(tuple_(columns.at_ms, columns.id) < tuple_(*after))
    return list(connection.execute(query.order_by(columns.at_ms.desc(), columns.id.desc()).limit(limit)))
