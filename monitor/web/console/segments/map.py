"""The map of a model version that is asked for: what it measures, its rows, the same as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field
from sqlalchemy import Connection

from monitor.config.settings import METRICS
from monitor.store.queries.judged import newest_window, window_stride, windows
from monitor.store.queries.segment_values import segment_metrics
from monitor.web.charting.chart import Chart, Series
from monitor.web.console.feature.subject import Choice, RangeAsked, Subject, values_of
from monitor.web.console.feature.usual import usual_psi
from monitor.web.console.model.performance import SHARES
from monitor.web.console.segments.grid import Buckets, Row, buckets_of, rows_of
from monitor.web.console.segments.measures import (
    NAMES,
    Known,
    Measure,
    Values,
    judged_values,
    missing_values,
    performance_values,
    scale_of,
    usual_values,
)
from monitor.web.problems import not_found


class MapAsked(RangeAsked):
    """Parameters of a map."""

    by: Choice = Field(None, description="Segment column; default: the first that is configured.")
    measure: Measure = Field("usual", description="What is shown.")
    column: Choice = Field(None, description="Column that PSI or missing share is of.")
    metric: Choice = Field(None, description="Metric of performance.")


@dataclass(frozen=True)
class SegmentMap:
    """A map, and what else could be asked for.

    Parameters
    ----------
    by : str
        Segment column; empty where none is configured.
    measure : str
    column, metric : str
        Empty where there is none.
    columns, metrics : list of str
        That may be chosen.
    buckets : Buckets
    rows : list of Row
        The worst first.
    legend : str
    note : str
        What of the range was not read; empty where all of it was.
    """

    by: str
    measure: Measure
    column: str
    metric: str
    columns: list[str]
    metrics: list[str]
    buckets: Buckets
    rows: list[Row]
    legend: str
    note: str

    @property
    def is_share(self) -> bool:
        """Whether values are shares of rows."""
        return self.measure == "missing" or (self.measure == "performance" and self.metric in SHARES)

    @property
    def title(self) -> str:
        """What is shown, in words."""
        named = {
            "usual": f"PSI of {self.column} against the usual change",
            "psi": f"PSI of {self.column}, de-biased",
            "missing": f"missing share of {self.column}",
            "rows": NAMES["rows"],
            "performance": self.metric.replace("_", " "),
        }
        return named[self.measure]


def map_of(connection: Connection, subject: Subject, asked: MapAsked) -> SegmentMap:
    """Build the map that is asked for.

    Raises
    ------
    Refused
        If there is no such segment column, column or metric.
    """
    by = _chosen(asked.by, subject.segment_columns, "segment column", "query.by")
    segments = values_of(subject.segments, by)
    column = _column(subject, asked)
    metrics = _metrics(connection, subject, segments) if asked.measure == "performance" else []
    metric = _chosen(asked.metric, metrics, "metric", "query.metric") if metrics else ""
    buckets = buckets_of(subject.from_ms, subject.to_ms, subject.window.length_ms)
    newest = newest_window(connection, subject.model, subject.version, str(subject.window))
    values = _values(connection, subject, asked.measure, segments, (by, column, metric), buckets)
    scale = scale_of(asked.measure, subject, column, metric)
    end_ms = 0 if newest is None else newest.end_ms
    return SegmentMap(
        by,
        asked.measure,
        column,
        metric,
        _columns(subject, asked.measure),
        metrics,
        buckets,
        rows_of(values.measured, segments, buckets, scale, end_ms=end_ms, to_ms=subject.to_ms),
        scale.legend,
        values.note.strip(),
    )


def map_chart(subject: Subject, found: SegmentMap, rows: Sequence[Row]) -> Chart:
    """Give the values of a map as a table: a row for each bucket, columns for each segment."""
    series: list[Series] = []
    for row in rows:
        weak = [cell.is_weak for cell in row.cells]
        series.append(Series(row.segment, [cell.value for cell in row.cells], weak=weak))
        series.append(Series(f"{row.segment}, rows", [float(cell.n) for cell in row.cells]))
    title = f"{subject.model}: {found.title} by {found.by}"
    return Chart(title, found.legend, found.buckets.starts, series, unit="share" if found.is_share else "")


def _values(
    connection: Connection,
    subject: Subject,
    measure: Measure,
    segments: Sequence[str],
    names: tuple[str, str, str],
    buckets: Buckets,
) -> Values:
    by, column, metric = names
    if not segments or (measure == "performance" and not metric):
        return Values({})
    if measure == "missing":
        return missing_values(connection, subject, segments, column, buckets)
    stride = window_stride(connection, subject.stream)
    found = windows(connection, subject.stream, subject.window.every_ms, stride)
    same = {row.start_ms for row in found if row.reference_hash == subject.reference_hash}
    known = Known([row.start_ms for row in found], stride, same)
    if measure == "performance":
        return performance_values(connection, subject, known, segments, metric, buckets)
    if measure == "usual":
        return usual_values(connection, subject, known, segments, column, by, buckets)
    return judged_values(connection, subject, known, segments, column, by, buckets, measure)


def _columns(subject: Subject, measure: Measure) -> list[str]:
    """Columns that a measure can be of."""
    reference = subject.reference
    if measure == "missing":
        return [] if reference is None else sorted(reference.binning.index)
    return sorted(subject.judged)


def _column(subject: Subject, asked: MapAsked) -> str:
    """Column that is asked for; by default the one that is farthest beyond the usual in the latest window."""
    if asked.column is not None:
        subject.check_column(asked.column, "query.column")
        return asked.column
    known = _columns(subject, asked.measure)
    return max(known, key=lambda name: (_beyond(subject, name), name in subject.registered), default="")


def _beyond(subject: Subject, column: str) -> float:
    """PSI of a column in the latest window as a multiple of the usual one; 0 where that is not known."""
    if column not in subject.judged:
        return 0.0
    debiased, measured, rows = subject.judged[column]
    if debiased > 0:
        return measured / max(measured - debiased, 1e-12)
    if subject.reference is None:
        return 0.0
    detector = subject.settings.detector
    usual = usual_psi(subject.reference, detector, column, "", [subject.judged_ms], [rows])[0]
    return float(measured / usual) if usual > 0 else 0.0


def _metrics(connection: Connection, subject: Subject, segments: Sequence[str]) -> list[str]:
    """Metrics that are known by segment, that of the objective first."""
    found = [name for name in segment_metrics(connection, subject.stream, segments) if name in METRICS]
    options = subject.settings.performance
    return sorted(found, key=lambda name: (options is None or name != options.metric, name))


def _chosen(asked: str | None, known: Sequence[str], what: str, where: str) -> str:
    if asked is not None and asked not in known:
        raise not_found(asked, what, where, known)
    return asked or (known[0] if known else "")
