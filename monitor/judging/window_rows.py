"""Rows of the tables that say what was judged of a window: claiming one, and what must come before it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, select, update

from monitor.judging.judgements import Due


def is_row_of(table: Table, due: Due) -> ColumnElement[bool]:
    """Condition for the row of a window in `window_state` or `outcome_window`."""
    w = table.c
    return and_(
        w.model == due.key[0],
        w.version == due.key[1],
        w.window == str(due.spec),
        w.start_ms == due.start_ms,
    )


def take(connection: Connection, table: Table, due: Due, *, revisions: int = 1, **values: Any) -> bool:
    """Mark a window as judged; False if it changed, or somebody else judged it, since it was read.

    Parameters
    ----------
    connection : Connection
        In a transaction.
    table : Table
        `window_state` or `outcome_window`.
    due : Due
        As it was read.
    revisions : int
        How many judgements of it this adds.
    **values
        Further columns to set.
    """
    w = table.c
    done = connection.execute(
        update(table)
        .where(
            is_row_of(table, due),
            w.touched == due.touched,
            w.judged == due.judged,
            w.revision == due.revision,
        )
        .values(judged=due.touched, revision=due.revision + revisions, **values)
    )
    return done.rowcount == 1


def must_wait(connection: Connection, table: Table, due: Due, from_ms: int) -> bool:
    """Whether an earlier window since an instant has to be judged first.

    Evidence is collected in order of time; a window that was judged before has given its own already.
    """
    if due.revision:
        return False
    w = table.c
    earlier = select(w.start_ms).where(
        w.model == due.key[0],
        w.version == due.key[1],
        w.window == str(due.spec),
        w.start_ms < due.start_ms,
        w.start_ms >= from_ms,
        w.revision == 0,
        w.touched != w.judged,
    )
    return connection.execute(earlier.limit(1)).first() is not None
