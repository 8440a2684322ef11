"""Fewer, larger rows of outcomes: what commits added to a slice one by one is replaced by its sum.

Results do not depend on it; ranges are measured faster afterwards, and the table does not grow with the
number of commits.
"""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select

from detectors.outcomes import FORMAT, joined
from monitor.judging.merging import joined_sources
from monitor.profiling import Key
from monitor.store.engine import immediate, reading
from monitor.store.queries.outcomes import check_format
from monitor.store.tables import outcome_commit, outcome_slice

logger = logging.getLogger(__name__)

DELETED_AT_ONCE = 500
FEWEST_ROWS = 4  # of a slice, before they are added up


class _Overtaken(Exception):  # noqa: N818 - rolls a transaction back
    """Another process has replaced the same rows."""


def tidy_outcomes(engine: Engine, key: Key, start_ms: int, end_ms: int) -> int:
    """Replace the rows of each slice of a window by their sum; returns how many rows went.

    Raises
    ------
    Unavailable
        If the database is away.
    """
    with reading(engine) as connection:
        parts = _parts(connection, key, start_ms, end_ms)
    number = 0
    for slice_ms, rows in parts.items():
        if len(rows) < FEWEST_ROWS:
            continue
        try:
            _replace(engine, key, slice_ms, rows)
        except _Overtaken:
            logger.debug("outcomes of %s were added up by another process", key)
            return number
        number += len(rows) - 1
    return number


def _parts(connection: Connection, key: Key, start_ms: int, end_ms: int) -> dict[int, list[Any]]:
    c = outcome_slice.c
    query = select(c.id, c.slice_ms, c.format, c.commit_id, c.records).where(
        c.model == key[0], c.version == key[1], c.slice_ms >= start_ms, c.slice_ms < end_ms
    )
    found: dict[int, list[Any]] = {}
    for row in connection.execute(query.order_by(c.id)):
        check_format(row.format)
        found.setdefault(row.slice_ms, []).append(row)
    return found


def _replace(engine: Engine, key: Key, slice_ms: int, rows: list[Any]) -> None:
    """Put a sum in the place of its parts, all or none.

    Raises
    ------
    _Overtaken
        If any of the parts is gone.
    """
    ids, commits = [row.id for row in rows], sorted({row.commit_id for row in rows})
    records = joined(row.records for row in rows)
    with immediate(engine) as connection:
        gone = 0
        for first in range(0, len(ids), DELETED_AT_ONCE):
            part = ids[first : first + DELETED_AT_ONCE]
            gone += connection.execute(delete(outcome_slice).where(outcome_slice.c.id.in_(part))).rowcount
        if gone != len(ids):
            raise _Overtaken
        texts: list[str] = []
        for first in range(0, len(commits), DELETED_AT_ONCE):
            c = outcome_commit.c
            part = commits[first : first + DELETED_AT_ONCE]
            texts += connection.execute(select(c.sources).where(c.id.in_(part))).scalars()
        new = insert(outcome_commit).values(sources=joined_sources(texts)).returning(outcome_commit.c.id)
        commit_id = connection.execute(new).scalar_one()
        connection.execute(
            insert(outcome_slice).values(
                model=key[0], version=key[1], slice_ms=slice_ms, format=FORMAT, commit_id=commit_id,
                records=records.tobytes(),
            )
        )  # fmt: skip
