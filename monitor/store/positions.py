"""Who reads which partition, and from where.

The database owns the position. A reader *claims* a partition: it raises the epoch and leaves a token. What it
reads from there on moves the position, see `monitor.store.committing`, as long as nobody else has claimed it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, insert, select, update

from monitor.labels.pairing import FATES
from monitor.store.engine import after_commit, immediate, reading
from monitor.store.sql import insert_new
from monitor.store.tables import (
    counter,
    dedupe,
    gap,
    label_account,
    partition_model,
    partition_state,
)
from schemas.errors import Fenced, UsageError

logger = logging.getLogger(__name__)

OUTCOMES = ("counted", "late", "future", "dead_lettered", "duplicates", "unpaired", "paired")
REFERENCES = "references"  # counter that every promotion raises
MARK = "[contract rule "
"""In the reasons of partitions that a rule has stopped."""


@dataclass(frozen=True, order=True)
class Place:
    """One partition of a topic."""

    topic: str
    partition: int


@dataclass(frozen=True)
class Claim:
    """What a reader owns after a claim.

    `stopped_reason` is set if the partition must not be read; `seen` are the stored buckets of event-id
    hashes, `models` the newest event time of each model in the partition, and `stamp_ms` the newest timestamp
    of its records. Rows before offset `judged_from` do not stop it again, whatever rules they break: somebody
    has accepted them.
    """

    place: Place
    epoch: int
    token: str
    next_offset: int
    max_event_ms: int | None
    reached_end: bool
    stopped_reason: str | None
    seen: list[tuple[int, bytes]]
    models: dict[str, int]
    stamp_ms: int | None = None
    judged_from: int = 0


def ensure_counters(engine: Engine) -> None:
    """Create the counters that transactions lock, unless they are there."""
    with immediate(engine) as connection:
        insert_new(connection, counter, [{"name": REFERENCES, "value": 0}])


def claim(
    engine: Engine,
    place: Place,
    *,
    kind: str,
    topic_id: str,
    low: int,
    high: int,
    start_at_end: bool,
    now_ms: int,
) -> Claim:
    """Take over a partition.

    Parameters
    ----------
    place : Place
    kind : str
        Kind of its stream.
    topic_id : str
        Identity of the topic; differs once a topic has been deleted and created again. Empty: not known.
    low, high : int
        First offset that the broker still has, and the one after its last.
    start_at_end : bool
        Where to begin with a partition that was never read.

    Raises
    ------
    Unavailable
        If the database is away.
    """
    token = secrets.token_hex(16)
    mine = and_(partition_state.c.topic == place.topic, partition_state.c.partition == place.partition)
    with immediate(engine) as connection:
        row = connection.execute(select(partition_state).where(mine).with_for_update()).one_or_none()
        if row is None:
            start = high if start_at_end else low
            values = dict.fromkeys(("fetched", *OUTCOMES), 0)
            connection.execute(
                insert(partition_state).values(
                    topic=place.topic, partition=place.partition, kind=kind, topic_id=topic_id, epoch=1,
                    owner_token=token, next_offset=start, seen_at_ms=now_ms, reached_end=False, **values,
                )
            )  # fmt: skip
            return Claim(place, 1, token, start, None, False, None, [], {})
        stopped = row.stopped_reason or _loss(connection, place, row, topic_id, low, high, now_ms)
        connection.execute(
            update(partition_state)
            .where(mine)
            .values(
                epoch=row.epoch + 1,
                owner_token=token,
                topic_id=row.topic_id or topic_id,
                seen_at_ms=now_ms,
                stopped_reason=stopped,
                at_end_since_ms=None,
            )
        )
        return Claim(
            place,
            row.epoch + 1,
            token,
            row.next_offset,
            row.max_event_ms,
            row.reached_end,
            stopped,
            [
                tuple(r)
                for r in connection.execute(row_of(place, dedupe, dedupe.c.bucket_ms, dedupe.c.hashes))
            ],
            {r.model: r.max_event_ms for r in connection.execute(row_of(place, partition_model))},
            row.stamp_ms,
            _accepted_up_to(connection, place),
        )


def _accepted_up_to(connection: Connection, place: Place) -> int:
    """Offset up to which rows may break rules that would stop the partition."""
    query = row_of(place, gap, func.max(gap.c.to_offset)).where(
        gap.c.accepted_at_ms.is_not(None), gap.c.reason.contains(MARK, autoescape=True)
    )
    return connection.execute(query).scalar() or 0


def row_of(place: Place, table: Any, *columns: Any) -> Any:
    """Select what a table has of a partition."""
    return select(*(columns or (table,))).where(
        table.c.topic == place.topic, table.c.partition == place.partition
    )


def _loss(
    connection: Connection, place: Place, row: Any, topic_id: str, low: int, high: int, now_ms: int
) -> str | None:
    """Record events that were lost before they were read; returns why reading must stop."""
    to_offset: int | None
    if topic_id and row.topic_id and topic_id != row.topic_id:
        reason, to_offset = f"topic {place.topic} was deleted and created anew", None
    elif low > row.next_offset:
        where = f"{place.topic}/{place.partition}"
        reason = f"offsets {row.next_offset} to {low - 1} of {where} are no longer in Kafka"
        to_offset = low
    elif high < row.next_offset:
        reason = (
            f"{place.topic}/{place.partition} ends at offset {high}, before the position {row.next_offset}"
        )
        to_offset = None
    else:
        return None
    _note_gap(connection, place, row.next_offset, to_offset, reason, now_ms)
    return reason


def _note_gap(
    connection: Connection, place: Place, from_offset: int, to_offset: int | None, reason: str, now_ms: int
) -> None:
    """Record messages that are not read; `to_offset` is None if nobody knows where they end."""
    where = {"topic": place.topic, "partition": place.partition}
    offsets = {"from_offset": from_offset, "to_offset": to_offset}
    connection.execute(insert(gap).values(**where, **offsets, reason=reason, found_at_ms=now_ms))
    after_commit(
        connection, lambda: logger.error("messages are not read: %s", reason, extra={**where, **offsets})
    )


def stop(
    engine: Engine, owned: Claim, reason: str, *, low: int | None, next_offset: int, now_ms: int
) -> None:
    """Record that a partition cannot be read on.

    Raises
    ------
    Fenced
        If somebody else owns the partition now.
    """
    with immediate(engine) as connection:
        done = connection.execute(
            update(partition_state)
            .where(still_owned(owned, next_offset))
            .values(stopped_reason=reason, seen_at_ms=now_ms)
        )
        if done.rowcount != 1:
            raise fenced(owned.place)
        _note_gap(connection, owned.place, next_offset, low, reason, now_ms)


def resume(
    engine: Engine,
    place: Place,
    *,
    next_offset: int,
    topic_id: str,
    now_ms: int,
    judged_from: int | None = None,
    beside: Callable[[Connection], object] = lambda _connection: None,
) -> None:
    """Accept the gaps of a stopped partition and let reading go on; the next claim takes it up.

    Parameters
    ----------
    next_offset : int
        Where to go on.
    topic_id : str
        Identity that the topic has now.
    judged_from : int, optional
        Offset before which rows do not stop the partition once more, if a rule has stopped it.
    beside : callable
        What else is done in the same transaction.

    Raises
    ------
    UsageError
        If the partition is not stopped.
    """
    mine = and_(partition_state.c.topic == place.topic, partition_state.c.partition == place.partition)
    with immediate(engine) as connection:
        done = connection.execute(
            update(partition_state)
            .where(mine, partition_state.c.stopped_reason.is_not(None))
            .values(
                stopped_reason=None,
                next_offset=next_offset,
                topic_id=topic_id,
                epoch=partition_state.c.epoch + 1,
            )
        )
        if done.rowcount != 1:
            msg = f"{place.topic}/{place.partition} is not stopped"
            raise UsageError(msg)
        connection.execute(
            update(gap)
            .where(
                gap.c.topic == place.topic, gap.c.partition == place.partition, gap.c.accepted_at_ms.is_(None)
            )
            .values(accepted_at_ms=now_ms, **({} if judged_from is None else {"to_offset": judged_from}))
        )
        beside(connection)


def still_owned(owned: Claim, next_offset: int) -> Any:
    """Condition on rows of ``partition_state``: nobody else has claimed it or moved its position since."""
    return and_(
        partition_state.c.topic == owned.place.topic,
        partition_state.c.partition == owned.place.partition,
        partition_state.c.epoch == owned.epoch,
        partition_state.c.owner_token == owned.token,
        partition_state.c.next_offset == next_offset,
    )


def fenced(place: Place) -> Fenced:
    """Make the error of those who have lost a partition."""
    return Fenced(f"{place.topic}/{place.partition} belongs to another reader now")


def is_stopped(engine: Engine, place: Place) -> bool:
    """Whether a partition must not be read, as of now.

    Raises
    ------
    Unavailable
        If the database is away.
    """
    with reading(engine) as connection:
        return (
            connection.execute(row_of(place, partition_state, partition_state.c.stopped_reason)).scalar()
            is not None
        )


def accounting(connection: Connection) -> list[dict[str, Any]]:
    """Where the events of each partition went; ``fetched`` is the sum of the outcomes.

    Rows of label topics also have what became of the labels: those that are `counted` are matched, waiting,
    corrected, orphaned, expired or sampled out.
    """
    fates = {(row.topic, row.partition): row for row in connection.execute(select(label_account))}
    rows = connection.execute(select(partition_state).order_by("topic", "partition"))
    before = ("topic", "partition", "kind", "fetched")
    after = ("next_offset", "max_event_ms", "at_end_since_ms", "seen_at_ms", "stopped_reason")
    names = (*before, *OUTCOMES, *after)
    found = []
    for row in rows:
        numbers = {name: getattr(row, name) for name in names}
        if row.kind == "labels":
            fate = fates.get((row.topic, row.partition))
            numbers |= {name: 0 if fate is None else getattr(fate, name) for name in FATES}
            numbers["counted"] -= numbers["duplicates"]
        found.append(numbers)
    return found
