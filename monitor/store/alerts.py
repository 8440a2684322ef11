"""SQL of alerts: what is known of each incident, its changes, and the messages they cause.

Every function works on a connection inside the caller's transaction, so that results, alerts and messages
are written together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

from alerting.alert import OPEN_STATES, Alert, Change
from alerting.codec import from_bytes, to_bytes
from alerting.finding import Kind, WindowObservation, epoch_ms
from monitor.store import tables

MAX_NAME = 512


def load_for(connection: Connection, observation: WindowObservation) -> Alert | None:
    """Find the alert that a judged window speaks to, and keep other writers away from that incident.

    Parameters
    ----------
    connection : Connection
        Inside a write transaction (`monitor.store.engine.immediate`).
    observation : WindowObservation
        A first judgement speaks to the open alert. A revision speaks to the latest alert that began at or
        before the window, even if it is closed by now.

    Returns
    -------
    Alert or None
        To be given to `alerting.alert.step`.
    """
    lock_version(connection, observation.model, observation.version)
    if not observation.is_revision:
        return load_open(connection, observation.model, observation.version, observation.kind)
    columns = tables.alert.c
    newest = (
        _of(observation.model, observation.version, observation.kind)
        .where(columns.window_start_ms <= observation.start_ms)
        .order_by(columns.window_start_ms.desc(), columns.opened_at_ms.desc(), columns.id)
        .limit(1)
    )
    found = _first(connection, newest)
    # A window judged out of order can support an alert that began later.
    return found or load_open(connection, observation.model, observation.version, observation.kind)


def load_open(connection: Connection, model: str, version: str, kind: Kind) -> Alert | None:
    """Find the open alert of a model version and kind; there is at most one."""
    columns = tables.alert.c
    query = (
        _of(model, version, kind).where(columns.state.in_(OPEN_STATES)).order_by(columns.opened_at_ms.desc())
    )
    return _first(connection, query.limit(1))


def load(connection: Connection, alert_id: str) -> Alert | None:
    """Find an alert by its id."""
    return _first(connection, select(tables.alert.c.state_bytes).where(tables.alert.c.id == alert_id))


def load_to_change(connection: Connection, alert_id: str) -> Alert | None:
    """Find an alert that a person is about to change, and keep other writers away from its incident.

    Parameters
    ----------
    connection : Connection
        Inside a write transaction (`monitor.store.engine.immediate`).
    """
    seen = load(connection, alert_id)
    if seen is None:
        return None
    lock_version(connection, seen.model, seen.version)
    return load(connection, alert_id)  # whoever held the lock before may have changed it


def lock_version(connection: Connection, model: str, version: str) -> None:
    """Keep other transactions from opening or changing alerts of a model version until this one ends.

    SQLite's write transaction does so already; PostgreSQL takes an advisory lock, since there may be no row
    to lock yet. A transaction locks one model version, or several in the order of their names, and after that
    `monitor.store.incidents.lock` if an alert changes: so that none waits for another in a circle.
    """
    if connection.dialect.name == "postgresql":
        name = f"driftline.alert:{len(model)}:{model}:{len(version)}:{version}"
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def save(connection: Connection, alert: Alert, changes: Sequence[Change], now_ms: int) -> None:
    """Write an alert as it is now, and its changes.

    Parameters
    ----------
    alert : Alert
        As `alerting.alert.step` returned it; also to be saved when there was no change.
    changes : sequence of Change
        May be empty.
    now_ms : int
        Wall clock.

    Guarantees
    ----------
    Writing the same again changes nothing: identities are deterministic, and an older state never replaces a
    newer one.
    """
    _save_alert(connection, alert, now_ms)
    if changes:
        events = [_event_values(alert.id, change) for change in changes]
        _insert_or_ignore(connection, tables.alert_event, events, ["alert_id", "sequence"])


def _of(model: str, version: str, kind: Kind) -> Any:
    columns = tables.alert.c
    return select(columns.state_bytes).where(
        columns.model == model, columns.version == version, columns.kind == kind.value
    )


def _first(connection: Connection, query: Any) -> Alert | None:
    data = connection.execute(query).scalar_one_or_none()
    return None if data is None else from_bytes(bytes(data))


def _save_alert(connection: Connection, alert: Alert, now_ms: int) -> None:
    values = _alert_values(alert, now_ms)
    statement = _insert(connection, tables.alert).values(values)
    newer = {name: statement.excluded[name] for name in values if name != "id"}
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_=newer,
            where=statement.excluded.sequence >= tables.alert.c.sequence,
        )
    )


def _alert_values(alert: Alert, now_ms: int) -> dict[str, object]:
    return {
        "id": alert.id,
        "model": alert.model,
        "version": alert.version,
        "kind": alert.kind.value,
        "lane": alert.lane.value,
        "severity": alert.severity.value,
        "state": alert.state.value,
        "column": alert.column[:MAX_NAME],
        "segment": alert.segment[:MAX_NAME],
        "opened_at_ms": epoch_ms(alert.opened_at),
        "updated_at_ms": now_ms,
        "closed_at_ms": None if alert.closed_at is None else epoch_ms(alert.closed_at),
        "window_start_ms": epoch_ms(alert.window_start),
        "window_end_ms": epoch_ms(alert.window_end),
        "onset_at_ms": None if alert.onset_at is None else epoch_ms(alert.onset_at),
        "evidence_log": alert.evidence_log,
        "threshold_log": alert.threshold_log,
        "sequence": alert.sequence,
        "summary": alert.summary,
        "state_bytes": to_bytes(alert),
    }


def _event_values(alert_id: str, change: Change) -> dict[str, object]:
    return {
        "alert_id": alert_id,
        "sequence": change.sequence,
        "change": change.kind.value,
        "cause": change.cause,
        "actor": change.actor,
        "at_ms": epoch_ms(change.at),
    }


def _insert(connection: Connection, table: Table) -> Any:
    """Both dialects spell ON CONFLICT alike, but only their own ``insert`` knows it."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _insert_or_ignore(
    connection: Connection, table: Table, rows: list[dict[str, object]], key: list[str]
) -> None:
    connection.execute(_insert(connection, table).on_conflict_do_nothing(index_elements=key), rows)
