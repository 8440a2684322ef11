"""The one transaction that moves positions together with what the events up to there amount to.

It begins with an update that is guarded by epoch, token and old position of a claim; if that does not hit
exactly one row, somebody else owns the partition and nothing of the commit is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update

from monitor.dead_letters.letters import Settled, settle, was_settled
from monitor.store import halves
from monitor.store.engine import immediate, reading
from monitor.store.halves import HalfWork, StoredHalf
from monitor.store.joining import JoinWork, join
from monitor.store.positions import OUTCOMES, REFERENCES, Claim, Place, fenced, row_of
from monitor.store.sql import insert_new, upsert
from monitor.store.tables import (
    counter,
    dead_letter,
    dedupe,
    model_column,
    model_version,
    outcome_window,
    partition_model,
    partition_state,
    slice_profile,
    window_state,
)

Fault = Callable[[str], None]


def _no_fault(_point: str) -> None:
    """Do nothing; tests put in something that fails."""


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
            state = connection.execute(row_of(delta.claim.place, partition_state)).one_or_none()
            if state is None or (state.epoch, state.owner_token) != (delta.claim.epoch, delta.claim.token):
                raise fenced(delta.claim.place)
            if delta.from_offset != delta.next_offset:
                kept.append(state.next_offset == delta.next_offset)
        kept += [was_settled(connection, letter) for letter in work.replayed]
        taken_out = halves.was_kept(connection, work.halves)
        kept += [] if taken_out is None else [taken_out]
    return bool(kept) and all(kept)


def _move(connection: Connection, work: Commit, now_ms: int) -> None:
    """Move positions and counters; in one order of all places, so that nobody waits in a circle."""
    deltas = {delta.claim.place: delta for delta in work.partitions}
    moved = {Place(*at): numbers for at, numbers in work.halves.moved.items()}
    for place in sorted(deltas.keys() | moved.keys()):
        if place in deltas and connection.execute(_MOVE, _moved(deltas[place], now_ms)).rowcount != 1:
            raise fenced(place)
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
