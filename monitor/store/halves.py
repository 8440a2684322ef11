"""Requests and responses that came apart: kept until both are there, and each taken out once, by one process.

A half is stored in the transaction that moves the position past it. Whoever takes halves out does so in the
transaction that counts their events, and only if they still wait: two processes never count the same pair.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, literal, or_, select, update

from monitor.dead_letters.letters import REFUSED, Headers, read_headers
from monitor.store.sql import inserting
from monitor.store.tables import dead_letter, half_message, partition_state
from schemas.errors import Fenced

At = tuple[str, int]
"""Topic and partition."""

_TOGETHER = 500  # ids, or rows, in one statement
_TOGETHER_BYTES = 16 << 20  # of their values

# As literals: SQLite looks for the indexes of what waits, and of what is paired, only then.
_WAITING = literal("waiting", literal_execute=True)
_PAIRED = literal("paired", literal_execute=True)


@dataclass(frozen=True)
class StoredHalf:
    """One half as it is stored; ``name`` is what it shares with the other, for people."""

    id: int
    side: str
    format: str
    name: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Headers
    timestamp_ms: int
    is_remembered: bool = False


@dataclass
class HalfWork:
    """What a commit does to halves.

    Parameters
    ----------
    new : list of dict
        Rows of halves that came.
    paired : list of StoredHalf
        Requests and responses whose events are counted; remembered for a while, to tell repetitions.
    removed : list of StoredHalf
        Those that have become dead letters, and can come again.
    letters : list of dict
        Rows of these dead letters.
    moved : dict of (str, int) to dict
        What is added to the counters of partitions, whoever owns them; by outcome.
    forget : list of (str, int)
        Partitions whose paired halves are forgotten if they are older than `forget_before_ms`.
    repeated : dict of (str, int) to int
        Halves of `new` that were there already; known once the work is kept.
    """

    new: list[dict[str, Any]] = field(default_factory=list)
    paired: list[StoredHalf] = field(default_factory=list)
    removed: list[StoredHalf] = field(default_factory=list)
    letters: list[dict[str, Any]] = field(default_factory=list)
    moved: dict[At, dict[str, int]] = field(default_factory=dict)
    forget: list[At] = field(default_factory=list)
    forget_before_ms: int = 0
    repeated: dict[At, int] = field(default_factory=dict)

    def move(self, at: At, numbers: dict[str, int]) -> None:
        """Add to the counters of a partition."""
        mine = self.moved.setdefault(at, {})
        for name, number in numbers.items():
            mine[name] = mine.get(name, 0) + number


# --- what is there ------------------------------------------------------------------------------------------


def complete_pairs(
    connection: Connection, places: Iterable[At], *, most: int, most_bytes: int
) -> list[tuple[StoredHalf, StoredHalf]]:
    """Read requests with their responses, where the responses are in these partitions; oldest first.

    Parameters
    ----------
    connection : Connection
    places : iterable of (str, int)
    most : int
        Most pairs.
    most_bytes : int
        About the most bytes of their values; at least one pair is read.
    """
    request, response = half_message.alias("request"), half_message.alias("response")
    query = (
        select(response.c.id, request.c.id.label("request_id"))
        .add_columns((request.c.value_bytes + response.c.value_bytes).label("size"))
        .where(response.c.status == _WAITING, request.c.status == _WAITING, _in(response, places))
        .where(response.c.side == "response", request.c.side == "request", request.c.pair == response.c.pair)
        .order_by(response.c.id)
        .limit(most)
    )
    found = _within(connection.execute(query), most_bytes)
    halves = _load(connection, [id_ for row in found for id_ in (row.id, row.request_id)])
    return [
        (halves[row.request_id], halves[row.id])
        for row in found
        if row.id in halves and row.request_id in halves
    ]


def overdue(
    connection: Connection, places: Iterable[At], *, stored_ms: int, stamp_ms: int, most: int, most_bytes: int
) -> list[StoredHalf]:
    """Read halves of partitions that wait since then, and whose other half is not there; oldest first.

    Parameters
    ----------
    connection : Connection
    places : iterable of (str, int)
    stored_ms, stamp_ms : int
        Only those that were stored until the first, with a Kafka timestamp until the second.
    most, most_bytes : int
        As in `complete_pairs`.
    """
    half, other = half_message, half_message.alias("other")
    has_other = exists().where(
        other.c.pair == half.c.pair, other.c.side != half.c.side, other.c.status == _WAITING
    )
    query = (
        select(half.c.id, half.c.value_bytes.label("size"))
        .where(half.c.status == _WAITING, _in(half, places))
        .where(half.c.stored_at_ms <= stored_ms, half.c.timestamp_ms <= stamp_ms, ~has_other)
        .order_by(half.c.id)
        .limit(most)
    )
    found = _within(connection.execute(query), most_bytes)
    return list(_load(connection, [row.id for row in found]).values())


def read_up_to(connection: Connection, topics: Collection[str]) -> tuple[int | None, int | None]:
    """How far all partitions of topics were read.

    Returns
    -------
    int or None
        Wall clock when the partitions that are at their end were seen there; None: none is at its end.
    int or None
        Kafka timestamp up to which the other partitions were read; None: all are at their end.
    """
    c = partition_state.c
    query = select(c.at_end_since_ms, c.seen_at_ms, c.stamp_ms).where(c.topic.in_(list(topics)))
    rows = connection.execute(query).all()
    at_end = [row.seen_at_ms for row in rows if row.at_end_since_ms is not None]
    behind = [row.stamp_ms or 0 for row in rows if row.at_end_since_ms is None]
    return min(at_end, default=None), min(behind, default=None)


def unpaired_by_topic(connection: Connection, most: int) -> dict[str, int]:
    """Halves that wait, of the first `most` topics with predictions."""
    c = partition_state.c
    query = select(c.topic, func.sum(c.unpaired)).where(c.kind == "predictions")
    rows = connection.execute(query.group_by(c.topic).order_by(c.topic).limit(most))
    return {topic: int(number) for topic, number in rows}


def _in(table: Any, places: Iterable[At]) -> ColumnElement[bool]:
    by_topic: dict[str, list[int]] = {}
    for topic, partition in places:
        by_topic.setdefault(topic, []).append(partition)
    return or_(
        *(and_(table.c.topic == topic, table.c.partition.in_(mine)) for topic, mine in by_topic.items())
    )


def _within(rows: Iterable[Any], most_bytes: int) -> list[Any]:
    found: list[Any] = []
    size = 0
    for row in rows:
        size += row.size
        if found and size > most_bytes:
            break
        found.append(row)
    return found


def _load(connection: Connection, ids: Sequence[int]) -> dict[int, StoredHalf]:
    found: dict[int, StoredHalf] = {}
    for part in _parts(ids):
        query = select(half_message).where(half_message.c.id.in_(part)).order_by("id")
        found |= {row.id: _half(row) for row in connection.execute(query)}
    return found


def _half(row: Any) -> StoredHalf:
    return StoredHalf(
        id=row.id,
        side=row.side,
        format=row.format,
        name=row.name,
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        key=None if row.key is None else bytes(row.key),
        value=bytes(row.value),
        headers=read_headers(row.headers),
        timestamp_ms=row.timestamp_ms,
        is_remembered=row.is_remembered,
    )


def _parts(ids: Sequence[int]) -> Iterable[list[int]]:
    for at in range(0, len(ids), _TOGETHER):
        yield list(ids[at : at + _TOGETHER])


# --- what is written ----------------------------------------------------------------------------------------


def keep(connection: Connection, work: HalfWork, now_ms: int) -> None:
    """Take halves out, and store those that came, in the transaction that counts their events.

    Raises
    ------
    Fenced
        If one of them does not wait any more: another process has taken it out.
    """
    c = half_message.c
    emptied = {"status": "paired", "value": b"", "headers": "[]", "key": None, "paired_at_ms": now_ms}
    for part in _parts(sorted(half.id for half in work.paired)):
        _require(
            connection.execute(
                update(half_message).where(c.id.in_(part), c.status == _WAITING).values(emptied)
            ),
            part,
        )
    for part in _parts(sorted(half.id for half in work.removed)):
        _require(connection.execute(delete(half_message).where(c.id.in_(part), c.status == _WAITING)), part)
    _upsert_letters(connection, work.letters)
    if work.forget:
        old = and_(c.status == _PAIRED, c.paired_at_ms < work.forget_before_ms)
        connection.execute(delete(half_message).where(old, _in(half_message, work.forget)))
    work.repeated = _insert(connection, work.new)


def _require(done: Any, part: Sequence[int]) -> None:
    if done.rowcount != len(part):
        msg = "requests and responses were taken out by another reader"
        raise Fenced(msg)


def _upsert_letters(connection: Connection, letters: list[dict[str, Any]]) -> None:
    """Store dead letters; a half that was replayed, and waited in vain again, has one already."""
    if not letters:
        return
    statement = inserting(connection, dead_letter)
    names = ("kind", "reason", "events", "is_remembered", "stored_at_ms")
    changed = {name: statement.excluded[name] for name in names}
    place = ["topic", "partition", "offset"]
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=place, set_={**changed, "status": REFUSED, "outcome": None}
        ),
        letters,
    )


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> dict[At, int]:
    """Insert halves, and count those that are there already, by partition."""
    if not rows:
        return {}
    # In one order: others may insert the same pairs, and wait for each other.
    ordered = sorted(rows, key=lambda row: (row["pair"], row["side"]))
    statement = inserting(connection, half_message).on_conflict_do_nothing()
    c = half_message.c
    kept: set[tuple[str, int, int]] = set()
    for part in _small(ordered):
        done = connection.execute(statement.returning(c.topic, c.partition, c.offset), part)
        kept.update((topic, partition, offset) for topic, partition, offset in done)
    repeated: dict[At, int] = {}
    for row in rows:
        if (row["topic"], row["partition"], row["offset"]) not in kept:
            at = row["topic"], row["partition"]
            repeated[at] = repeated.get(at, 0) + 1
    return repeated


def _small(rows: Sequence[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Parts of rows that fit into one statement, in their order."""
    part: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        if part and (len(part) >= _TOGETHER or size + row["value_bytes"] > _TOGETHER_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += row["value_bytes"]
    if part:
        yield part


def was_kept(connection: Connection, work: HalfWork) -> bool | None:
    """Whether halves were taken out; None if the work takes none."""
    taken = [*work.paired, *work.removed]
    if not taken:
        return None
    c = half_message.c
    waits = connection.execute(select(c.id).where(c.id == taken[0].id, c.status == _WAITING)).one_or_none()
    return waits is None
