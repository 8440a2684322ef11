"""SQL of deliveries: which messages are due, who is sending them, what became of them.

A row waits until it is delivered, superseded or dead. Whoever sends it holds a lease; when that runs out,
anyone may take the row.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from alerting.outbox import OutboxRow
from monitor.store.sql import insert_new
from monitor.store.tables import incident, outbox, receiver_state

WAITING, DELIVERED, SUPERSEDED, DEAD = "waiting", "delivered", "superseded", "dead"
MAX_ERROR = 500


@dataclass(frozen=True)
class ClaimedRow:
    """A message that this process may send until the lease runs out."""

    id: str
    alert_id: str
    sequence: int
    receiver: str
    payload: str
    attempts: int
    created_at_ms: int
    lease_until_ms: int
    lease_token: str


def add(connection: Connection, rows: Sequence[OutboxRow], now_ms: int) -> None:
    """Write messages; those that are there already stay as they are."""
    insert_new(
        connection,
        outbox,
        [
            {
                "id": row.id, "alert_id": row.alert_id, "sequence": row.sequence, "receiver": row.receiver,
                "payload": row.payload, "state": WAITING, "attempts": 0,
                "not_before_ms": max(now_ms, row.not_before_ms),
                "lease_until_ms": 0, "created_at_ms": now_ms,
            }
            for row in rows
        ],
    )  # fmt: skip


def due_receivers(connection: Connection, now_ms: int) -> set[str]:
    """Name the receivers that have a message which could be sent now."""
    return set(connection.execute(select(outbox.c.receiver).where(_free(now_ms)).distinct()).scalars())


def supersede(connection: Connection, receiver: str, now_ms: int) -> int:
    """Drop waiting messages of which the same receiver was told something newer, or will be.

    Who shows the latest alone would show what is over by now: a message that was given up and revived comes
    after those that followed it.

    Returns
    -------
    int
        How many.
    """
    newer = outbox.alias("newer")
    replaced = exists().where(
        newer.c.receiver == outbox.c.receiver,
        newer.c.alert_id == outbox.c.alert_id,
        newer.c.sequence > outbox.c.sequence,
        newer.c.state.in_([WAITING, DELIVERED]),
    )
    statement = update(outbox).where(
        outbox.c.receiver == receiver, outbox.c.state == WAITING, outbox.c.lease_until_ms <= now_ms, replaced
    )
    return connection.execute(statement.values(state=SUPERSEDED, finished_at_ms=now_ms)).rowcount


def claim(
    connection: Connection, receiver: str, now_ms: int, lease_until_ms: int, token: str, limit: int
) -> list[ClaimedRow]:
    """Take a lease on due messages of one receiver.

    Parameters
    ----------
    token : str
        Fresh and random for every call.
    limit : int
        Most rows to take.

    Returns
    -------
    list of ClaimedRow
        Oldest first. Of one alert at most one: a message is due only when no earlier one of the same alert
        still waits.
    """
    earlier = outbox.alias("earlier")
    blocked = exists().where(
        earlier.c.receiver == outbox.c.receiver,
        earlier.c.alert_id == outbox.c.alert_id,
        earlier.c.sequence < outbox.c.sequence,
        earlier.c.state == WAITING,
    )
    due = (
        select(outbox)
        .where(_free(now_ms), outbox.c.receiver == receiver, ~blocked)
        .order_by(outbox.c.not_before_ms, outbox.c.created_at_ms, outbox.c.sequence, outbox.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=outbox)
    )
    rows = connection.execute(due).all()
    if rows:
        taken = update(outbox).where(outbox.c.id.in_([row.id for row in rows]), _free(now_ms))
        connection.execute(taken.values(lease_until_ms=lease_until_ms, lease_token=token))
    return [
        ClaimedRow(
            row.id,
            row.alert_id,
            row.sequence,
            row.receiver,
            row.payload,
            row.attempts,
            row.created_at_ms,
            lease_until_ms,
            token,
        )
        for row in rows
    ]


def sent_since(connection: Connection, receiver: str, since_ms: int) -> list[int]:
    """List when messages were delivered to a receiver since an instant, the earliest first."""
    query = select(outbox.c.finished_at_ms).where(
        outbox.c.receiver == receiver, outbox.c.state == DELIVERED, outbox.c.finished_at_ms > since_ms
    )
    return sorted(int(at_ms) for at_ms in connection.execute(query).scalars())


def lock_receiver(connection: Connection, receiver: str) -> None:
    """Let one transaction at a time find out how many messages a receiver may still be sent.

    SQLite's write transaction does so already.
    """
    if connection.dialect.name == "postgresql":
        name = f"driftline.receiver:{receiver}"
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def in_hand(connection: Connection, receiver: str, now_ms: int) -> int:
    """Number of messages that somebody is sending to a receiver now."""
    query = select(func.count()).where(
        outbox.c.receiver == receiver, outbox.c.state == WAITING, outbox.c.lease_until_ms > now_ms
    )
    return int(connection.execute(query).scalar_one())


def due_rows(connection: Connection, receiver: str, now_ms: int, limit: int) -> list[Any]:
    """Read messages that could be sent to a receiver now, the earliest first, and hold on to them."""
    query = select(outbox).where(_free(now_ms), outbox.c.receiver == receiver)
    query = query.order_by(outbox.c.created_at_ms, outbox.c.sequence, outbox.c.id).limit(limit)
    return list(connection.execute(query.with_for_update(skip_locked=True, of=outbox)))


def fold(connection: Connection, ids: Sequence[str], into: OutboxRow, now_ms: int) -> None:
    """Let one message stand for several that wait."""
    values = {"state": SUPERSEDED, "finished_at_ms": now_ms, "last_error": f"listed in {into.id}"}
    connection.execute(update(outbox).where(outbox.c.id.in_(list(ids))).values(values))
    add(connection, [into], now_ms)


def send_again(connection: Connection, receiver: str, delivered_before_ms: int, now_ms: int) -> int:
    """Let the latest message about each open incident wait again, if it was delivered before an instant.

    Returns
    -------
    int
        How many.
    """
    newer, known = outbox.alias("newer"), incident.c
    later = exists().where(
        newer.c.receiver == outbox.c.receiver,
        newer.c.alert_id == outbox.c.alert_id,
        newer.c.sequence > outbox.c.sequence,
    )
    open_now = select(known.id).where(known.state.in_(["firing", "acknowledged"]))
    statement = update(outbox).where(
        outbox.c.receiver == receiver,
        # Few, whatever was ever sent; "not in" keeps the planner from going through all that was delivered.
        outbox.c.alert_id.in_(open_now),
        outbox.c.state.not_in([WAITING, SUPERSEDED, DEAD]),
        outbox.c.finished_at_ms <= delivered_before_ms,
        ~later,
    )
    due = {"state": WAITING, "not_before_ms": now_ms, "created_at_ms": now_ms, "attempts": 0}
    return connection.execute(
        statement.values({**due, "lease_until_ms": 0, "lease_token": None, "finished_at_ms": None})
    ).rowcount


def mark_delivered(
    connection: Connection, row: ClaimedRow, now_ms: int, state: dict[str, Any] | None
) -> None:
    """Record that a message arrived, whoever holds the lease by now, and what the notifier wants kept.

    Parameters
    ----------
    state : dict or None
        Replaces what is kept about the alert; from a row that was finished already, only where nothing is
        kept.
    """
    values = {"state": DELIVERED, "finished_at_ms": now_ms, "attempts": row.attempts + 1, "last_error": None}
    was_waiting = _finish(connection, outbox.c.id == row.id, values)
    if state is None:
        return
    if was_waiting or get_receiver_state(connection, row.receiver, row.alert_id) is None:
        set_receiver_state(connection, row.receiver, row.alert_id, state)


def mark_retry(connection: Connection, row: ClaimedRow, not_before_ms: int, error: str) -> bool:
    """Record a failed attempt and when the next one may be made; only as long as the lease is ours."""
    values = {"attempts": row.attempts + 1, "not_before_ms": not_before_ms, "last_error": _storable(error)}
    return _finish(connection, _ours(row), {**values, "lease_until_ms": 0, "lease_token": None})


def mark_dead(connection: Connection, row: ClaimedRow, now_ms: int, error: str) -> bool:
    """Give a message up, with the reason that people are shown; only as long as the lease is ours."""
    values = {"state": DEAD, "attempts": row.attempts + 1, "finished_at_ms": now_ms}
    return _finish(connection, _ours(row), {**values, "last_error": _storable(error)})


def release(connection: Connection, rows: Collection[ClaimedRow], not_before_ms: int) -> None:
    """Give rows back that were not tried."""
    for row in rows:
        values = {"lease_until_ms": 0, "lease_token": None, "not_before_ms": not_before_ms}
        _finish(connection, _ours(row), values)


def bury(connection: Connection, receiver: str, now_ms: int, reason: str) -> int:
    """Give up every waiting message of a receiver that nobody is sending.

    Returns
    -------
    int
        How many.
    """
    waiting = (outbox.c.receiver == receiver, outbox.c.state == WAITING, outbox.c.lease_until_ms <= now_ms)
    values = {"state": DEAD, "finished_at_ms": now_ms, "last_error": _storable(reason)}
    return connection.execute(update(outbox).where(*waiting).values(values)).rowcount


def bury_unknown(connection: Connection, known: Collection[str], now_ms: int, created_before_ms: int) -> int:
    """Give up old messages to receivers that are in no configuration any more.

    Returns
    -------
    int
        How many.
    """
    statement = update(outbox).where(
        outbox.c.state == WAITING,
        outbox.c.receiver.not_in(known),
        outbox.c.created_at_ms < created_before_ms,
        outbox.c.lease_until_ms <= now_ms,
    )
    values = {
        "state": DEAD,
        "finished_at_ms": now_ms,
        "last_error": "the receiver is not configured any more",
    }
    return connection.execute(statement.values(values)).rowcount


def revive(connection: Connection, receiver: str, now_ms: int) -> int:
    """Let dead messages wait again after a person has mended the receiver, and forget that it was disabled.

    Returns
    -------
    int
        How many.
    """
    set_receiver_state(connection, receiver, "", None)
    statement = update(outbox).where(outbox.c.receiver == receiver, outbox.c.state == DEAD)
    due = {"state": WAITING, "attempts": 0, "not_before_ms": now_ms, "created_at_ms": now_ms}
    free = {"lease_until_ms": 0, "lease_token": None, "finished_at_ms": None}
    return connection.execute(statement.values({**due, **free})).rowcount


def revive_one(connection: Connection, delivery_id: str, now_ms: int) -> Any:
    """Let one dead message wait again; other messages stay as they are.

    Returns
    -------
    row or None
        The message as it is now; None if there is none of that id.
    """
    dead = (outbox.c.id == delivery_id, outbox.c.state == DEAD)
    due = {"state": WAITING, "attempts": 0, "not_before_ms": now_ms, "created_at_ms": now_ms}
    free = {"lease_until_ms": 0, "lease_token": None, "finished_at_ms": None}
    revived = connection.execute(update(outbox).where(*dead).values({**due, **free})).rowcount
    row = connection.execute(select(outbox).where(outbox.c.id == delivery_id)).one_or_none()
    if revived and row is not None:
        set_receiver_state(connection, row.receiver, "", None)
    return row


def get_receiver_state(connection: Connection, receiver: str, alert_id: str) -> dict[str, Any] | None:
    """Read what was kept about a receiver and an alert, or (empty id) about the receiver itself."""
    query = select(receiver_state.c.state).where(
        receiver_state.c.receiver == receiver, receiver_state.c.alert_id == alert_id
    )
    text = connection.execute(query).scalar_one_or_none()
    if text is None:
        return None
    state: dict[str, Any] = json.loads(text)
    return state


def set_receiver_state(
    connection: Connection, receiver: str, alert_id: str, state: dict[str, Any] | None
) -> None:
    """Keep something about a receiver and an alert, or forget it."""
    key = {"receiver": receiver, "alert_id": alert_id}
    if state is None:
        connection.execute(
            delete(receiver_state).where(
                receiver_state.c.receiver == receiver, receiver_state.c.alert_id == alert_id
            )
        )
        return
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(receiver_state).values({**key, "state": json.dumps(state, sort_keys=True)})
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(key), set_={"state": statement.excluded.state})
    )


def _storable(text: str) -> str:
    """Shorten what a receiver may have said; PostgreSQL keeps no NUL."""
    return text[:MAX_ERROR].replace("\0", "")


def _free(now_ms: int) -> ColumnElement[bool]:
    """Waiting, due, and in nobody's hands."""
    due = (outbox.c.state == WAITING) & (outbox.c.not_before_ms <= now_ms)
    return due & (outbox.c.lease_until_ms <= now_ms)


def _ours(row: ClaimedRow) -> ColumnElement[bool]:
    return (outbox.c.id == row.id) & (outbox.c.lease_token == row.lease_token)


def _finish(connection: Connection, which: ColumnElement[bool], values: dict[str, Any]) -> bool:
    changed = connection.execute(update(outbox).where(which, outbox.c.state == WAITING).values(values))
    return changed.rowcount == 1
