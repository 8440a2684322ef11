"""Judged windows of one model version, oldest first, and what was said there of a column and its segments.

Windows are found first, and results by the starts of those: the unique index of results then leads straight
to a column and its segments, however many others were judged beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, case, exists, func, select

from monitor.store.queries.slices import DAY_MS
from monitor.store.tables import judgement, result, slice_profile

MOST_WINDOWS = 2_400  # ninety days of hours, and some
MOST_COUNTED = 500_000  # windows that are counted to find out how many there are
ENOUGH_ROWS = 100  # rows of a window from which on its effect is ranked


@dataclass(frozen=True)
class Stream:
    """Windows of one shape of a model version that start in ``[from_ms, to_ms)``."""

    model: str
    version: str
    window: str
    from_ms: int
    to_ms: int


def windows(connection: Connection, stream: Stream, every_ms: int = 1, stride: int = 1) -> list[Any]:
    """List judged windows as they were judged last: the newest 2,400, oldest first.

    Parameters
    ----------
    every_ms : int
        Distance between the starts of two windows.
    stride : int
        Only every n-th window; see `window_stride`.

    Returns
    -------
    list of rows
        ``id``, ``start_ms``, ``end_ms``, ``rows``, ``excluded_rows``, ``reference_hash``, ``revision``.
    """
    j = judgement.c
    query = select(j.id, j.start_ms, j.end_ms, j.rows, j.excluded_rows, j.reference_hash, j.revision)
    query = query.where(*_of_stream(stream), ~_judged_again(judgement))
    if stride > 1:
        query = query.where(j.start_ms // every_ms % stride == 0)
    return list(connection.execute(query.order_by(j.start_ms.desc()).limit(MOST_WINDOWS)))[::-1]


def window_stride(connection: Connection, stream: Stream) -> int:
    """Of how many windows of a range one has to be read, so that `windows` lists the range as a whole."""
    some = select(judgement.c.start_ms).where(*_of_stream(stream)).distinct().limit(MOST_COUNTED).subquery()
    total = int(connection.execute(select(func.count()).select_from(some)).scalar_one())
    return max(1, -(-total // MOST_WINDOWS))


def newest_window(connection: Connection, model: str, version: str, window: str) -> Any | None:
    """Find the window that was judged last: ``id``, ``start_ms`` and ``end_ms``."""
    j = judgement.c
    query = select(j.id, j.start_ms, j.end_ms).where(
        j.model == model, j.version == version, j.window == window
    )
    return connection.execute(query.order_by(j.start_ms.desc(), j.revision.desc()).limit(1)).first()


def judged_columns(connection: Connection, judgement_id: int) -> dict[str, tuple[float, float, int] | None]:
    """Columns of a judgement with the PSI of all rows, de-biased and measured, and their number.

    None for those that were not compared with a reference.
    """
    r = result.c
    debiased = func.max(case((_is_comparison(), r.psi_debiased)))
    measured = func.max(case((_is_comparison(), r.psi)))
    query = (
        select(r.column, debiased, measured, func.max(r.n))
        .where(r.judgement_id == judgement_id, r.segment == "")
        .group_by(r.column)
    )
    rows = connection.execute(query.order_by(r.column))
    return {row[0]: None if row[1] is None else (row[1], row[2] or 0.0, row[3]) for row in rows}


def effects(
    connection: Connection, stream: Stream, starts: Sequence[int], column: str, segment: str
) -> list[Any]:
    """Effects and evidence of one column and segment, oldest first.

    Parameters
    ----------
    starts : sequence of int
        Of the windows.

    Returns
    -------
    list of rows
        ``start_ms``, ``detector``, ``decision``, ``n``, ``m``, ``statistic``, ``threshold``,
        ``evidence_log``, ``psi``, ``psi_debiased``, ``psi_low``, ``psi_high``; one for each detector.
    """
    r = result.c
    query = select(
        r.start_ms, r.detector, r.decision, r.n, r.m, r.statistic, r.threshold, r.evidence_log,
        r.psi, r.psi_debiased, r.psi_low, r.psi_high,
    )  # fmt: skip
    query = _in_windows(query, stream, starts).where(r.column == column, r.segment == segment)
    return list(connection.execute(query.order_by(r.start_ms, r.detector)))


def ranked_segments(
    connection: Connection, stream: Stream, starts: Sequence[int], column: str, by: str
) -> list[Any]:
    """Segments of one segment column with their mean de-biased PSI, the most drifted first.

    Returns
    -------
    list of rows
        ``segment``, ``psi`` and ``measured`` (the same without taking anything off; of windows with at least
        100 rows; None without such), ``windows``.
    """
    r = result.c
    mean, raw = (func.avg(case((r.n >= ENOUGH_ROWS, psi))) for psi in (r.psi_debiased, r.psi))
    query = select(r.segment, mean.label("psi"), raw.label("measured"), func.count().label("windows"))
    query = _in_windows(query, stream, starts).where(*_of_column(column, by)).group_by(r.segment)
    order = (func.coalesce(mean, -1.0).desc(), func.coalesce(raw, -1.0).desc(), r.segment)
    return list(connection.execute(query.order_by(*order)))


def segment_effects(
    connection: Connection, stream: Stream, starts: Sequence[int], column: str, by: str
) -> list[Any]:
    """What was said of the segments of a column, window by window, in no order.

    Returns
    -------
    list of rows
        ``segment``, ``start_ms``, ``detector``, ``decision``, ``n``, ``m``, ``psi``, ``psi_debiased``.
    """
    r = result.c
    query = select(r.segment, r.start_ms, r.detector, r.decision, r.n, r.m, r.psi, r.psi_debiased)
    return list(connection.execute(_in_windows(query, stream, starts).where(*_of_column(column, by))))


def segment_buckets(
    connection: Connection, stream: Stream, starts: Sequence[int], column: str, by: str, bucket_ms: int
) -> list[Any]:
    """What was said of the segments of a column, windows put together to buckets of time.

    Parameters
    ----------
    bucket_ms : int
        Length of a bucket; they are counted from the start of the stream's range.

    Returns
    -------
    list of rows
        ``segment``, ``bucket`` (its number), ``psi`` (largest de-biased one), ``n`` (rows of all windows),
        ``fewest`` (rows of the window with the fewest), ``alarms`` (windows with an alarm).
    """
    r = result.c
    bucket = (r.start_ms - stream.from_ms) // bucket_ms
    is_alarm = case((r.decision.in_(("drift", "ongoing")), 1), else_=0)
    query = select(
        r.segment, bucket.label("bucket"), func.max(r.psi_debiased).label("psi"), func.sum(r.n).label("n"),
        func.min(r.n).label("fewest"), func.sum(is_alarm).label("alarms"),
    )  # fmt: skip
    query = _in_windows(query, stream, starts).where(*_of_column(column, by))
    return list(connection.execute(query.group_by(r.segment, bucket)))


def filled_slices(
    connection: Connection, stream: Stream, step_ms: int, slice_ms: int, stride: int = 1
) -> dict[int, int]:
    """Count the slices that hold rows, by the start of steps of time; the index alone answers this.

    Hours and days that slices were added up to count as full: which of them held rows is not known any more.

    Parameters
    ----------
    step_ms, slice_ms : int
    stride : int
        Only every n-th step, as `windows` reads every n-th window.
    """
    s = slice_profile.c
    starts = (
        select(s.slice_ms)
        .distinct()
        .where(s.model == stream.model, s.version == stream.version)
        .where(s.slice_ms >= stream.from_ms, s.slice_ms < stream.to_ms)
    )
    if stride > 1:
        starts = starts.where(s.slice_ms // step_ms % stride == 0)
    of = starts.subquery().c
    step = of.slice_ms // step_ms * step_ms
    counts = {int(at): int(n) for at, n in connection.execute(select(step, func.count()).group_by(step))}
    sums = (
        select(s.slice_ms, s.span_ms)
        .where(s.model == stream.model, s.version == stream.version, s.span_ms > 0)
        .where(s.slice_ms > stream.from_ms - DAY_MS, s.slice_ms < stream.to_ms)
    )
    for start_ms, span_ms in connection.execute(sums):
        for at in range(start_ms // step_ms * step_ms, start_ms + span_ms, step_ms):
            filled = min(at + step_ms, start_ms + span_ms) - max(at, start_ms)
            counts[at] = min(max(counts.get(at, 0) + filled // slice_ms - 1, 1), step_ms // slice_ms)
    return counts


def _of_stream(stream: Stream) -> Sequence[ColumnElement[bool]]:
    j = judgement.c
    return (
        j.model == stream.model,
        j.version == stream.version,
        j.window == stream.window,
        j.start_ms >= stream.from_ms,
        j.start_ms < stream.to_ms,
    )


def _in_windows(query: Select[Any], stream: Stream, starts: Sequence[int]) -> Select[Any]:
    """Keep results of some windows, as these were judged last, that compare with a reference."""
    r = result.c
    return query.where(
        r.model == stream.model,
        r.version == stream.version,
        r.window == stream.window,
        r.start_ms.in_(starts),
        r.psi_debiased.is_not(None),
        _is_comparison(),
        ~_judged_again(result),
    )


def _of_column(column: str, by: str) -> Sequence[ColumnElement[bool]]:
    r = result.c
    return r.column == column, r.segment.startswith(f"{by}=", autoescape=True)


def _is_comparison() -> ColumnElement[bool]:
    """Whether a result compares with a reference; watches of quality have effects of other things."""
    return result.c.detector.not_like("quality.%")


def _judged_again(table: Table) -> ColumnElement[bool]:
    """Whether the window of a row has a later judgement."""
    later = judgement.alias("later")
    return exists().where(
        later.c.model == table.c.model,
        later.c.version == table.c.version,
        later.c.window == table.c.window,
        later.c.start_ms == table.c.start_ms,
        later.c.revision > table.c.revision,
    )
