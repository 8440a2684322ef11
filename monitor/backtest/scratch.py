"""A database of its own for a backtest: a copy of what judging needs, in a folder that goes afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, event, insert, select

from monitor.backtest.stored_content import Row, StoredContent, StoredVersion
from monitor.store import engine as engines
from monitor.store.engine import immediate, reading
from monitor.store.tables import (
    join_share,
    joined_version,
    metadata,
    model_column,
    outcome_commit,
    outcome_reference,
    outcome_slice,
    outcome_window,
    reference,
    reference_pointer,
    slice_profile,
    term,
    window_state,
)

PORTION = 256  # rows in memory at a time: some ten MiB of profiles
OF_REFERENCES = 8


@contextmanager
def scratch_database() -> Iterator[Engine]:
    """Make an empty database; it is gone after the block.

    Yields
    ------
    Engine
        It does not wait for the disk: what is lost with the machine was of no use without the program.
    """
    with tempfile.TemporaryDirectory(prefix="driftline-backtest-") as folder:
        scratch = engines.create(f"sqlite:///{Path(folder) / 'scratch.db'}")
        event.listen(scratch, "connect", _without_patience)
        try:
            with immediate(scratch) as connection:
                metadata.create_all(connection)
            yield scratch
        finally:
            scratch.dispose()


def copy_content(source: Connection, scratch: Engine, content: StoredContent) -> None:
    """Copy what the judges read, a portion at a time; nothing is judged yet.

    Parameters
    ----------
    source : Connection
        To the real database, for reading.
    scratch : Engine
    content : StoredContent
        Model versions and their references become known in the course of event time, see
        `monitor.backtest.replay`.
    """
    models = content.models
    for table in (model_column, joined_version, join_share):
        _copy(source, scratch, table, select(table).where(table.c.model.in_(models)))
    _copy(source, scratch, term, select(term))
    pointed = select(reference_pointer.c.hash).where(reference_pointer.c.model.in_(models))
    for table, of_models in (
        (reference, reference.c.hash.in_(pointed)),
        (outcome_reference, outcome_reference.c.model.in_(models)),
    ):
        _copy(source, scratch, table, select(table).where(of_models), OF_REFERENCES)
    for one in content.versions:
        _copy(source, scratch, slice_profile, _slices(slice_profile, one, one.slices_from_ms))
        _copy(source, scratch, outcome_slice, _slices(outcome_slice, one, one.outcomes_from_ms))
        _write_windows(scratch, one)
    _copy_commits(source, scratch)


def _slices(table: Table, one: StoredVersion, from_ms: int) -> Any:
    c = table.c
    of_version = select(table).where(c.model == one.key[0], c.version == one.key[1])
    return of_version.where(c.slice_ms >= from_ms, c.slice_ms < one.to_ms).order_by(c.id)


def _write_windows(scratch: Engine, one: StoredVersion) -> None:
    """Write windows of the first kind as they stand before anything was judged."""
    spec = one.settings.windows[0]
    same = {"model": one.key[0], "version": one.key[1], "window": str(spec), "touched": 1, "judged": 0}
    for table, starts, more in (
        (window_state, one.starts, {}),
        (outcome_window, one.outcome_starts, {"estimated": 0}),
    ):
        rows = [
            {**same, **more, "revision": 0, "start_ms": start, "end_ms": start + spec.length_ms}
            for start in starts.tolist()
        ]
        _write(scratch, table, rows)


def _copy_commits(source: Connection, scratch: Engine) -> None:
    """Copy where outcomes come from, of those commits that were copied."""
    with reading(scratch) as connection:
        ids = list(connection.execute(select(outcome_slice.c.commit_id).distinct()).scalars())
    for first in range(0, len(ids), PORTION):
        part = ids[first : first + PORTION]
        _copy(source, scratch, outcome_commit, select(outcome_commit).where(outcome_commit.c.id.in_(part)))


def _copy(source: Connection, scratch: Engine, table: Table, query: Any, portion: int = PORTION) -> None:
    found = source.execute(query, execution_options={"yield_per": portion})
    for rows in found.partitions(portion):
        _write(scratch, table, [dict(row._mapping) for row in rows])


def _write(scratch: Engine, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        with immediate(scratch) as connection:
            connection.execute(insert(table), list(rows))


def _without_patience(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF").fetchall()
