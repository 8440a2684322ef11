"""Who reads which partition, from where; and the one transaction that moves a position with its effects.

The database owns the position. A reader *claims* a partition: it raises the epoch and leaves a token. Every
commit begins with an update that is guarded by epoch, token and old position; if it does not hit exactly one
row, somebody else owns the partition and nothing of the commit is kept.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, and_, bindparam, delete, func, insert, select, update

from monitor.dead_letters.letters import Settled, settle, was_settled
from monitor.labels.pairing import FATES
from monitor.store import halves
from monitor.store.engine import after_commit, immediate, reading
from monitor.store.halves import HalfWork, StoredHalf
from monitor.store.joining import JoinWork, join
from monitor.store.sql import insert_new, upsert
from monitor.store.tables import (
    counter,
    dead_letter,
    dedupe,
    gap,
    label_account,
    model_column,
    model_version,
    outcome_window,
    partition_model,
    partition_state,
    slice_profile,
    window_state,
)
from schemas.errors import Fenced, UsageError

logger = logging.getLogger(__name__)

OUTCOMES = ("counted", "late", "future", "dead_lettered", "duplicates", "unpaired", "paired")
REFERENCES = "references"  # counter that every promotion raises
MARK = "[contract rule "
"""In the reasons of partitions that a rule has stopped."""
Fault = Callable[[str], None]


def _no_fault(_point: str) -> None:
    """Do nothing; tests put in something that fails."""


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


@dataclass
class PartitionDelta:
    """What a commit does to one partition."""

    claim: Claim
    from_offset: int
    next_offset: int
    fetched: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    max_event_ms: int | None = None
    last_event_at_ms: int | None = None
    at_end_since_ms: int | None = None
    reached_end: bool = False
    models: dict[str, tuple[int, int]] = field(default_factory=dict)
    seen: list[tuple[int, bytes]] = field(default_factory=list)
    forget_before_ms: int | None = None
    replayed: dict[str, int] = field(default_factory=dict)  # by outcome; what letters counted for goes off
    stamp_ms: int | None = None


@dataclass(frozen=True)
class SliceDelta:
    """Partial profile of one slice."""

    model: str
    version: str
    slice_ms: int
    reference_hash: str
    rows: int
    data: bytes


@dataclass
class Commit:
    """Everything that is written in one transaction."""

    partitions: list[PartitionDelta]
    slices: list[SliceDelta] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    replayed: list[Settled] = field(default_factory=list)
    halves: HalfWork = field(default_factory=HalfWork)
    references_seen: int = 0
    joining: JoinWork | None = None
    outcome_windows: Callable[[list[tuple[str, str, int]]], list[dict[str, Any]]] = lambda _: []


class ReferencesChanged(Exception):  # noqa: N818 - a condition, handled where it is raised from
    """A reference was promoted since the profiles of a commit were begun."""


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
            [tuple(r) for r in connection.execute(_of(place, dedupe, dedupe.c.bucket_ms, dedupe.c.hashes))],
            {r.model: r.max_event_ms for r in connection.execute(_of(place, partition_model))},
            row.stamp_ms,
            _accepted_up_to(connection, place),
        )


def _accepted_up_to(connection: Connection, place: Place) -> int:
    """Offset up to which rows may break rules that would stop the partition."""
    query = _of(place, gap, func.max(gap.c.to_offset)).where(
        gap.c.accepted_at_ms.is_not(None), gap.c.reason.contains(MARK, autoescape=True)
    )
    return connection.execute(query).scalar() or 0


def _of(place: Place, table: Any, *columns: Any) -> Any:
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
            .where(_guard(owned, next_offset))
            .values(stopped_reason=reason, seen_at_ms=now_ms)
        )
        if done.rowcount != 1:
            raise Fenced(_fenced(owned.place))
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


def is_stopped(engine: Engine, place: Place) -> bool:
    """Whether a partition must not be read, as of now.

    Raises
    ------
    Unavailable
        If the database is away.
    """
    with reading(engine) as connection:
        return (
            connection.execute(_of(place, partition_state, partition_state.c.stopped_reason)).scalar()
            is not None
        )


def commit(engine: Engine, work: Commit, *, now_ms: int, fault: Fault = _no_fault) -> None:
    """Move positions and keep what the events up to there amount to, in one transaction.

    Raises
    ------
    Fenced
        If any of the partitions belongs to somebody else, or a dead letter or a half was taken in already;
        nothing was kept.
    ReferencesChanged
        If a reference was promoted since the profiles were begun; nothing was kept.
    Unavailable
        If the database is away; whether the commit was kept is not known, ask `settled`.
    """
    with immediate(engine) as connection:
        fault("begun")
        _move(connection, work, now_ms)
        fault("positions")
        _check_references(connection, work.references_seen)
        insert_new(connection, model_version, work.versions)
        insert_new(connection, model_column, work.columns)
        fault("models")
        _insert_slices(connection, work)
        fault("slices")
        upsert(connection, window_state, work.windows, {"touched": window_state.c.touched + 1})
        fault("windows")
        insert_new(connection, dead_letter, work.dead_letters)
        settle(connection, work.replayed, now_ms)
        fault("dead letters")
        halves.keep(connection, work.halves, now_ms)
        for at, repeated in work.halves.repeated.items():
            connection.execute(_counted(Place(*at), {"unpaired": -repeated, "duplicates": repeated}))
        fault("halves")
        _insert_seen(connection, work.partitions)
        fault("seen")
        _upsert_model_times(connection, work.partitions)
        _join(connection, work)
        fault("labels")
        fault("before commit")
    fault("after commit")


def _join(connection: Connection, work: Commit) -> None:
    """Pair predictions and labels; last, because others who join the same model wait from here on."""
    if work.joining is None:
        return
    done = join(connection, work.joining, _sources(work))
    windows = work.outcome_windows(done.slices)
    upsert(connection, outcome_window, windows, {"touched": outcome_window.c.touched + 1})


def settled(engine: Engine, work: Commit) -> bool:
    """Find out whether a commit with an unknown outcome was kept.

    Raises
    ------
    Fenced
        If any of the partitions belongs to somebody else.
    Unavailable
        If the database is still away.
    """
    with reading(engine) as connection:
        kept = []
        for delta in work.partitions:
            state = connection.execute(_of(delta.claim.place, partition_state)).one_or_none()
            if state is None or (state.epoch, state.owner_token) != (delta.claim.epoch, delta.claim.token):
                raise Fenced(_fenced(delta.claim.place))
            if delta.from_offset != delta.next_offset:
                kept.append(state.next_offset == delta.next_offset)
        kept += [was_settled(connection, letter) for letter in work.replayed]
        taken_out = halves.was_kept(connection, work.halves)
        kept += [] if taken_out is None else [taken_out]
    return bool(kept) and all(kept)


def _fenced(place: Place) -> str:
    return f"{place.topic}/{place.partition} belongs to another reader now"


def _guard(owned: Claim, next_offset: int) -> Any:
    return and_(
        partition_state.c.topic == owned.place.topic,
        partition_state.c.partition == owned.place.partition,
        partition_state.c.epoch == owned.epoch,
        partition_state.c.owner_token == owned.token,
        partition_state.c.next_offset == next_offset,
    )


def _move(connection: Connection, work: Commit, now_ms: int) -> None:
    """Move positions and counters; in one order of all places, so that nobody waits in a circle."""
    deltas = {delta.claim.place: delta for delta in work.partitions}
    moved = {Place(*at): numbers for at, numbers in work.halves.moved.items()}
    for place in sorted(deltas.keys() | moved.keys()):
        if place in deltas and connection.execute(_MOVE, _moved(deltas[place], now_ms)).rowcount != 1:
            raise Fenced(_fenced(place))
        if place in moved:
            connection.execute(_counted(place, moved[place]))


def _counted(place: Place, numbers: dict[str, int]) -> Any:
    """Add to counters of a partition, also of one that somebody else reads."""
    c = partition_state.c
    values = {name: c[name] + number for name, number in numbers.items()}
    return (
        update(partition_state)
        .where(c.topic == place.topic, c.partition == place.partition)
        .values(values | {"fetched": c.fetched + sum(numbers.values())})
    )


def _moved(delta: PartitionDelta, now_ms: int) -> dict[str, Any]:
    """Values of `_MOVE` for one partition."""
    return {
        "of_topic": delta.claim.place.topic,
        "of_partition": delta.claim.place.partition,
        "of_epoch": delta.claim.epoch,
        "of_token": delta.claim.token,
        "from_offset": delta.from_offset,
        "to_offset": delta.next_offset,
        "more_fetched": delta.fetched + sum(delta.replayed.values()),
        **{f"more_{name}": delta.outcomes[name] + delta.replayed.get(name, 0) for name in OUTCOMES},
        "now_at_end_since_ms": delta.at_end_since_ms,
        "now_reached_end": delta.reached_end,
        "now_ms": now_ms,
        **{f"new_{name}": getattr(delta, name) for name in _KEPT_IF_UNKNOWN},
    }


def _move_statement() -> Any:
    """Build the statement that moves one partition, once: it is the first of every commit."""
    c = partition_state.c
    values: dict[str, Any] = {
        "next_offset": bindparam("to_offset"),
        "at_end_since_ms": bindparam("now_at_end_since_ms"),
        "reached_end": bindparam("now_reached_end"),
        "seen_at_ms": bindparam("now_ms"),
    }
    for name in ("fetched", *OUTCOMES):
        values[name] = c[name] + bindparam(f"more_{name}", type_=c[name].type)
    for name in _KEPT_IF_UNKNOWN:
        values[name] = func.coalesce(bindparam(f"new_{name}", type_=c[name].type), c[name])
    return (
        update(partition_state)
        .where(
            c.topic == bindparam("of_topic"),
            c.partition == bindparam("of_partition"),
            c.epoch == bindparam("of_epoch"),
            c.owner_token == bindparam("of_token"),
            c.next_offset == bindparam("from_offset"),
        )
        .values(values)
    )


_KEPT_IF_UNKNOWN = ("max_event_ms", "stamp_ms", "last_event_at_ms")
_MOVE = _move_statement()


def _check_references(connection: Connection, seen: int) -> None:
    # Locks the row against promotions until this transaction ends (PostgreSQL; SQLite has one writer anyway).
    row = connection.execute(
        select(counter.c.value).where(counter.c.name == REFERENCES).with_for_update(read=True)
    ).scalar()
    if (row or 0) != seen:
        raise ReferencesChanged


def _insert_slices(connection: Connection, work: Commit) -> None:
    if not work.slices:
        return
    sources = _sources(work)
    connection.execute(
        insert(slice_profile),
        [
            {
                "model": s.model,
                "version": s.version,
                "slice_ms": s.slice_ms,
                "rows": s.rows,
                "bytes": s.data,
                "reference_hash": s.reference_hash or None,
                "sources": sources,
            }
            for s in work.slices
        ],
    )


def _sources(work: Commit) -> str:
    return source_ranges(work.partitions, work.replayed, work.halves.paired)


def source_ranges(
    partitions: Iterable[PartitionDelta],
    replayed: Iterable[Settled] = (),
    paired: Iterable[StoredHalf] = (),
) -> str:
    """Offsets that a commit takes in, as JSON ``{topic: {partition: [[from, to], …]}}``, without `to`."""
    ranges: dict[str, dict[str, list[list[int]]]] = {}
    for half in sorted(paired, key=lambda half: half.offset):
        mine = ranges.setdefault(half.topic, {}).setdefault(str(half.partition), [])
        if mine and mine[-1][1] == half.offset:
            mine[-1][1] += 1
        else:
            mine.append([half.offset, half.offset + 1])
    for letter in replayed:
        if letter.status == "replayed":
            mine = ranges.setdefault(letter.topic, {}).setdefault(str(letter.partition), [])
            mine.append([letter.offset, letter.offset + 1])
    for delta in partitions:
        if delta.next_offset > delta.from_offset:
            place = delta.claim.place
            mine = ranges.setdefault(place.topic, {}).setdefault(str(place.partition), [])
            mine.append([delta.from_offset, delta.next_offset])
    return json.dumps(ranges, separators=(",", ":"), sort_keys=True)


def _insert_seen(connection: Connection, partitions: list[PartitionDelta]) -> None:
    rows = [
        {
            "topic": d.claim.place.topic,
            "partition": d.claim.place.partition,
            "bucket_ms": bucket,
            "hashes": data,
        }
        for d in partitions
        for bucket, data in d.seen
    ]
    if rows:
        connection.execute(insert(dedupe), rows)
    for d in partitions:
        if d.forget_before_ms is not None:
            connection.execute(
                delete(dedupe).where(
                    dedupe.c.topic == d.claim.place.topic,
                    dedupe.c.partition == d.claim.place.partition,
                    dedupe.c.bucket_ms < d.forget_before_ms,
                )
            )


def _upsert_model_times(connection: Connection, partitions: list[PartitionDelta]) -> None:
    upsert(
        connection,
        partition_model,
        [
            {
                "topic": d.claim.place.topic, "partition": d.claim.place.partition, "model": model,
                "max_event_ms": newest, "arrived_at_ms": arrived,
            }
            for d in partitions
            for model, (newest, arrived) in d.models.items()
        ],
    )  # fmt: skip


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
