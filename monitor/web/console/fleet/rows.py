"""What a page of the fleet tells of each of its models, read for all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from alerting.finding import shorten
from monitor.config import Configuration
from monitor.store.queries import recent
from monitor.store.queries.recent import Rate, Shapes
from monitor.store.queries.times import watermarks
from monitor.web.api.models import VersionPerformance
from monitor.web.console.fleet.standing import Standing
from monitor.web.console.fleet.strips import Axis, Strip
from monitor.web.documents import instant
from schemas.duration import format_duration
from schemas.window import WindowSpec

LONGEST_WHY = 160
VERSIONS = 3
FALLBACKS = ("accuracy", "mae")


@dataclass(frozen=True)
class Week:
    """The false-alarm budget of seven days of event time up to the newest judged window.

    Parameters
    ----------
    from_ms, to_ms : int or None
        None: nothing was judged yet.
    allowed, spent : float
        False alarms.
    """

    from_ms: int | None
    to_ms: int | None
    allowed: float
    spent: float

    @property
    def left(self) -> float:
        """What is left of it, at least 0."""
        return max(0.0, self.allowed - self.spent)


@dataclass(frozen=True)
class Row:
    """One model on the page.

    Parameters
    ----------
    standing : Standing
    why : str
        Of its state, shortened.
    strip : Strip
    rate : Rate or None
    watermark_ms : int or None
    performance : sequence of (str, VersionPerformance)
        By version, the one with the newest figures first.
    spent_share : float or None
        Share of the budget of the week that its windows cost; None: nothing was judged.
    """

    standing: Standing
    why: str
    strip: Strip
    rate: Rate | None
    watermark_ms: int | None
    performance: Sequence[tuple[str, VersionPerformance]]
    spent_share: float | None

    @property
    def rate_span(self) -> str:
        """Length of the windows that the rate is of, in words."""
        return "" if self.rate is None else format_duration(self.rate.span_ms)


def shapes_of(configuration: Configuration, names: Sequence[str]) -> dict[WindowSpec, list[str]]:
    """Sort models by the shape of their judged windows."""
    own = {name: configuration.for_model(name).windows[0] for name in configuration.models}
    usual = configuration.for_model("").windows[0]
    found: dict[WindowSpec, list[str]] = {}
    for name in names:
        found.setdefault(own.get(name, usual), []).append(name)
    return found


def all_rates(connection: Connection, configuration: Configuration, names: Sequence[str]) -> dict[str, Rate]:
    """Event rates of any number of models: each shape asks for all models, others are left out here."""
    found: dict[str, Rate] = {}
    for spec, wanted in shapes_of(configuration, names).items():
        of_shape = set(wanted)
        rates = recent.rates(connection, {spec: None if len(of_shape) > 1_000 else wanted})
        found |= {name: rate for name, rate in rates.items() if name in of_shape}
    return found


def rows_of(
    connection: Connection,
    configuration: Configuration,
    models: Sequence[Standing],
    week: Week,
    axis: Axis,
    now_ms: int,
) -> list[Row]:
    """Read what is shown of some models, in their order."""
    names = [one.model for one in models]
    shapes = shapes_of(configuration, names)
    rates = recent.rates(connection, shapes)
    marks = watermarks(connection, configuration, now_ms, names)
    days = recent.days_judged(connection, shapes, axis.from_ms)
    alerts: dict[str, list[Any]] = {}
    for alert in recent.alerts_since(connection, names, axis.from_ms):
        alerts.setdefault(alert.model, []).append(alert)
    known = performance_of(connection, configuration, shapes)
    spent = {}
    if week.from_ms is not None and week.to_ms is not None:
        longest_ms = configuration.longest_window_ms
        spent = recent.spent_by_model(connection, names, week.from_ms, week.to_ms, longest_ms)
    told = recent.summaries(connection, [one.incidents[0] for one in models if one.incidents])
    return [
        Row(
            one,
            _why(one, told),
            Strip.of(axis, days.get(one.model, ()), alerts.get(one.model, ())),
            rates.get(one.model),
            marks.get(one.model),
            known.get(one.model, ()),
            spent[one.model] / week.allowed if one.model in spent else None,
        )
        for one in models
    ]


def performance_of(
    connection: Connection, configuration: Configuration, shapes: Shapes
) -> dict[str, list[tuple[str, VersionPerformance]]]:
    """Latest performance of each version, by the configured metric, or by accuracy or the mean error."""
    measures: dict[tuple[str, str], dict[tuple[str, str], Any]] = {}
    for row in recent.latest_measures(connection, shapes):
        measures.setdefault((row.model, row.version), {})[row.metric, row.kind] = row
    found: dict[str, list[tuple[int, str, VersionPerformance]]] = {}
    for (model, version), values in measures.items():
        options = configuration.for_model(model).performance
        wanted = FALLBACKS if options is None else (options.metric, *FALLBACKS)
        metric = _first(wanted, values, "realised") or _first(wanted, values, "estimated")
        if metric is not None:
            real, guess = values.get((metric, "realised")), values.get((metric, "estimated"))
            newest_ms = max(row.start_ms for row in (real, guess) if row is not None)
            found.setdefault(model, []).append((newest_ms, version, _performance(metric, real, guess)))
    return {model: [(v, p) for _, v, p in sorted(some, key=_newest)] for model, some in found.items()}


def _first(wanted: Sequence[str], values: Mapping[tuple[str, str], Any], kind: str) -> str | None:
    return next((metric for metric in wanted if (metric, kind) in values), None)


def _newest(one: tuple[int, str, VersionPerformance]) -> tuple[int, str]:
    return -one[0], one[1]


def _performance(metric: str, real: Any, guess: Any) -> VersionPerformance:
    return VersionPerformance(
        metric=metric,
        realised=None if real is None else real.value,
        realised_window=None if real is None else instant(real.start_ms),
        coverage=None if real is None else real.coverage,
        estimated=None if guess is None else guess.value,
        estimated_window=None if guess is None else instant(guess.start_ms),
    )


def _why(one: Standing, told: Mapping[str, str]) -> str:
    if not one.incidents:
        return one.why
    summary = told.get(one.incidents[0], "")
    named, _, rest = summary.partition(": ")
    return shorten(rest if rest and named.startswith(one.model) else summary, LONGEST_WHY)
