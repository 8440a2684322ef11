"""Makes the charts that belong to a notice, from the database."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import Connection, Engine

from alerting.charts.data import Chart, Distribution, Series, leading_finding
from alerting.finding import Finding
from alerting.notice import Notice
from monitor.charts.distribution import moved_bins, window_distribution
from monitor.charts.rows import StreamRows, stream_rows
from monitor.charts.series import judged_series, performance_series
from monitor.config import Configuration
from monitor.references.lifecycle import ReferenceCache
from monitor.store.engine import reading
from schemas.errors import ProfileError, UnusableReference

logger = logging.getLogger(__name__)

MOST_REFERENCES = 8  # those of the incidents of one hour


class StoredCharts:
    """Charts of the finding that speaks for an incident; an `alerting.notifiers.base.ChartSource`.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine

    Guarantees
    ----------
    May be called from several threads. The same stored results give the same bytes.
    """

    def __init__(self, configuration: Configuration, engine: Engine) -> None:
        self._configuration, self._engine = configuration, engine
        self._references = ReferenceCache(MOST_REFERENCES)
        self._lock = threading.Lock()

    def __call__(self, notice: Notice) -> tuple[Chart, ...]:
        """Draw the distribution of a window beside its reference, and the statistic over time.

        Parameters
        ----------
        notice : Notice
            Of an open incident the window of the finding is shown, of one that is over the latest one.

        Returns
        -------
        tuple of Chart
            Two at most; empty if nothing is known that could be drawn.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        finding = leading_finding(notice)
        if finding is None:
            return ()
        with self._lock, reading(self._engine) as connection:
            rows = stream_rows(connection, notice, finding)
            distribution = self._distribution(connection, notice, finding, rows)
            series = self._series(connection, notice, finding, rows)
        return tuple(drawn(found) for found in (distribution, series) if found is not None)

    def _distribution(
        self, connection: Connection, notice: Notice, finding: Finding, rows: StreamRows | None
    ) -> Distribution | None:
        """Count the window anew, or take what the finding knows of it."""
        found = None
        if rows is not None:
            try:
                found = window_distribution(connection, self._references, finding, rows.shown)
            except (ProfileError, UnusableReference) as error:
                logger.warning("incident %s: no bins for a chart: %s", notice.alert.id, error)
        return found or moved_bins(finding, notice.alert.model, notice.alert.version)

    def _series(
        self, connection: Connection, notice: Notice, finding: Finding, rows: StreamRows | None
    ) -> Series | None:
        """Performance where the incident is about it, else what was judged."""
        settings = self._configuration.for_model(notice.alert.model)
        latest = [] if rows is None else rows.latest
        found = performance_series(connection, notice, finding, settings, latest)
        return found or judged_series(notice, finding, latest, settings)


def drawn(found: Distribution | Series) -> Chart:
    """Draw a chart of either kind."""
    # Loads matplotlib, which most commands do not need, and which wants a folder that it can write to: where
    # there is none, that has to fail here and not at the start.
    from alerting.charts.chart import distribution_chart, series_chart

    return distribution_chart(found) if isinstance(found, Distribution) else series_chart(found)
