"""Charts of an incident: the statistic around it, the distribution that moved, performance, attribution."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from alerting.alert import Alert, Change, ChangeKind
from alerting.charts.data import Distribution, limited
from alerting.charts.data import Series as Judged
from alerting.finding import epoch_ms
from alerting.incidents.incident import gather
from alerting.notice import Notice, notice_of
from alerting.summary import span
from monitor.charts.distribution import moved_bins, window_distribution
from monitor.charts.series import judged_series
from monitor.references.lifecycle import ReferenceCache
from monitor.store.engine import reading
from monitor.store.queries.around import Measured, measures_between, stream_results
from monitor.web.charting.chart import Chart, Event, Level, Look, Marker, Series, Value
from monitor.web.console.incidents.findings import Found
from monitor.web.console.incidents.story import Story, story_of
from monitor.web.context import Context
from monitor.web.problems import Mistake, Refused
from schemas.errors import ProfileError, UnusableReference

logger = logging.getLogger(__name__)

Name = Literal["statistic", "distribution", "performance", "attribution"]
BEFORE, AFTER = 30, 10  # windows beside an incident
MOST_WINDOWS = 400
MOST_REFERENCES = 8
FEW_ROWS = 30
MOST_BINS = 12
NO_EVIDENCE, BELOW_LIMIT = -50.0, 5.0


@dataclass(frozen=True)
class Stretch:
    """The time that the charts of an incident show, epoch milliseconds."""

    from_ms: int
    to_ms: int


class IncidentCharts:
    """Makes the charts of an incident.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._references = ReferenceCache(MOST_REFERENCES)
        self._lock = threading.Lock()

    def chart(self, id_: str, name: Name, result_id: int | None) -> Chart:
        """Make one chart.

        Parameters
        ----------
        id_ : str
            Of the incident.
        name : Name
        result_id : int, optional
            Number of the result of a finding; by default the one that speaks for the incident.

        Raises
        ------
        Refused
            If there is no such incident, or no such finding in it.
        """
        story = story_of(self._context, id_)
        found = story.chosen(result_id)
        if found is None and result_id is not None:
            what = "the incident has no finding with this result"
            raise Refused(404, what, [Mistake(where="query.finding", what=what)])
        makers: dict[Name, Callable[[Connection, Story, Found | None], Chart | None]] = {
            "statistic": self._statistic,
            "distribution": self._distribution,
            "performance": self._performance,
            "attribution": _attribution,
        }
        with reading(self._context.engine) as connection:
            made = makers[name](connection, story, found)
        return made or Chart(f"{story.headline}: {name}", "Nothing is known.", [], [])

    def _statistic(self, connection: Connection, story: Story, found: Found | None) -> Chart | None:
        """What was judged of a stream, from before the incident until after it."""
        if found is None or found.support is None:
            return None
        row, finding = found.support.row, found.finding
        stretch = self._stretch(found.alert, row.end_ms - row.start_ms)
        rows = stream_results(connection, row, stretch.from_ms, stretch.to_ms)
        settings = self._context.configuration.for_model(row.model)
        made = judged_series(_notice_of(found.alert), finding, rows, settings)
        return None if made is None else _of_judged(made, rows, _markers(story, stretch))

    def _distribution(self, connection: Connection, _story: Story, found: Found | None) -> Chart | None:
        """Count the window of a finding anew, or take the bins that it remembers."""
        if found is None:
            return None
        made: Distribution | None = None
        if found.support is not None:
            try:
                with self._lock:
                    row = found.support.row
                    made = window_distribution(connection, self._references, found.finding, row)
            except (ProfileError, UnusableReference) as error:
                logger.warning("no bins for a chart of alert %s: %s", found.alert.id, error)
        made = made or moved_bins(found.finding, found.alert.model, found.alert.version)
        return None if made is None else _of_distribution(made)

    def _performance(self, connection: Connection, story: Story, found: Found | None) -> Chart | None:
        """The measure that says what the incident costs, from labels and as estimated."""
        impact = story.incident.impact
        if impact is None:
            return None
        whole = story.incident.whole
        settings = self._context.configuration.for_model(whole.model)
        window = settings.windows[0]
        stretch = self._stretch(whole, window.length_ms)
        wanted = Measured(whole.model, whole.version, str(window), impact.metric)
        rows = measures_between(connection, wanted, stretch.from_ms, stretch.to_ms)
        axis = sorted({int(row.start_ms) for row in rows})
        series = [_of_kind(kind, rows, axis) for kind in ("realised", "estimated")]
        levels = [] if impact.before is None else [Level(impact.before, "before")]
        wished = settings.performance
        if wished is not None and wished.slo is not None and str(wished.metric) == impact.metric:
            levels.append(Level(wished.slo, "objective"))
        title = f"{impact.metric} of {whole.model}, windows of {window}"
        known = [one for one in series if any(value is not None for value in one.values)]
        return Chart(title, f"{story.cost}.", axis, known, "", levels, _markers(story, stretch))

    def _stretch(self, alert: Alert, length_ms: int) -> Stretch:
        """From before the incident until after it, but not without end."""
        begin_ms = min(epoch_ms(alert.window_start), epoch_ms(alert.onset_at or alert.window_start))
        end_ms = self._context.clock.now_ms() if alert.closed_at is None else epoch_ms(alert.closed_at)
        from_ms = begin_ms - BEFORE * length_ms
        return Stretch(from_ms, min(end_ms + AFTER * length_ms, from_ms + MOST_WINDOWS * length_ms))


def _of_judged(made: Judged, rows: Sequence[Any], markers: Sequence[Marker]) -> Chart:
    few = {int(row.start_ms) for row in rows if row.n < FEW_ROWS}
    axis = [epoch_ms(point.start) for point in made.points]
    low: list[Value] = [point.low for point in made.points]
    high: list[Value] = [point.high for point in made.points]
    alarms: list[Value] = [point.value if point.is_alarm else None for point in made.points]
    if not any(value is not None for value in (*low, *high)):
        low = high = []
    values, weak = [point.value for point in made.points], [at in few for at in axis]
    series = [
        Series(made.measure, values, Look.LINE, low, high, weak),
        Series("window with an alarm", alarms, Look.POINTS),
    ]
    levels = [] if made.limit is None else [Level(made.limit, made.limit_name)]
    title = f"{made.measure}: {made.title}"
    if min(values) >= NO_EVIDENCE:
        return Chart(title, made.alt_text, axis, series, "", levels, markers)
    # Evidence of windows without any is the logarithm of almost nothing: beside it all else would be flat.
    low_end = (made.limit or 0.0) - BELOW_LIMIT
    high_end = max(made.limit or 0.0, *values) + 1.0
    words = f"{made.alt_text} Nothing is drawn below {low_end:.3g}."
    return Chart(title, words, axis, series, "", levels, markers, low_end, high_end)


def _of_distribution(made: Distribution) -> Chart:
    shown = limited(made, MOST_BINS)
    names = [one.label for one in shown.bins]
    series = [
        Series("reference", [one.reference for one in shown.bins], Look.BARS),
        Series("window", [one.current for one in shown.bins], Look.BARS),
    ]
    part = ", only the bins that moved most" if shown.is_partial else ""
    title = f"{shown.title}: {span(shown.start, shown.end)} beside the reference{part}"
    return Chart(title, made.alt_text, names, series, "share")


def _attribution(_connection: Connection, story: Story, _found: Found | None) -> Chart | None:
    known = story.attribution
    if known is None:
        return None
    values: list[Value] = [one.part for one in known.parts]
    names = [one.name for one in known.parts]
    title = f"Parts of the change of the {known.outcome} ({known.change:+.3g})"
    return Chart(title, known.summary, names, [Series("part of the change", values, Look.BARS)])


def _of_kind(kind: str, rows: Sequence[Any], axis: Sequence[int]) -> Series:
    of_kind = {int(row.start_ms): row for row in rows if row.kind == kind}
    found = [of_kind.get(at) for at in axis]
    has_band = any(row is not None and row.low is not None for row in found)
    name = "from labels" if kind == "realised" else "estimated without labels"
    return Series(
        name,
        [None if row is None else row.value for row in found],
        Look.LINE if kind == "realised" else Look.DASHED,
        [None if row is None else row.low for row in found] if has_band else (),
        [None if row is None else row.high for row in found] if has_band else (),
        [row is not None and row.n < FEW_ROWS for row in found],
    )


def _markers(story: Story, stretch: Stretch) -> list[Marker]:
    """What happened in a stretch of time: the incident, deployments, training."""
    whole = story.incident.whole
    marked = [
        Marker(epoch_ms(at), Event.INCIDENT, words)
        for at, words in (
            (whole.onset_at, "the incident began about here"),
            (whole.opened_at, "opened"),
            (whole.closed_at, "over"),
        )
        if at is not None
    ]
    marked += [
        Marker(int(one.at_ms), Event.DEPLOYMENT, f"version {one.version} of {one.model} went into use")
        for one in story.deployments
    ]
    marked += [
        Marker(int(run.row.started_at_ms), Event.TRAINING, f"training of {run.row.model} started")
        for run in story.runs
        if run.row.started_at_ms is not None
    ]
    within = (one for one in marked if stretch.from_ms <= one.at_ms < stretch.to_ms)
    return sorted(within, key=lambda one: one.at_ms)


def _notice_of(alert: Alert) -> Notice:
    """Make the notice that charts of receivers are made from."""
    change = Change(ChangeKind.UPDATED, alert.sequence, "", "driftline", alert.opened_at)
    return notice_of(alert.id, change, gather(alert.id, alert.sequence, [alert]))
