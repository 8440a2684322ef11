"""SQL of silences: who silenced what, until when."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select, update

from alerting.policy import Match
from alerting.silences import Silence, SilenceSource
from monitor.store.sql import insert_new
from monitor.store.tables import silence


def add(connection: Connection, one: Silence, now_ms: int) -> None:
    """Write a silence; one with the same id stays as it is."""
    values = {
        "id": one.id,
        "match": one.match.model_dump_json(exclude_defaults=True),
        "incident_id": one.incident_id,
        "from_ms": one.from_ms,
        "until_ms": one.until_ms,
        "actor": one.actor,
        "comment": one.comment,
        "source": one.source.value,
        "created_at_ms": now_ms,
    }
    insert_new(connection, silence, [values])


def is_known(connection: Connection, silence_id: str) -> bool:
    """Whether there is a silence of that id, also one that is over."""
    return (
        connection.execute(select(silence.c.id).where(silence.c.id == silence_id)).one_or_none() is not None
    )


def has_same(connection: Connection, one: Silence, since_ms: int) -> bool:
    """Whether the same person has made the same silence since then; it may begin that much earlier."""
    s = silence.c
    same = (
        s.match == one.match.model_dump_json(exclude_defaults=True),
        s.incident_id == one.incident_id,
        s.actor == one.actor,
        s.comment == one.comment,
        s.until_ms - s.from_ms == one.until_ms - one.from_ms,
        s.created_at_ms >= since_ms,
        s.from_ms >= min(since_ms, one.from_ms),
        s.from_ms <= one.from_ms,
        s.ended_by.is_(None),
    )
    return connection.execute(select(s.id).where(*same).limit(1)).first() is not None


def end(connection: Connection, silence_id: str, actor: str, now_ms: int) -> bool:
    """End a silence now; whether it was still to end."""
    statement = update(silence).where(silence.c.id == silence_id, silence.c.until_ms > now_ms)
    return connection.execute(statement.values(until_ms=now_ms, ended_by=actor)).rowcount == 1


def active(connection: Connection, now_ms: int) -> list[Silence]:
    """Read the silences that hold now."""
    columns = silence.c
    query = select(silence).where(columns.until_ms > now_ms, columns.from_ms <= now_ms).order_by(columns.id)
    return [read(row) for row in connection.execute(query)]


def read(row: Any) -> Silence:
    """Make a silence of a row."""
    return Silence(
        row.id,
        Match.model_validate(json.loads(row.match)),
        row.from_ms,
        row.until_ms,
        row.actor,
        row.comment,
        SilenceSource(row.source),
        row.incident_id,
    )
