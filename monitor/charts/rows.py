"""Stored results of the stream of a finding, from window to window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection

from alerting.charts.data import MOST_POINTS
from alerting.finding import Finding, epoch_ms
from alerting.notice import Notice
from monitor.store.queries.results import Wanted, results

SHAPES = 16  # windows of different shapes that start together


class StreamRows(NamedTuple):
    """What was said of one stream.

    Parameters
    ----------
    shown : row
        Result of the window that the distribution is shown of.
    latest : list of rows
        Results of windows of the same shape, oldest first, 60 at most.
    """

    shown: Any
    latest: list[Any]


def stream_rows(connection: Connection, notice: Notice, finding: Finding) -> StreamRows | None:
    """Read the results of a finding's stream.

    Parameters
    ----------
    connection : Connection
    notice : Notice
        Of an incident that is over the latest window is shown, else that of the finding.
    finding : Finding

    Returns
    -------
    StreamRows or None
        None if the result of the finding is not stored (any more).
    """
    alert, start_ms = notice.alert, epoch_ms(finding.window_start)
    stream = Wanted(
        alert.model,
        column=finding.column,
        segment=finding.segment,
        detector=finding.detector,
        version=alert.version,
    )
    here = replace(stream, from_ms=start_ms, to_ms=start_ms + 1)
    found = results(connection, here, None, SHAPES)
    own = next((row for row in found if row.end_ms == epoch_ms(finding.window_end)), None)
    if own is None:
        return None
    latest = results(connection, replace(stream, window=own.window), None, MOST_POINTS)
    return StreamRows(own if alert.is_open else latest[0], latest[::-1])
