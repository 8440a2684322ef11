"""What an incident costs, from the measures that are stored of its windows and of those before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from alerting.alert import Alert
from alerting.finding import epoch_ms
from alerting.incidents.impact import Impact, Knowledge
from monitor.config import Configuration
from monitor.store.tables import performance_value

WINDOWS_BEFORE = 30
FOREVER = 2**62
KNOWN_FROM = 30  # labelled rows that make a realised value worth more than an estimate

p = performance_value.c


def impact_of(connection: Connection, configuration: Configuration, alerts: Sequence[Alert]) -> Impact | None:
    """Read how a model does since an incident began, or did until it was over, beside how it did before.

    Parameters
    ----------
    connection : Connection
    configuration : Configuration
    alerts : sequence of Alert
        Those of the incident; the model with the most severe one counts.

    Returns
    -------
    Impact or None
        The latest window of the incident: from labels where there are enough of them, else as estimated; None
        where neither is known.
    """
    lead = max(alerts, key=lambda alert: (alert.is_open, alert.severity.rank, alert.id))
    settings = configuration.for_model(lead.model)
    of_model = [alert for alert in alerts if (alert.model, alert.version) == (lead.model, lead.version)]
    since_ms = min(epoch_ms(alert.window_start) for alert in of_model)
    ends = [FOREVER if alert.closed_at is None else epoch_ms(alert.closed_at) for alert in of_model]
    shape = str(settings.windows[0])
    wanted = None if settings.performance is None else str(settings.performance.metric)
    for kind in (Knowledge.REALISED, Knowledge.ESTIMATED):
        least = KNOWN_FROM if kind is Knowledge.REALISED else 1
        during = _of(lead, shape, kind, least) & (p.start_ms >= since_ms) & (p.start_ms < max(ends))
        latest = _latest(connection, during, wanted)
        if latest is not None:
            before = _mean_before(
                connection, lead, shape, (kind, Knowledge.REALISED), latest.metric, since_ms
            )
            known = latest.value, latest.low, latest.high, before
            return Impact(str(latest.metric), *known, kind, int(latest.n), latest.coverage)
    return None


def _latest(connection: Connection, during: ColumnElement[bool], wanted: str | None) -> Any | None:
    """The latest measure of the metric of the configuration, or of the first that is known, by name."""
    columns = select(p.metric, p.value, p.low, p.high, p.n, p.coverage).where(during)
    if wanted is not None:
        of_metric = columns.where(p.metric == wanted).order_by(p.start_ms.desc()).limit(1)
        if (found := connection.execute(of_metric).one_or_none()) is not None:
            return found
    first = connection.execute(select(func.min(p.metric)).where(during)).scalar()
    rest = columns.where(p.metric == first).order_by(p.start_ms.desc()).limit(1)
    return connection.execute(rest).one_or_none()


def _mean_before(
    connection: Connection,
    alert: Alert,
    shape: str,
    kinds: Sequence[Knowledge],
    metric: str,
    since_ms: int,
) -> float | None:
    """Mean of the latest windows before the incident, weighted by rows; of the first kind that is known."""
    for kind in kinds:
        before = _of(alert, shape, kind, 1) & (p.start_ms < since_ms) & (p.metric == metric)
        query = select(p.value, p.n).where(before).order_by(p.start_ms.desc()).limit(WINDOWS_BEFORE)
        same = connection.execute(query).all()
        rows = sum(row.n for row in same)
        if rows:
            return float(sum(row.value * row.n for row in same) / rows)
    return None


def _of(alert: Alert, shape: str, kind: Knowledge, least: int) -> ColumnElement[bool]:
    """Measures of all rows of the windows of a model version, with at least so many rows."""
    return and_(
        p.model == alert.model,
        p.version == alert.version,
        p.window == shape,
        p.segment == "",
        p.kind == kind.value,
        p.n >= least,
    )
