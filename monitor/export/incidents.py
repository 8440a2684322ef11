"""Incidents with an alert of a model: a row for each, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, exists, select, tuple_

from monitor.export.wanted import Wanted
from monitor.export.writing import INSTANT, Rows
from monitor.store.tables import alert, incident, incident_alert, incident_column

AT_ONCE = 500

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("model", pa.string()),
        ("version", pa.string()),
        ("kind", pa.string()),
        ("severity", pa.string()),
        ("state", pa.string()),
        ("started_at", INSTANT),
        ("opened_at", INSTANT),
        ("closed_at", INSTANT),
        ("updated_at", INSTANT),
        ("changes", pa.int64()),
        ("alerts", pa.int64()),
        ("models", pa.list_(pa.string())),
        ("columns", pa.list_(pa.string())),
        ("summary", pa.string()),
    ]
)
_SAME = ("id", "model", "version", "kind", "severity", "state", "summary")
_INSTANTS = {
    "started_at": "start_ms", "opened_at": "opened_at_ms", "closed_at": "closed_at_ms",
    "updated_at": "updated_at_ms",
}  # fmt: skip


def portions(connection: Connection, wanted: Wanted) -> Iterator[Rows]:
    """Read incidents that were opened in the range; of one version: with an alert of it."""
    i, member = incident.c, incident_alert.c
    mine = [member.incident_id == i.id, member.model == wanted.model]
    if wanted.version is not None:
        a = alert.c
        of_version = (a.model == wanted.model, a.version == wanted.version)
        mine.append(member.alert_id.in_(select(a.id).where(*of_version)))
    query = select(incident).where(exists().where(*mine), *wanted.within(i.opened_at_ms))
    query = query.order_by(i.opened_at_ms.desc(), i.id.desc()).limit(AT_ONCE)
    following = query
    while rows := connection.execute(following).all():
        following = query.where(tuple_(i.opened_at_ms, i.id) < tuple_(rows[-1].opened_at_ms, rows[-1].id))
        yield _rows(connection, rows)


def _rows(connection: Connection, rows: Sequence[Any]) -> Rows:
    ids = [row.id for row in rows]
    alerts: dict[str, list[str]] = {id_: [] for id_ in ids}
    columns: dict[str, list[str]] = {id_: [] for id_ in ids}
    member, named = incident_alert.c, incident_column.c
    for row in connection.execute(
        select(member.incident_id, member.model).where(member.incident_id.in_(ids))
    ):
        alerts[row.incident_id].append(row.model)
    for row in connection.execute(select(named.incident_id, named.column).where(named.incident_id.in_(ids))):
        columns[row.incident_id].append(row.column)
    return [
        {
            **{name: getattr(row, name) for name in _SAME},
            **{name: getattr(row, stored_as) for name, stored_as in _INSTANTS.items()},
            "changes": row.sequence,
            "alerts": len(alerts[row.id]),
            "models": sorted(set(alerts[row.id])),
            "columns": sorted(columns[row.id]),
        }
        for row in rows
    ]
