"""SQL of the ledger: what a detector carries from window to window, one row a window.

The rows of a model version form a chain in the order of its base windows. Whoever adds the next one moves
the head from the row that it went on from; if somebody else was quicker, nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Table, and_, func, insert, select, update

from monitor.store.sql import inserting
from monitor.store.tables import (
    ledger,
    ledger_head,
    outcome_ledger,
    outcome_ledger_head,
    reference_pointer,
    result,
)
from schemas.contract import DETECTOR_PREFIX
from schemas.verdict import Stream

KEPT_STATES = 64  # latest windows whose states are kept, to judge late revisions by
PINNED_EVERY = 32  # one in so many is kept for good, to compute older results once more from there
Key = tuple[str, str]


@dataclass(frozen=True)
class Book:
    """Tables of one ledger: its rows, and the latest window of each model version."""

    rows: Table
    heads: Table


EVENTS = Book(ledger, ledger_head)
OUTCOMES = Book(outcome_ledger, outcome_ledger_head)


@dataclass(frozen=True)
class Entry:
    """One row: the window, what it could cost, and the detector's state afterwards."""

    start_ms: int
    end_ms: int
    reference_hash: str
    models: int
    spent: float
    alarms: int
    state: bytes | None


def head_of(connection: Connection, key: Key, book: Book = EVENTS) -> int | None:
    """Start of the latest window in the ledger of a model version."""
    found = connection.execute(select(book.heads.c.start_ms).where(_mine(book.heads, key))).scalar()
    return None if found is None else int(found)


def before(connection: Connection, key: Key, start_ms: int, book: Book = EVENTS) -> Entry | None:
    """Entry of the latest window before an instant."""
    query = (
        select(book.rows)
        .where(_mine(book.rows, key), book.rows.c.start_ms < start_ms)
        .order_by(book.rows.c.start_ms.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _entry(row)


def at(connection: Connection, key: Key, start_ms: int, book: Book = EVENTS) -> Entry | None:
    """Entry of one window."""
    row = connection.execute(
        select(book.rows).where(_mine(book.rows, key), book.rows.c.start_ms == start_ms)
    ).one_or_none()
    return None if row is None else _entry(row)


def chain(
    connection: Connection, key: Key, before_ms: int, reference_hash: str, book: Book = EVENTS
) -> list[Entry]:
    """Entries of the windows before an instant, from the latest one with a kept state on, oldest first.

    Of the same reference only; if no state is kept at all, from the first window of that reference on.
    """
    found: list[Entry] = []
    rows = connection.execute(
        select(book.rows)
        .where(_mine(book.rows, key), book.rows.c.start_ms < before_ms)
        .order_by(book.rows.c.start_ms.desc())
    )
    for row in rows:
        entry = _entry(row)
        if entry.reference_hash != reference_hash:
            break
        found.append(entry)
        if entry.state is not None:
            break
    return found[::-1]


def append(connection: Connection, key: Key, entry: Entry, head_ms: int | None, book: Book = EVENTS) -> bool:
    """Add the next entry.

    Parameters
    ----------
    head_ms : int or None
        Head that the entry goes on from; None for the first.

    Returns
    -------
    bool
        False if somebody else has moved the head meanwhile; nothing was written.
    """
    named = {"model": key[0], "version": key[1]}
    if head_ms is None:
        new = inserting(connection, book.heads).values(**named, start_ms=entry.start_ms)
        change = new.on_conflict_do_nothing().returning(book.heads.c.start_ms)
    else:
        change = (
            update(book.heads)
            .where(_mine(book.heads, key), book.heads.c.start_ms == head_ms)
            .values(start_ms=entry.start_ms)
            .returning(book.heads.c.start_ms)
        )
    if connection.execute(change).first() is None:
        return False
    connection.execute(
        insert(book.rows),
        {
            **named, "start_ms": entry.start_ms, "end_ms": entry.end_ms,
            "reference_hash": entry.reference_hash, "models": entry.models,
            "spent": entry.spent, "alarms": entry.alarms, "state": entry.state,
            "is_pinned": (entry.start_ms // (entry.end_ms - entry.start_ms)) % PINNED_EVERY == 0,
        },
    )  # fmt: skip
    if entry.alarms and head_ms is not None:
        pinned = update(book.rows).where(_mine(book.rows, key), book.rows.c.start_ms == head_ms)
        connection.execute(pinned.values(is_pinned=True))
    _forget_old_states(connection, key, book)
    return True


def model_versions(connection: Connection) -> int:
    """Number of model versions that have a reference: they share the budget."""
    pairs = select(reference_pointer.c.model, reference_pointer.c.version).distinct().subquery()
    return int(connection.execute(select(func.count()).select_from(pairs)).scalar_one())


def alarmed(connection: Connection, key: Key, window: str, start_ms: int, revision: int) -> set[Stream]:
    """Streams in which one judgement of one window raised an alarm, broken rules apart."""
    r = result.c
    rows = connection.execute(
        select(r.column, r.segment, r.detector).where(
            _mine(result, key), r.window == window, r.start_ms == start_ms,
            r.revision == revision, r.decision == "drift",
            ~r.detector.startswith(DETECTOR_PREFIX, autoescape=True),
        )
    )  # fmt: skip
    return {Stream(row.column, row.segment, row.detector) for row in rows}


def _forget_old_states(connection: Connection, key: Key, book: Book) -> None:
    limit = (
        select(book.rows.c.start_ms)
        .where(_mine(book.rows, key))
        .order_by(book.rows.c.start_ms.desc())
        .offset(KEPT_STATES)
        .limit(1)
        .scalar_subquery()
    )
    connection.execute(
        update(book.rows)
        .where(
            _mine(book.rows, key),
            book.rows.c.start_ms <= limit,
            book.rows.c.state.is_not(None),
            book.rows.c.is_pinned.is_(False),
        )
        .values(state=None)
    )


def _mine(table: Any, key: Key) -> Any:
    return and_(table.c.model == key[0], table.c.version == key[1])


def _entry(row: Any) -> Entry:
    return Entry(
        row.start_ms, row.end_ms, row.reference_hash, row.models, row.spent, row.alarms,
        None if row.state is None else bytes(row.state),
    )  # fmt: skip
