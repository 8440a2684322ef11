"""Small charts of a column, one for each value of a segment column, the most drifted first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from monitor.store.queries.judged import ranked_segments
from monitor.web.console.feature.subject import Subject
from monitor.web.problems import not_found

MOST_CHARTS = 12
MOST_LINKED = 200
MOST_RANKED_WINDOWS = 400


@dataclass(frozen=True)
class Multiples:
    """Which segments have charts, and which are only linked.

    Parameters
    ----------
    by : str
        Segment column; empty where none is configured.
    choices : list of str
        All segment columns.
    charted, linked : list of rows
        ``segment``, ``psi`` (mean de-biased PSI), ``windows``.
    more : int
        Segments that are not even linked.
    """

    by: str
    choices: list[str]
    charted: list[Any]
    linked: list[Any]
    more: int


def multiples_of(
    connection: Connection, subject: Subject, starts: Sequence[int], column: str, by: str | None
) -> Multiples:
    """Rank the segments of a segment column by their drift in the newest 400 windows of the range.

    Raises
    ------
    Refused
        If `by` is not a segment column.
    """
    choices = subject.segment_columns
    if by is not None and by not in choices:
        raise not_found(by, "segment column", "query.by", choices)
    if not choices:
        return Multiples("", [], [], [], 0)
    chosen = choices[0] if by is None else by
    newest = sorted(starts)[-MOST_RANKED_WINDOWS:]
    ranked = ranked_segments(connection, subject.stream, newest, column, chosen)
    linked = ranked[MOST_CHARTS:]
    return Multiples(
        chosen, choices, ranked[:MOST_CHARTS], linked[:MOST_LINKED], max(len(linked) - MOST_LINKED, 0)
    )
