"""How many events came, how long they took to answer, and how many failed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection

from detectors.partial_profile import read_summary
from detectors.summary import Summary
from monitor.store.queries.model_windows import judged_windows
from monitor.store.queries.slice_counts import slice_bytes, slice_rows, slice_total
from monitor.store.queries.slices import Span
from monitor.web.charting.chart import Chart, Look, Marker, Value
from monitor.web.console.model.axis import line, with_gaps
from monitor.web.console.model.counted import Counted
from monitor.web.console.model.view import FEW_ROWS, MOST_WINDOWS, View
from monitor.web.console.words import ordinal

MOST_UNJUDGED = 3_000  # slices behind the newest judged window, or before the first
MOST_SUMMARIES = 400  # slices whose summaries are read for one chart
QUANTILES = {"median": 0.5, "95 % are faster": 0.95}


def volume_chart(connection: Connection, view: View, markers: Sequence[Marker]) -> Chart:
    """Draw the number of events of each window; those that are not judged yet are greyed."""
    length_ms, stride = view.shape.length_ms, view.stride() if view.is_judged_shape else 1
    rows: dict[int, int] = {}
    unjudged: set[int] = set()
    for stretch in view.stretches(stride):
        judged = judged_windows(connection, stretch)
        for row in judged:
            start = row.start_ms if view.is_judged_shape else row.start_ms // length_ms * length_ms
            if view.is_judged_shape or view.judged.is_apart(row.start_ms):
                rows[start] = rows.get(start, 0) + row.rows
        ends = (judged[0].start_ms, judged[-1].end_ms) if judged else (view.to_ms, view.to_ms)
        for from_ms, to_ms in ((view.from_ms, ends[0]), (ends[1], view.to_ms)):
            span = Span(view.model, from_ms, to_ms, stretch.version)
            for start, number in slice_rows(connection, span, length_ms, MOST_UNJUDGED).items():
                rows[start] = rows.get(start, 0) + number
                unjudged.add(start)
    axis = with_gaps(sorted(rows)[-MOST_WINDOWS:], view.shape.every_ms * stride)
    grey = " Grey: not judged yet, more may come." if unjudged else ""
    thinned = f" Every {ordinal(stride)} window is shown." if stride > 1 else ""
    values: dict[int, Value] = {start: float(number) for start, number in rows.items()}
    series = [line("events", axis, values, look=Look.STEPS, weak=unjudged)]
    words = f"Events of each window of {view.shape}.{grey}{thinned}"
    return Chart("Volume", words, axis, series, markers=markers, low=0.0)


def latency_chart(connection: Connection, view: View, markers: Sequence[Marker]) -> Chart:
    """Draw the median and a high quantile of how long answers took."""
    columns = view.of_source("latency")
    if not columns:
        return Chart("Latency", "The events carry no latency (latency_ms).", [], [], "ms", markers=markers)
    spans = [Span(view.model, view.from_ms, view.to_ms, version) for version in view.shown]
    total = sum(slice_total(connection, span, 100 * MOST_SUMMARIES) for span in spans)
    stride = 1 if total <= MOST_SUMMARIES else -(-total // MOST_SUMMARIES) | 1
    found: dict[int, Summary] = {}
    for span in spans:
        for row in slice_bytes(connection, span, view.settings.slice_ms, stride):
            summary = read_summary(row.bytes, columns[0])
            start = row.slice_ms // view.shape.length_ms * view.shape.length_ms
            if summary is not None and start in found:
                found[start].merge(summary)
            elif summary is not None:
                found[start] = summary
    axis = with_gaps(found, view.shape.length_ms)
    weak = {start for start, summary in found.items() if summary.ok * stride < FEW_ROWS}
    read = {start: summary.quantile(list(QUANTILES.values())) for start, summary in found.items()}
    series = [
        line(name, axis, {s: None if q is None else q[i] for s, q in read.items()}, weak=weak)
        for i, name in enumerate(QUANTILES)
    ]
    thinned = f" From every {ordinal(stride)} slice." if stride > 1 else ""
    words = f"How long the model took to answer, of windows of {view.shape}; rank error about 2 %.{thinned}"
    return Chart("Latency", words, axis, series, "ms", markers=markers, low=0.0)


def errors_chart(counted: Counted, view: View, markers: Sequence[Marker]) -> Chart:
    """Draw the share of events that carry an error instead of a prediction."""
    columns = view.of_source("error")
    if not columns:
        return Chart("Errors", "No event carries an error.", [], [], "share", markers=markers)
    axis = with_gaps(counted.starts, view.shape.length_ms)
    missing = counted.shares(columns[0]).get("missing", np.full(len(counted.starts), np.nan))
    values: dict[int, Value] = dict(zip(counted.starts, (1 - missing).tolist(), strict=True))
    words = f"Share of the events with an error.{counted.note()}"
    series = [line("errors", axis, values, look=Look.STEPS)]
    return Chart("Errors", words, axis, series, "share", markers=markers, low=0.0)
