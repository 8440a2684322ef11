"""When people are told, and who: the false-alarm budget, its lanes, and routes to receivers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from alerting.finding import Kind, Severity
from alerting.policy import AlertPolicy
from alerting.policy import Match as MatchRules
from alerting.policy import Route as RouteRules
from monitor.config.problem import show
from monitor.config.section import Section, report
from monitor.config.values import DurationMs, Name, Number, Share, duration_between, span
from schemas.duration import UNITS_MS
from schemas.verdict import Lane

_YEAR_MS = 365.25 * UNITS_MS["d"]
PERIODS_MS = {
    "hour": float(UNITS_MS["h"]),
    "day": float(UNITS_MS["d"]),
    "week": float(UNITS_MS["w"]),
    "month": _YEAR_MS / 12,
    "year": _YEAR_MS,
}
BUDGET_PATTERN = r"^[0-9]+(\.[0-9]+)? per (hour|day|week|month|year)$"


@dataclass(frozen=True)
class Budget:
    """False alarms that may be expected over everything watched.

    Parameters
    ----------
    count : float
        False alarms, above zero.
    per : str
        hour, day, week, month (a twelfth of a year) or year (365.25 days).

    Examples
    --------
    >>> budget = Budget.parse("1 per week")
    >>> budget.expected_in(14 * 86_400_000), str(budget)
    (2.0, '1 per week')
    """

    count: float
    per: str

    @classmethod
    def parse(cls, value: Any) -> Budget:
        """Read ``N per hour|day|week|month|year``.

        Raises
        ------
        ValueError
            If it is anything else, or N is zero.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and len(value) <= 40 and re.fullmatch(BUDGET_PATTERN, value):
            count, _, per = value.split(" ")
            if float(count) > 0:
                return cls(float(count), per)
        msg = f"{show(value)} is not a budget (use N per hour, day, week, month or year, N above 0)"
        raise ValueError(msg)

    def expected_in(self, span_ms: float) -> float:
        """False alarms that may be expected in a span of event time, given in ms."""
        return self.count * span_ms / PERIODS_MS[self.per]

    def __str__(self) -> str:
        return f"{self.count:.15g} per {self.per}"


BudgetText = Annotated[
    Budget,
    BeforeValidator(Budget.parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": BUDGET_PATTERN, "examples": ["1 per week", "0.5 per day"]}),
]


class Lanes(Section):
    """Shares of the budget; what they leave over is not spent."""

    performance: Share = 0.3
    """Realised and estimated performance."""
    predictions: Share = 0.2
    """Predictions and scores."""
    quality: Share = 0.2
    """Missing, invalid and unseen values, silence."""
    features: Share = 0.2
    """Single features."""
    multivariate: Share = 0.05
    """Features together."""
    segments: Share = 0.05
    """Parts of the traffic."""

    @model_validator(mode="after")
    def _check_sum(self) -> Lanes:
        shares: dict[str, float] = self.model_dump()
        total = math.fsum(shares.values())
        if total > 1 + 1e-9:
            kept = [
                f"{name} {share:g}" for name, share in shares.items() if name not in self.model_fields_set
            ]
            rest = f"; left at their defaults: {', '.join(kept)}" if kept else ""
            report([((), f"the shares add up to {total:g} (use at most 1 together{rest})")])
        return self


class _OneOrMore:
    """Lets a list of one be written as the value alone, in the file and in the JSON Schema."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_as_list, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        listed = handler(schema)
        return {"anyOf": [listed["items"], listed]}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Match(MatchRules):
    """What an alert must be for a route to apply; every key given has to match. Empty: every alert."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    severity: Annotated[tuple[Severity, ...], Field(min_length=1), _OneOrMore()] = ()
    """How urgent it is, or was at any time."""
    lane: Annotated[tuple[Lane, ...], Field(min_length=1), _OneOrMore()] = ()
    """What kind of thing changed."""
    kind: Annotated[tuple[Kind, ...], Field(min_length=1), _OneOrMore()] = ()
    """What happened."""
    model: Annotated[tuple[Name, ...], Field(min_length=1), _OneOrMore()] = ()
    """Name of the model; `*` and `?` stand for any signs and one sign."""
    version: Annotated[tuple[Name, ...], Field(min_length=1), _OneOrMore()] = ()
    """Version of the model, like its name."""


class Route(RouteRules):
    """Sends matching alerts to receivers. Every route that matches applies."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    match: Match = Match()
    """What an alert must be."""
    to: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Names of receivers."""


class DigestOptions(Section):
    """The weekly digest: what drifted from Monday to Sunday (UTC), over everything watched."""

    level: Annotated[Number, Field(gt=0, le=1)] = 0.1
    """Share of false ones among the listed streams that is expected at most."""
    to: tuple[Name, ...] = ()
    """Names of receivers that are sent the digest of every finished week."""
    grace_ms: Annotated[DurationMs, duration_between("0s", "7d")] = span("1h", alias="grace")
    """How long after the end of a week, in event time, models that lag behind are waited for."""


class Alerts(Section):
    """When people are told, and who."""

    budget: BudgetText = Field(
        default=Budget(1, "week"), title="Budget", json_schema_extra={"default": "1 per week"}
    )
    """False alarms that may be expected over everything watched, `N per hour|day|week|month|year`."""
    lanes: Lanes = Lanes()
    """How the budget is shared out."""
    routes: tuple[Route, ...] = ()
    """Who is told of what."""
    digest: DigestOptions = DigestOptions()
    """What is listed once a week, and who is told."""
    policy: AlertPolicy = AlertPolicy()
    """How findings become incidents, and when an incident is over."""
