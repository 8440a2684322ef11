"""Models with a contract: those that were judged by one, with their latest revision."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from monitor.store.tables import contract_revision, model_version


@dataclass(frozen=True)
class Agreed:
    """The contract that a model is judged by: how many revisions, and since when the last holds."""

    model: str
    revisions: int
    since_ms: int


def agreed_models(connection: Connection) -> dict[str, Agreed]:
    """List the models that windows of were judged by a contract."""
    c = contract_revision.c
    query = select(c.model, func.max(c.revision), func.max(c.since_ms)).group_by(c.model)
    return {row[0]: Agreed(*row) for row in connection.execute(query)}


def is_watched(connection: Connection, model: str) -> bool:
    """Whether a model was ever seen."""
    query = select(model_version.c.model).where(model_version.c.model == model).limit(1)
    return connection.execute(query).first() is not None
