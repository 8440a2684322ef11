"""The charts of the page of a model, by name, all over the same span of time."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from sqlalchemy import Connection

from monitor.web.charting.chart import Chart
from monitor.web.console.model.counted import count
from monitor.web.console.model.drift import FEATURES_SHOWN, features_chart, predictions_chart
from monitor.web.console.model.features import ranking
from monitor.web.console.model.markers import markers_of
from monitor.web.console.model.performance import labels_chart, metrics_of, performance_chart
from monitor.web.console.model.quality import quality_chart
from monitor.web.console.model.traffic import errors_chart, latency_chart, volume_chart
from monitor.web.console.model.view import View
from monitor.web.context import Context

Name = Literal["performance", "labels", "predictions", "features", "quality", "volume", "latency", "errors"]


def chart_of(context: Context, connection: Connection, view: View, name: Name) -> Chart:
    """Build one chart."""
    made = _built(context, connection, view, name)
    return replace(made, title=f"{view.model}: {made.title}", span=(view.from_ms, view.to_ms))


def _built(context: Context, connection: Connection, view: View, name: Name) -> Chart:
    markers = markers_of(connection, view)
    if name in ("performance", "labels"):
        metrics = metrics_of(connection, view)
        if name == "labels":
            return labels_chart(connection, view, metrics, markers)
        return performance_chart(connection, view, metrics.chosen, markers)
    if name == "predictions":
        return predictions_chart(context, connection, view, markers)
    if name == "features":
        names, judged = ranking(context, connection, view)
        return features_chart(context, connection, view, markers, names[:FEATURES_SHOWN], judged)
    if name == "volume":
        return volume_chart(connection, view, markers)
    if name == "latency":
        return latency_chart(connection, view, markers)
    counted = count(context, connection, view)
    return (quality_chart if name == "quality" else errors_chart)(counted, view, markers)
