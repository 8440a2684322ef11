"""How far predictions and features are from their reference, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from monitor.config.settings import ModelSettings
from monitor.store.queries.model_windows import window_results
from monitor.web.charting.chart import Chart, Level, Look, Marker, Series, Value
from monitor.web.console.model.axis import line, with_gaps
from monitor.web.console.model.counted import Counted, count
from monitor.web.console.model.view import FEW_ROWS, View
from monitor.web.console.words import ordinal
from monitor.web.context import Context
from schemas.verdict import Decision

ALARMED = frozenset({Decision.DRIFT.value, Decision.ONGOING.value})
MOST_LOOKUPS = 10_000  # windows times columns of one answer
FEATURES_SHOWN = 8
MAIN = "edetector"


@dataclass(frozen=True)
class Point:
    """One column in one window; `decision` is empty where the window was not judged as such."""

    psi: float | None
    debiased: float | None
    low: float | None
    high: float | None
    n: int
    decision: str = ""
    evidence_log: float | None = None

    @property
    def is_alarmed(self) -> bool:
        """Whether the column was found to have drifted, in this window or before, and is not back."""
        return self.decision in ALARMED


@dataclass(frozen=True)
class Drift:
    """Columns from window to window: `points` by column and start; one window of `stride` was read."""

    starts: list[int]
    points: dict[str, dict[int, Point]]
    every_ms: int
    stride: int = 1
    note: str = ""


def drift_of(
    context: Context, connection: Connection, view: View, columns: Sequence[str], most: int = MOST_LOOKUPS
) -> Drift:
    """Read what was judged of some columns, or count windows of another shape anew.

    Parameters
    ----------
    most : int
        Results to read at most, windows times columns; of more windows, every n-th is read.
    """
    if not view.is_judged_shape:
        return counted_drift(count(context, connection, view), view, columns)
    stride = view.stride(len(columns), most)
    points: dict[str, dict[int, Point]] = {name: {} for name in columns}
    for stretch in view.stretches(stride):
        main: set[tuple[str, int]] = set()
        for row in window_results(connection, stretch, columns):
            at = (row.column, row.start_ms)
            if at in main or (row.psi is None and row.start_ms in points[row.column]):
                continue
            if row.detector == MAIN:
                main.add(at)
            points[row.column][row.start_ms] = Point(
                row.psi, row.psi_debiased, row.psi_low, row.psi_high, row.n, row.decision, row.evidence_log
            )
    starts = sorted({start for known in points.values() for start in known})
    note = f" Every {ordinal(stride)} window is shown." if stride > 1 else ""
    return Drift(starts, points, view.judged.every_ms * stride, stride, note)


def counted_drift(counted: Counted, view: View, columns: Sequence[str]) -> Drift:
    """Compare counted windows with their references; nothing is judged."""
    points: dict[str, dict[int, Point]] = {name: {} for name in columns}
    for part in counted.parts.values():
        effects, index = part.effects(part.counts), part.reference.binning.index
        for name in columns:
            if name not in index:
                continue
            at = index[name]
            for place in np.flatnonzero(effects.n[:, at]).tolist():
                one = effects.stream(place, at)
                points[name][counted.starts[place]] = Point(
                    one.psi, one.psi_debiased, one.psi_low, one.psi_high, int(effects.n[place, at])
                )
    note = f" Windows of {view.shape} are counted anew; those of {view.judged} are judged.{counted.note()}"
    return Drift(counted.starts, points, view.shape.length_ms, 1, note)


def predictions_chart(
    context: Context, connection: Connection, view: View, markers: Sequence[Marker]
) -> Chart:
    """Draw the de-biased PSI of the score and the prediction, with interval and tolerance."""
    columns = view.of_source("score", "prediction")[:FEATURES_SHOWN]
    drift = drift_of(context, connection, view, columns)
    axis = with_gaps(drift.starts, drift.every_ms)
    series = [_line(name, axis, drift, "debiased", with_band=True) for name in columns]
    alarmed = _alarms(axis, drift, columns, "debiased")
    return Chart(
        "Drift of predictions",
        "PSI without what chance alone gives, against the reference, with its 90 % interval, "
        f"cut where it is far wider than the values.{_levels(view, columns)}{drift.note}",
        axis,
        [*series, *alarmed],
        levels=_tolerance(view.settings, columns),
        markers=markers,
        low=0.0,
        high=_height(view, drift, columns),
    )


def _height(view: View, drift: Drift, columns: Sequence[str]) -> float:
    """Room for all values; an interval may be far wider than what there is to see."""
    found = [p.debiased or 0.0 for name in columns for p in drift.points.get(name, {}).values()]
    tolerances = [tolerance_of(view.settings, name) for name in columns]
    return max([1.6 * max(found, default=0.0), *(2 * one for one in tolerances), 0.02])


def features_chart(
    context: Context,
    connection: Connection,
    view: View,
    markers: Sequence[Marker],
    columns: Sequence[str],
    judged: Drift,
) -> Chart:
    """Draw the PSI of the features that drifted most, first in the table first.

    Parameters
    ----------
    columns : sequence of str
    judged : Drift
        Of the judged windows; others are counted.
    """
    drift = judged if view.is_judged_shape else drift_of(context, connection, view, columns)
    axis = with_gaps(drift.starts, drift.every_ms)
    return Chart(
        "Drift of features",
        f"PSI of the {len(columns)} features that come first in the table below, against the reference; "
        f"a feature that varies by nature has a high one always.{drift.note}",
        axis,
        [*(_line(name, axis, drift, "psi") for name in columns), *_alarms(axis, drift, columns, "psi")],
        levels=_tolerance(view.settings, columns),
        markers=markers,
        low=0.0,
    )


def _line(name: str, axis: list[int], drift: Drift, what: str, *, with_band: bool = False) -> Series:
    known = drift.points.get(name, {})
    values: dict[int, Value] = {start: getattr(point, what) for start, point in known.items()}
    weak = {start for start, point in known.items() if point.n < FEW_ROWS}
    if not with_band:
        return line(name, axis, values, weak=weak)
    low: dict[int, Value] = {start: point.low for start, point in known.items()}
    high: dict[int, Value] = {start: point.high for start, point in known.items()}
    return line(name, axis, values, low=low, high=high, weak=weak)


def _alarms(axis: list[int], drift: Drift, columns: Sequence[str], what: str) -> list[Series]:
    """Points where one of the columns is in alarm, at the height of the one that is farthest off."""
    heights: dict[int, Value] = {}
    for name in columns:
        for start, point in drift.points.get(name, {}).items():
            value = getattr(point, what)
            if point.is_alarmed and value is not None:
                heights[start] = max(heights.get(start) or 0.0, value)
    return [line("in alarm", axis, heights, look=Look.POINTS)] if heights else []


def tolerance_of(settings: ModelSettings, column: str) -> float:
    """PSI that nobody wants to hear of."""
    own = settings.columns.get(column)
    return float(settings.tolerance_psi if own is None or own.tolerance_psi is None else own.tolerance_psi)


def _tolerance(settings: ModelSettings, columns: Sequence[str]) -> list[Level]:
    found: dict[float, list[str]] = {}
    for name in columns:
        found.setdefault(tolerance_of(settings, name), []).append(name)
    if len(found) <= 1:
        return [Level(value, "tolerance") for value in found]
    return [Level(value, f"tolerance of {', '.join(names[:3])}") for value, names in sorted(found.items())]


def _levels(view: View, columns: Sequence[str]) -> str:
    values = sorted({tolerance_of(view.settings, name) for name in columns})
    return f" Up to {values[0]:g} is tolerated." if len(values) == 1 else ""
