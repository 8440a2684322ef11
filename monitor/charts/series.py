"""A statistic from window to window, from stored results and stored measures of performance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from alerting.charts.data import MOST_POINTS, Point, Series
from alerting.finding import Finding, instant
from alerting.incidents.impact import Knowledge
from alerting.notice import Notice
from alerting.summary import subject
from monitor.charts.distribution import title_of
from monitor.config.settings import ModelSettings
from monitor.store.tables import performance_value
from schemas.verdict import Decision, Lane

LOG_OF_TEN = math.log(10)
ALARMS = frozenset({Decision.DRIFT, Decision.ONGOING})


class _Measured(NamedTuple):
    """How a result becomes a point: its value, its interval, what it is held against."""

    name: str
    value: str
    low: str
    high: str
    scale: float
    limit: float | None
    limit_name: str


def judged_series(
    notice: Notice, finding: Finding, rows: Sequence[Any], settings: ModelSettings
) -> Series | None:
    """Draw what was said of a stream: the effect where there is one, else the evidence or the statistic.

    Parameters
    ----------
    notice : Notice
    finding : Finding
    rows : sequence of rows
        Results of the stream, oldest first.
    settings : ModelSettings
        Of the model, for its tolerance.

    Returns
    -------
    Series or None
        None if no row has a finite value.
    """
    if not rows:
        return None
    how = _measured(finding, rows, settings)
    points = tuple(
        Point(
            instant(row.start_ms),
            getattr(row, how.value) / how.scale,
            _finite(getattr(row, how.low, None)),
            _finite(getattr(row, how.high, None)),
            row.decision in ALARMS,
        )
        for row in rows
        if _finite(getattr(row, how.value)) is not None
    )
    title = title_of(finding, rows[-1].model, rows[-1].version)
    return _series(notice, title, how.name, points, how.limit, how.limit_name)


def performance_series(
    connection: Connection, notice: Notice, finding: Finding, settings: ModelSettings, rows: Sequence[Any]
) -> Series | None:
    """Draw the measure of performance that an incident is about, beside its objective or what it was before.

    Parameters
    ----------
    connection : Connection
    notice : Notice
    finding : Finding
    settings : ModelSettings
        Of the model, for its windows.
    rows : sequence of rows
        Results of the stream, which say where alarms were.

    Returns
    -------
    Series or None
        None if the incident is not about performance, or no measure is known.
    """
    if finding.lane is not Lane.PERFORMANCE:
        return None
    alert, impact = notice.alert, notice.impact
    kind = Knowledge.REALISED if impact is None else impact.kind
    shape = str(settings.windows[0])
    limit, name = finding.threshold, "objective"
    stored = _values(connection, notice, finding.segment, shape, kind, finding.column)
    metric = finding.column
    if not stored and impact is not None:
        metric, limit, name = impact.metric, impact.before, "before"
        stored = _values(connection, notice, "", shape, kind, metric)
    alarms = {row.start_ms for row in rows if row.decision in ALARMS}
    points = tuple(
        Point(instant(row.start_ms), row.value, row.low, row.high, row.start_ms in alarms)
        for row in reversed(stored)
        if math.isfinite(row.value)
    )
    known = "" if kind is Knowledge.REALISED else " (estimated)"
    return _series(notice, subject(alert.model, alert.version), f"{metric}{known}", points, limit, name)


def _measured(finding: Finding, rows: Sequence[Any], settings: ModelSettings) -> _Measured:
    newest = rows[-1]
    threshold = _finite(newest.threshold)
    if all(row.psi is not None for row in rows):
        if newest.statistic == newest.psi_debiased:
            return _Measured("PSI", "psi_debiased", "psi_low", "psi_high", 1.0, threshold, "threshold")
        tolerance = _tolerance(finding, settings)
        return _Measured("PSI", "psi", "psi_low", "psi_high", 1.0, tolerance, "tolerance")
    if all(row.evidence_log is not None for row in rows):
        limit = None if finding.threshold_log is None else finding.threshold_log / LOG_OF_TEN
        name = "evidence (powers of ten)"
        return _Measured(name, "evidence_log", "", "", LOG_OF_TEN, limit, "threshold")
    return _Measured(finding.detector, "statistic", "", "", 1.0, threshold, "threshold")


def _tolerance(finding: Finding, settings: ModelSettings) -> float:
    own = settings.columns.get(finding.column)
    return settings.tolerance_psi if own is None or own.tolerance_psi is None else own.tolerance_psi


def _values(
    connection: Connection, notice: Notice, segment: str, shape: str, kind: Knowledge, metric: str
) -> list[Any]:
    """Measures of the latest windows, the newest first."""
    p = performance_value.c
    query = select(p.start_ms, p.value, p.low, p.high).where(
        p.model == notice.alert.model,
        p.version == notice.alert.version,
        p.window == shape,
        p.segment == segment,
        p.kind == kind.value,
        p.metric == metric,
    )
    return list(connection.execute(query.order_by(p.start_ms.desc()).limit(MOST_POINTS)))


def _series(
    notice: Notice, title: str, measure: str, points: tuple[Point, ...], limit: float | None, name: str
) -> Series | None:
    if not points:
        return None
    onset = notice.alert.onset_at or notice.alert.window_start
    return Series(title, measure, points, limit, name, onset)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
