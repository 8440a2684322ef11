"""Writes the dashboards for Grafana: ``python deploy/grafana/build.py`` after a change, and commit the JSON.

They are kept as JSON because that is what Grafana's provisioning reads; a test says when they are not what
this file writes. Several web replicas tell the same gauges of the database, hence the maxima.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
MINE = 'job=~"$job", instance=~"$instance"'
# What stands for whom a query asks: the processes chosen above, of these one model, of that a version.
WHOM = {
    "{*": "{" + MINE,
    "{model": "{" + f'{MINE}, model=~"$model"',
    "{version": "{" + f'{MINE}, model=~"$model", version=~"$version"',
}
WIDTH = 24


@dataclass(frozen=True)
class Panel:
    """One panel.

    Parameters
    ----------
    title, description : str
    queries : sequence of (str, str)
        PromQL, with the keys of `WHOM` for label matchers, and how a series is called.
    unit : str
        As Grafana names it.
    type : str
        timeseries, stat or table.
    width, height : int
        In Grafana's grid, 24 columns wide.
    thresholds : sequence of (float or None, str)
        Values from which a colour is shown.
    """

    title: str
    description: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    type: str = "timeseries"
    width: int = 12
    height: int = 8
    thresholds: Sequence[tuple[float | None, str]] = ((None, "green"),)
    minimum: float | None = None


@dataclass(frozen=True)
class Variable:
    """A choice above the panels: the values of a label."""

    name: str
    label: str
    metric: str
    where: str = ""

    def definition(self) -> dict[str, Any]:
        """Return its JSON."""
        query = f"label_values({self.metric}{{{self.where}}}, {self.name})"
        return {
            "name": self.name,
            "label": self.label,
            "type": "query",
            "datasource": SOURCE,
            "definition": query,
            "query": {"query": query, "refId": self.name},
            "refresh": 2,
            "sort": 1,
            "multi": self.name in ("job", "instance"),
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }


def quantiles(metric: str, over: str = "$__rate_interval") -> list[tuple[str, str]]:
    """Queries for the median and the 99th percentile of a histogram."""
    rates = f"sum by (le) (rate({metric}_bucket{{*}}[{over}]))"
    named = ((0.5, "median"), (0.99, "99 %"))
    return [(f"histogram_quantile({share}, {rates})", name) for share, name in named]


JOB = Variable("job", "Job", "driftline_build_info")
INSTANCE = Variable("instance", "Instance", "driftline_build_info", 'job=~"$job"')
MODEL = Variable("model", "Model", "driftline_watermark_timestamp_seconds", MINE)
VERSION = Variable("version", "Version", "driftline_drift_psi", f'{MINE}, model=~"$model"')
OFF = ((None, "green"), (1, "red"))

FLEET = (
    Panel(
        "Open alerts",
        "Alerts of all models that are firing or acknowledged.",
        [("max(driftline_alerts_open{*})", "open")],
        type="stat",
        width=6,
        height=5,
        thresholds=((None, "green"), (1, "orange")),
    ),
    Panel(
        "False-alarm budget spent",
        "False alarms to be expected of the windows judged in the latest period, of those asked for.",
        [("max(driftline_alert_budget_spent{*}) / max(driftline_alert_budget_allowed{*})", "spent")],
        unit="percentunit",
        type="stat",
        width=6,
        height=5,
        thresholds=((None, "green"), (1, "orange")),
    ),
    Panel(
        "Models",
        "Models that have sent events.",
        [("count(max by (model) (driftline_watermark_timestamp_seconds{*}))", "models")],
        type="stat",
        width=6,
        height=5,
    ),
    Panel(
        "Events",
        "Events counted in a second, all topics.",
        [('sum(rate(driftline_events_total{*, outcome="counted"}[$__rate_interval]))', "events")],
        unit="eps",
        type="stat",
        width=6,
        height=5,
    ),
    Panel(
        "Models with open alerts",
        "By model, lane and severity; the console has the incident of each.",
        [("max by (model, lane, severity) (driftline_model_alerts_open{*}) > 0", "")],
        type="table",
    ),
    Panel(
        "Changes of alerts",
        "Alerts that opened, were resolved or retracted, within an hour.",
        [("sum by (event) (increase(driftline_alerts_total{*}[1h]))", "{{event}}")],
    ),
    Panel(
        "Largest drift of a column",
        "Population stability index less what chance gives, of the latest window: the ten largest.",
        [("topk(10, max by (model, column) (driftline_drift_psi_debiased{*}))", "{{model}} {{column}}")],
    ),
    Panel(
        "Oldest events",
        "How long ago the newest prediction of a model was: the ten longest.",
        [("topk(10, time() - max by (model) (driftline_newest_event_timestamp_seconds{*}))", "{{model}}")],
        unit="s",
    ),
)

ONE_MODEL = (
    Panel(
        "Performance",
        "Measures of the latest window: estimated without labels, realised with them.",
        [
            (
                "max by (version, metric, kind) (driftline_performance_ratio{version})",
                "{{version}} {{metric}} {{kind}}",
            )
        ],
        unit="percentunit",
    ),
    Panel(
        "Labels",
        "Share of the predictions of the latest judged window that have a label.",
        [("max by (version) (driftline_label_coverage_ratio{version})", "{{version}}")],
        unit="percentunit",
        minimum=0,
    ),
    Panel(
        "Drift of columns",
        "Population stability index of the latest window less what chance gives.",
        [("max by (version, column) (driftline_drift_psi_debiased{version})", "{{version}} {{column}}")],
    ),
    Panel(
        "Evidence",
        "Natural logarithm of the evidence for drift, all rows; an alarm at 0 or more.",
        [
            (
                "max by (version, column, lane) (driftline_evidence_log{version})",
                "{{version}} {{column}} ({{lane}})",
            )
        ],
        thresholds=((None, "green"), (0, "red")),
    ),
    Panel(
        "Missing values",
        "Share of the rows of the latest window without a value.",
        [("max by (version, column) (driftline_missing_ratio{version})", "{{version}} {{column}}")],
        unit="percentunit",
        minimum=0,
    ),
    Panel(
        "Invalid and unseen values",
        "Share of the rows of the latest window.",
        [
            ("max by (version, column) (driftline_invalid_ratio{version})", "{{version}} {{column}} invalid"),
            ("max by (version, column) (driftline_unseen_ratio{version})", "{{version}} {{column}} unseen"),
        ],
        unit="percentunit",
        minimum=0,
    ),
    Panel(
        "Open alerts",
        "By lane and severity.",
        [("max by (lane, severity) (driftline_model_alerts_open{model})", "{{lane}} {{severity}}")],
    ),
    Panel(
        "Behind the clock",
        "How far the newest event and the watermark are behind the clock.",
        [
            (
                "time() - max by (model) (driftline_newest_event_timestamp_seconds{model})",
                "{{model}} newest event",
            ),
            ("time() - max by (model) (driftline_watermark_timestamp_seconds{model})", "{{model}} watermark"),
        ],
        unit="s",
    ),
)

PIPELINE = (
    Panel(
        "Database",
        "Whether the web role can read the database.",
        [("min(driftline_state_up{*})", "readable")],
        type="stat",
        width=6,
        height=5,
        thresholds=((None, "red"), (1, "green")),
    ),
    Panel(
        "Stopped partitions",
        "Partitions that wait for an operator's decision.",
        [("sum(max by (topic, partition) (driftline_partition_stopped{*}))", "stopped")],
        type="stat",
        width=6,
        height=5,
        thresholds=OFF,
    ),
    Panel(
        "Messages that wait",
        "Messages to receivers that have not arrived.",
        [("sum(max by (receiver) (driftline_messages_waiting{*}))", "waiting")],
        type="stat",
        width=6,
        height=5,
    ),
    Panel(
        "Messages given up",
        "They can be sent again from the console.",
        [("sum(max by (receiver) (driftline_messages_given_up{*}))", "given up")],
        type="stat",
        width=6,
        height=5,
        thresholds=OFF,
    ),
    Panel(
        "Events by outcome",
        "Events taken in, by what became of them.",
        [
            (
                "sum by (topic, outcome) (rate(driftline_events_total{*}[$__rate_interval]))",
                "{{topic}} {{outcome}}",
            )
        ],
        unit="eps",
    ),
    Panel(
        "Lag",
        "Messages that wait in Kafka.",
        [("sum by (topic) (driftline_consumer_lag_events{*})", "{{topic}}")],
        minimum=0,
    ),
    Panel(
        "Commits",
        "Time to store counts and positions.",
        quantiles("driftline_commit_seconds"),
        unit="s",
        minimum=0,
    ),
    Panel(
        "From a complete window to its verdict",
        "Time from the commit that completes a window to its stored results.",
        quantiles("driftline_judge_delay_seconds"),
        unit="s",
        minimum=0,
    ),
    Panel(
        "From an event to its alert",
        "Time from the arrival of the last event of a window to its alert.",
        quantiles("driftline_event_to_alert_seconds", over="1h"),
        unit="s",
        minimum=0,
    ),
    Panel(
        "Deliveries",
        "Deliveries within an hour, by what became of them.",
        [
            (
                "sum by (receiver, outcome) (increase(driftline_deliveries_total{*}[1h]))",
                "{{receiver}} {{outcome}}",
            )
        ],
    ),
    Panel(
        "Retraining",
        "Requests for training within a day, by what became of them.",
        [
            (
                "sum by (target, outcome) (increase(driftline_retraining_triggers_total{*}[1d]))",
                "{{target}} {{outcome}}",
            )
        ],
    ),
    Panel(
        "Versions",
        "Running versions of Driftline; more than one while an upgrade is under way.",
        [("count by (version) (driftline_build_info{*})", "{{version}}")],
    ),
)


def dashboard(uid: str, title: str, text: str, panels: Sequence[Panel], *own: Variable) -> dict[str, Any]:
    """Build one dashboard in Grafana's classic JSON."""
    source = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
    }
    return {
        "uid": uid,
        "title": title,
        "description": text,
        "tags": ["driftline"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [source, *(one.definition() for one in (JOB, INSTANCE, *own))]},
        "links": [{"title": "Driftline", "type": "dashboards", "tags": ["driftline"], "asDropdown": True}],
        "panels": _placed(panels),
    }


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Lay panels out in rows from the left."""
    found, x, y, tallest = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        found.append(_panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": panel.height}))
        x, tallest = x + panel.width, max(tallest, panel.height)
    return found


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    is_table = panel.type == "table"
    steps = [{"value": value, "color": color} for value, color in panel.thresholds]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.minimum is not None:
        defaults["min"] = panel.minimum
    if panel.type == "timeseries" and len(steps) > 1:
        defaults["custom"] = {"thresholdsStyle": {"mode": "line"}}
    return {
        "id": number,
        "type": panel.type,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": SOURCE,
                "expr": _for_whom(expression),
                "legendFormat": legend,
                "instant": is_table,
                "range": not is_table,
                "format": "table" if is_table else "time_series",
            }
            for at, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _for_whom(expression: str) -> str:
    for key, matchers in WHOM.items():
        expression = expression.replace(key, matchers)
    return expression


DASHBOARDS = {
    "fleet.json": dashboard(
        "driftline-fleet", "Driftline: fleet", "All models: alerts, budget, drift, freshness.", FLEET
    ),
    "model.json": dashboard(
        "driftline-model",
        "Driftline: model",
        "One model: performance, drift, quality.",
        ONE_MODEL,
        MODEL,
        VERSION,
    ),
    "pipeline.json": dashboard(
        "driftline-pipeline",
        "Driftline: pipeline",
        "The service itself: taking in, judging, telling.",
        PIPELINE,
    ),
}


def text_of(content: dict[str, Any]) -> str:
    """JSON of a dashboard as it is kept."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in DASHBOARDS.items():
        (FOLDER / name).write_text(text_of(content))
