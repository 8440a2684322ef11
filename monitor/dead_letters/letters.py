"""Dead letters that are marked for a replay, and what a replay changes in their rows.

A letter is *waiting* until somebody marks it. The process that owns its partition takes *marked* letters, and
writes what became of them in the transaction that counts their events: *replayed*, or *refused* again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, or_, select, update

from monitor.store.tables import dead_letter
from schemas.errors import Fenced

WAITING, MARKED, REPLAYED, REFUSED = STATUSES = ("waiting", "marked", "replayed", "refused")

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Letter:
    """One dead letter as it is stored; ``key`` and ``headers`` are those of the message."""

    id: int
    topic: str
    partition: int
    offset: int
    kind: str
    events: int
    is_remembered: bool
    attempts: int
    key: bytes | None
    value: bytes
    headers: Headers
    timestamp_ms: int


@dataclass
class Settled:
    """What became of a letter.

    Parameters
    ----------
    id, topic, partition, offset
        Of the letter.
    attempts : int
        Replays before this one; the row must still say so.
    status : str
        `REPLAYED` or `REFUSED`.
    kind, reason : str
        Of a letter that was refused: why this time. Of one that was replayed they stay as they were.
    events : int
        What it counts for from now on.
    is_remembered : bool
        Whether the ids of its events are remembered: it was a worker that could not read one of them, and the
        others of its message may have been counted.
    outcome : str or None
        What became of its events, for people.
    """

    id: int
    topic: str
    partition: int
    offset: int
    attempts: int
    status: str
    kind: str | None = None
    reason: str | None = None
    events: int = 0
    is_remembered: bool = False
    outcome: str | None = None


def written_headers(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """Headers as they are kept in a row, which `read_headers` reads."""
    encoded = [[name, None if v is None else base64.b64encode(v).decode()] for name, v in headers]
    return json.dumps(encoded)


def read_headers(text: str) -> Headers:
    """Headers as they are kept in a row."""
    return [(name, None if value is None else base64.b64decode(value)) for name, value in json.loads(text)]


def marked(
    connection: Connection, places: Iterable[tuple[str, int]], *, most: int, most_bytes: int
) -> list[Letter]:
    """Read marked letters of partitions, oldest first.

    Parameters
    ----------
    connection : Connection
    places : iterable of (str, int)
        Topics and partitions.
    most : int
        Most letters.
    most_bytes : int
        About the most bytes of their values; at least one letter is read.
    """
    ids = _due(connection, list(places), most, most_bytes)
    if not ids:
        return []
    rows = connection.execute(select(dead_letter).where(dead_letter.c.id.in_(ids)).order_by("id"))
    return [_letter(row) for row in rows]


def _due(
    connection: Connection, places: Collection[tuple[str, int]], most: int, most_bytes: int
) -> list[int]:
    c = dead_letter.c
    by_topic: dict[str, list[int]] = {}
    for topic, partition in places:
        by_topic.setdefault(topic, []).append(partition)
    mine = [and_(c.topic == topic, c.partition.in_(numbers)) for topic, numbers in by_topic.items()]
    if not mine:
        return []
    query = select(c.id, c.value_bytes).where(c.status == MARKED, or_(*mine)).order_by(c.id).limit(most)
    ids: list[int] = []
    size = 0
    for row in connection.execute(query):
        if ids and size + row.value_bytes > most_bytes:
            break
        ids.append(row.id)
        size += row.value_bytes
    return ids


def _letter(row: Any) -> Letter:
    return Letter(
        id=row.id,
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        kind=row.kind,
        events=row.events,
        is_remembered=row.is_remembered,
        attempts=row.attempts,
        key=None if row.key is None else bytes(row.key),
        value=bytes(row.value),
        headers=read_headers(row.headers),
        timestamp_ms=row.timestamp_ms or 0,
    )


def settle(connection: Connection, letters: Iterable[Settled], now_ms: int) -> None:
    """Write what became of letters, in the transaction that counts their events.

    Raises
    ------
    Fenced
        If one of them is not marked any more: another process has replayed it.
    """
    c = dead_letter.c
    for letter in sorted(letters, key=lambda one: one.id):
        done = connection.execute(
            update(dead_letter)
            .where(c.id == letter.id, c.status == MARKED, c.attempts == letter.attempts)
            .values(**_changed(letter), replayed_at_ms=now_ms)
        )
        if done.rowcount != 1:
            msg = f"dead letter {letter.id} was replayed by another reader"
            raise Fenced(msg)


def _changed(letter: Settled) -> dict[str, Any]:
    values: dict[str, Any] = {
        "status": letter.status,
        "attempts": letter.attempts + 1,
        "events": letter.events,
        "is_remembered": letter.is_remembered,
        "outcome": letter.outcome,
    }
    if letter.status == REFUSED:
        values |= {"kind": letter.kind, "reason": letter.reason}
    return values


def was_settled(connection: Connection, letter: Settled) -> bool:
    """Whether what became of a letter was written."""
    attempts = connection.execute(
        select(dead_letter.c.attempts).where(dead_letter.c.id == letter.id)
    ).scalar_one()
    return bool(attempts > letter.attempts)
