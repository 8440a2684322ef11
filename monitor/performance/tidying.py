"""Fewer, larger rows of outcomes: what commits added to a slice one by one is replaced by its sum.

Results do not depend on it; ranges are measured faster afterwards, and the table does not grow with the
number of commits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, select

from detectors.outcomes import FORMAT, joined
from monitor.judging.merging import joined_sources
from monitor.profiling import Key
from monitor.store.engine import immediate, reading
from monitor.store.queries.outcomes import check_format
from monitor.store.sums import OutcomeSum, Replaced, replace_outcomes, sources_of
from monitor.store.tables import outcome_slice

logger = logging.getLogger(__name__)

FEWEST_ROWS = 4  # of a slice, before they are added up


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
            replace_by_sum(engine, key, slice_ms, rows)
        except Replaced:
            logger.debug("outcomes of %s were added up by another process", key)
            return number
        number += len(rows) - 1
    return number


def _parts(connection: Connection, key: Key, start_ms: int, end_ms: int) -> dict[int, list[Any]]:
    c = outcome_slice.c
    query = select(c.id, c.slice_ms, c.format, c.commit_id, c.records).where(
        c.model == key[0], c.version == key[1], c.slice_ms >= start_ms, c.slice_ms < end_ms, c.span_ms == 0
    )
    found: dict[int, list[Any]] = {}
    for row in connection.execute(query.order_by(c.id)):
        check_format(row.format)
        found.setdefault(row.slice_ms, []).append(row)
    return found


def replace_by_sum(engine: Engine, key: Key, slice_ms: int, rows: Sequence[Any], span_ms: int = 0) -> None:
    """Put the sum of stored outcomes in their place, all or none.

    Parameters
    ----------
    engine : Engine
    key : tuple of str
        Model and version.
    slice_ms, span_ms : int
        Where the sum begins, and the length of what it fills; 0 for one slice.
    rows : sequence of rows of ``outcome_slice``
        With ``id``, ``commit_id`` and ``records``.

    Raises
    ------
    Replaced
        If any of the parts is gone.
    """
    records = joined(row.records for row in rows).tobytes()
    commits = sorted({row.commit_id for row in rows})
    with immediate(engine) as connection:
        replace_outcomes(
            connection,
            [row.id for row in rows],
            joined_sources(sources_of(connection, commits)),
            OutcomeSum(*key, slice_ms, span_ms, FORMAT, records),
        )
