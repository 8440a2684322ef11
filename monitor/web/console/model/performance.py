"""Realised and estimated performance of a model, window by window, and how many labels there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from monitor.performance.outcomes import measure_records
from monitor.store.queries.model_windows import measures, metric_names
from monitor.store.queries.outcomes import class_hashes, texts_of, windows_between
from monitor.web.charting.chart import Chart, Level, Look, Marker, Value
from monitor.web.console.model.axis import line, with_gaps
from monitor.web.console.model.view import View
from monitor.web.console.words import ordinal
from monitor.web.parameters import check_text
from monitor.web.problems import not_found

SHARES = frozenset(
    {
        "accuracy", "balanced_accuracy", "precision", "recall", "f1", "specificity", "roc_auc", "pr_auc",
        "base_rate", "predicted_positive_rate", "ece",
    }
)  # fmt: skip
USUAL = ("accuracy", "mae")
FEW_LABELS = 30
MOST_MEASURED = 120  # windows of another shape, measured anew


@dataclass(frozen=True)
class Metrics:
    """Measures that a model has, and the one that is shown."""

    names: list[str]
    chosen: str | None


def metrics_of(connection: Connection, view: View) -> Metrics:
    """Find the measures of a model: the configured one first, then the usual ones.

    Raises
    ------
    Refused
        If the one that was asked for is none of them.
    """
    found: set[str] = set()
    for version in view.shown:
        found |= set(metric_names(connection, view.model, version, str(view.judged)))
    configured = [] if view.settings.performance is None else [view.settings.performance.metric]
    first = [name for name in (*configured, *USUAL) if name in found or name in configured]
    names = list(dict.fromkeys([*first, *sorted(found)]))
    asked = view.asked.metric
    if asked is not None and asked not in names:
        raise not_found(check_text(asked), "measure", "query.metric", names)
    has_any = bool(found)
    return Metrics(names if has_any else [], asked or (names[0] if has_any else None))


def stored_measures(connection: Connection, view: View, names: Sequence[str]) -> dict[str, dict[int, Any]]:
    """Read measures of the judged windows: ``kind/metric`` to rows by start."""
    stride = view.stride(len(names))
    found: dict[str, dict[int, Any]] = {}
    for stretch in view.stretches(stride):
        for row in measures(connection, stretch, names):
            found.setdefault(f"{row.kind}/{row.metric}", {})[row.start_ms] = row
    return found


def performance_chart(
    connection: Connection, view: View, metric: str | None, markers: Sequence[Marker]
) -> Chart:
    """Draw one measure, realised with labels and estimated without, with intervals and the objective."""
    if metric is None:
        return Chart("Performance", "No label has come so far.", [], [], markers=markers)
    name = metric.replace("_", " ")
    unit, levels = ("share" if metric in SHARES else ""), _objective(view, metric)
    words = f"Realised {name} of windows of {view.shape}, with its 95 % interval"
    low = 0.0 if metric in SHARES else None
    if not view.is_judged_shape:
        realised = _measured_anew(connection, view, metric)
        axis = with_gaps(realised, view.shape.length_ms)
        series = [_band("realised", axis, realised, Look.LINE)]
        note = f"{words}, of all labels that there are; estimates are of windows of {view.judged} only."
        return Chart(f"Performance: {name}", note, axis, series, unit, levels, markers, low)
    stored = stored_measures(connection, view, [metric])
    real, guess = stored.get(f"realised/{metric}", {}), stored.get(f"estimated/{metric}", {})
    stride = view.stride()
    axis = with_gaps({*real, *guess}, view.judged.every_ms * stride)
    series = [_band("realised", axis, real, Look.LINE), _band("estimated", axis, guess, Look.DASHED)]
    shown = [one for one, known in zip(series, (real, guess), strict=True) if known]
    note = f"{words}; estimated without labels." + (
        f" Every {ordinal(stride)} window is shown." if stride > 1 else ""
    )
    return Chart(f"Performance: {name}", note, axis, shown, unit, levels, markers, low)


def labels_chart(connection: Connection, view: View, metrics: Metrics, markers: Sequence[Marker]) -> Chart:
    """Draw the share of predictions of each judged window that have a label."""
    names = [name for name in (*USUAL, *metrics.names) if name in metrics.names][:1]
    stored = stored_measures(connection, view, names) if names else {}
    rows = stored.get(f"realised/{names[0]}", {}) if names else {}
    axis = with_gaps(rows, view.judged.every_ms * view.stride())
    values: dict[int, Value] = {start: row.coverage for start, row in rows.items()}
    weak = {start for start, row in rows.items() if row.n < FEW_LABELS}
    words = "Share of the predictions of each window that have a label; grey: fewer than 30 labels."
    series = [line("label coverage", axis, values, look=Look.STEPS, weak=weak)]
    return Chart("Labels", words, axis, series, "share", markers=markers, low=0.0, high=1.0)


def _measured_anew(connection: Connection, view: View, metric: str) -> dict[int, Any]:
    """Measure windows of another shape from stored outcomes; the newest 120."""
    window_ms = view.shape.length_ms
    from_ms = max(view.from_ms, view.to_ms - MOST_MEASURED * window_ms)
    found: dict[int, Any] = {}
    for version in view.shown:
        parts = windows_between(connection, (view.model, version), from_ms, view.to_ms, window_ms)
        names = texts_of(connection, class_hashes(parts.values()))
        for start, records in parts.items():
            measured = measure_records(view.settings, records, names).realised.measures
            if metric in measured:
                found[start] = measured[metric]
    return found


def _band(name: str, axis: list[int], rows: dict[int, Any], look: Look) -> Any:
    return line(
        name,
        axis,
        {start: row.value for start, row in rows.items()},
        look=look,
        low={start: row.low for start, row in rows.items()},
        high={start: row.high for start, row in rows.items()},
        weak={start for start, row in rows.items() if row.n < FEW_LABELS},
    )


def _objective(view: View, metric: str) -> list[Level]:
    options = view.settings.performance
    return (
        [Level(float(options.slo), "objective")] if options is not None and options.metric == metric else []
    )
