"""Evidence of a part of a week, taken from the state of a detector, as rows of ``weekly_evidence``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from sqlalchemy import Connection

from alerting.finding import shorten
from detectors.digest import WeeklyEvidence
from detectors.events import weeks_in
from detectors.moved import explain
from detectors.tensor import ReferenceCounts
from monitor.profiling import Key
from monitor.store import weeks
from schemas.column import CORRELATION
from schemas.verdict import Lane, MovedBin

MAX_SUMMARY = 400
CHANGED_TOGETHER = "how columns go together has changed"
Summaries = Callable[[int, str, str], str]


def part_of(
    connection: Connection, key: Key, window: str, state: bytes | None, reference: ReferenceCounts
) -> list[dict[str, Any]]:
    """Read what a state holds of a week.

    Parameters
    ----------
    connection : Connection
        For the words of what moved.
    key : tuple of str
        Model and version.
    window : str
        Shape of the base windows, as in results.
    state : bytes or None
        Of the detector after the latest window.
    reference : ReferenceCounts
        That the windows were compared with.

    Returns
    -------
    list of dict
        One row for each stream; none if the state knows of no week.
    """
    moved: dict[int, dict[tuple[str, str], str]] = {}

    def summary(start_ms: int, column: str, segment: str) -> str:
        if start_ms not in moved:
            moved[start_ms] = weeks.moved_in(connection, key, window, start_ms)
        text = moved[start_ms].get((column, segment), "[]")
        return words(column, segment, tuple(MovedBin(**bin_) for bin_ in json.loads(text)))

    return rows_of(key, state, reference, summary)


def rows_of(
    key: Key, state: bytes | None, reference: ReferenceCounts, summary: Summaries
) -> list[dict[str, Any]]:
    """Write the streams of a part as rows.

    Parameters
    ----------
    key : tuple of str
    state : bytes or None
        Of the detector after the latest window.
    reference : ReferenceCounts
    summary : callable
        Says what moved in a window of a column and segment; asked of streams with evidence only.

    Raises
    ------
    RuntimeError
        If the evidence is not that of the reference's streams.
    """
    week, pairs = (None, None) if state is None else weeks_in(state)
    if week is None:
        return []
    layout = reference.layout
    streams = [
        (segment, column, Lane.SEGMENTS if segment else lane)
        for segment, (column, lane) in product(
            reference.segments, zip(layout.columns, layout.lanes, strict=True)
        )
    ]
    found = _rows(key, week, streams, summary)
    if pairs is not None:
        found += _rows(key, pairs, [("", CORRELATION, Lane.MULTIVARIATE)], lambda *_: CHANGED_TOGETHER)
    return found


def _rows(
    key: Key, week: WeeklyEvidence, streams: Sequence[tuple[str, str, Lane]], summary: Summaries
) -> list[dict[str, Any]]:
    if len(streams) != len(week.log_evalue):
        msg = f"evidence of {len(week.log_evalue)} streams for a reference of {len(streams)}"
        raise RuntimeError(msg)
    numbers = (week.log_evalue, week.rows, week.psi, week.psi_at_ms)
    return [
        {
            "model": key[0],
            "version": key[1],
            "week_ms": week.start_ms,
            "from_ms": week.first_ms,
            "last_ms": week.last_ms,
            "column": column,
            "segment": segment,
            "lane": lane.value,
            "log_evalue": log_evalue,
            "windows": week.windows,
            "rows": rows,
            "psi": psi,
            "summary": summary(psi_at_ms, column, segment) if log_evalue > 0 else "",
        }
        for (segment, column, lane), log_evalue, rows, psi, psi_at_ms in zip(
            streams, *(np.asarray(array).tolist() for array in numbers), strict=True
        )
    ]


def words(column: str, segment: str, moved: tuple[MovedBin, ...]) -> str:
    """Say what moved most.

    Examples
    --------
    >>> words("age", "", (MovedBin("[48.1, 61.0)", 0.09, 0.62, 0.4),))
    'age: 62 % of rows in [48.1, 61.0), reference 9.0 %'
    """
    return shorten(explain(column, segment, moved, None, None), MAX_SUMMARY) if moved else ""
