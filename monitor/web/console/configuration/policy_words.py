"""The alert policy in words: its stages in the order in which they decide, and each route as a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alerting.finding import Kind, Severity
from alerting.policy import Match
from alerting.quiet import QuietHours
from monitor.config import Configuration
from monitor.config.alerts import Alerts, Maintenance, Route
from monitor.config.values import write_instant
from schemas.duration import format_duration
from schemas.verdict import Lane

KEYS = ("severity", "lane", "kind", "model", "version", "column", "segment", "owner")


@dataclass(frozen=True)
class StageWords:
    """One stage of the policy: its name in `alerting.pipeline`, what it decides, and what is configured."""

    name: str
    decides: str
    said: tuple[str, ...]


def stages(configuration: Configuration) -> list[StageWords]:
    """Describe the stages that a change of an incident passes, in their order."""
    alerts = configuration.alerts
    policy = alerts.policy
    windows = "one window" if policy.min_windows == 1 else f"{policy.min_windows} windows"
    clean = (
        "one clean window" if policy.clean_windows == 1 else f"{policy.clean_windows} clean windows in a row"
    )
    return [
        StageWords(
            "match",
            "Is there anybody to be told? A pending incident concerns nobody.",
            (f"An alert fires after {windows} with findings, and is over after {clean}.",),
        ),
        StageWords(
            "route",
            "Who: the receivers of every route that matches, and whoever was told before.",
            tuple(route_words(route, configuration) for route in alerts.routes)
            or ("There is no route: nobody is told of anything.",),
        ),
        StageWords(
            "inhibit",
            "Not while a larger trouble of the same model is open.",
            tuple(
                f"While {_matched(rule.by, 'an')} is open, "
                f"nobody is told of {_matched(rule.of, 'any')} of the same model."
                for rule in alerts.inhibit
            ),
        ),
        StageWords(
            "silence",
            "Not while people, planned work or a deployment say so.",
            tuple(_silences(alerts)),
        ),
        StageWords(
            "wait",
            "The first message waits a moment for more of the same incident.",
            (_grouping(alerts),),
        ),
        StageWords(
            "quieten",
            "Not in the quiet hours of a route: later.",
            tuple(
                f"{_receivers(route.to)}: not {quiet_words(route.quiet)}."
                for route in alerts.routes
                if route.quiet is not None
            ),
        ),
    ]


def route_words(route: Route, configuration: Configuration) -> str:
    """Say what a route does."""
    targets = [name for name in route.to if name in configuration.targets]
    readers = [name for name in route.to if name not in configuration.targets]
    does = []
    if readers:
        does.append(f"tells {_receivers(readers)}")
    if targets:
        does.append(f"asks {_receivers(targets)} to train the model again")
    words = f"{_matched(route.match).capitalize()} {' and '.join(does)}."
    if route.repeat_ms is not None:
        words += f" Told again every {format_duration(route.repeat_ms)} until somebody acknowledges it."
    if route.escalate is not None:
        after, to = format_duration(route.escalate.after_ms), _receivers(route.escalate.to)
        words += f" {to} as well if nobody acknowledges it within {after}."
    return words


def severities(alerts: Alerts) -> list[tuple[str, Severity, bool]]:
    """How urgent findings are: of lanes, then of kinds that have a severity of their own; whether stated."""
    policy = alerts.policy
    of_lanes = [
        (f"{lane} findings", policy.severity(Kind.DRIFT, lane), lane in policy.severities) for lane in Lane
    ]
    own = (Kind.NO_DATA, Kind.PARTITION_STOPPED, Kind.SLO, Kind.ROLLBACK, Kind.FAIRNESS, Kind.QUALITY)
    of_kinds = [
        (kind.replace("_", " "), policy.severity(kind, Lane.QUALITY), kind in policy.kinds) for kind in own
    ]
    return of_lanes + of_kinds


def lanes(alerts: Alerts) -> list[tuple[str, float, float]]:
    """Share of the budget of each lane, and the false alarms per period that this allows."""
    shares: dict[str, float] = alerts.lanes.model_dump()
    return [(name, share, share * alerts.budget.count) for name, share in shares.items()]


def quiet_words(hours: QuietHours) -> str:
    """Say when hours are quiet.

    Examples
    --------
    >>> quiet_words(QuietHours.model_validate({"from": "22:00", "until": "07:00", "days": ["fri", "sat"]}))
    'from 22:00 to 07:00 (UTC) on fri, sat'
    """
    days = f" on {', '.join(hours.days)}" if hours.days else ""
    return f"from {hours.start} to {hours.until} ({hours.zone}){days}"


def _matched(match: Match, which: str = "every") -> str:
    said = [
        f"{key} {' or '.join(str(value) for value in values)}"
        for key in KEYS
        if (values := getattr(match, key))
    ]
    return f"{which} incident with {', '.join(said)}" if said else f"{which} incident"


def _silences(alerts: Alerts) -> Iterator[str]:
    for one in alerts.maintenance:
        yield f"{_matched(one.match).capitalize()} is silent {_when(one)}: {one.reason}."
    if alerts.after_deployment_ms is not None:
        yield f"A model is silent for {format_duration(alerts.after_deployment_ms)} after a deployment."


def _when(one: Maintenance) -> str:
    if one.weekly is not None:
        return quiet_words(one.weekly)
    return f"from {write_instant(one.from_ms)} to {write_instant(one.until_ms)}"


def _grouping(alerts: Alerts) -> str:
    group = alerts.grouping
    wait = f"It waits {format_duration(group.wait_ms)}." if group.wait_ms else "It does not wait."
    within = "two windows" if group.within_ms is None else format_duration(group.within_ms)
    across = ", also of several models with the same column" if group.across_models else ""
    return f"{wait} Alerts that start within {within} of each other are one incident{across}."


def _receivers(names: list[str] | tuple[str, ...]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
