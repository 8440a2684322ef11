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
from alerting.policy import Escalation as EscalationRules
from alerting.policy import Grouping as GroupingRules
from alerting.policy import Inhibition as InhibitionRules
from alerting.policy import Match as MatchRules
from alerting.policy import Route as RouteRules
from alerting.quiet import QuietHours
from alerting.silences import Silence, SilenceSource
from monitor.config.problem import show
from monitor.config.section import Finding, Section, report
from monitor.config.values import DurationMs, InstantMs, Name, Number, Share, Text, duration_between, span
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
    column: Annotated[tuple[Name, ...], Field(min_length=1), _OneOrMore()] = ()
    """Column of a finding, like the name of the model."""
    segment: Annotated[tuple[Name, ...], Field(min_length=1), _OneOrMore()] = ()
    """Segment of a finding, such as `origin=JFK`, like the name of the model."""
    owner: Annotated[tuple[Name, ...], Field(min_length=1), _OneOrMore()] = ()
    """`owner` of the model, like its name."""


class Escalation(EscalationRules):
    """Tells more receivers of an incident that fires and that nobody has acknowledged for a while."""

    model_config = ConfigDict(use_attribute_docstrings=True, serialize_by_alias=True)

    after_ms: Annotated[DurationMs, duration_between("10s", "30d")] = Field(alias="after")
    """How long after it fired, in wall time."""
    to: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Names of receivers."""


class Route(RouteRules):
    """Sends matching alerts to receivers. Every route that matches applies."""

    model_config = ConfigDict(use_attribute_docstrings=True, serialize_by_alias=True)

    match: Match = Match()
    """What an alert must be."""
    to: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Names of receivers; those that start retraining start it."""
    quiet: QuietHours | None = None
    """Hours in which messages of this route wait until they are over."""
    repeat_ms: Annotated[DurationMs, duration_between("1m", "30d")] | None = Field(None, alias="repeat")
    """Tell again after so long, in wall time, while an incident fires and nobody has acknowledged it."""
    escalate: Escalation | None = None
    """Who else is told if nobody acknowledges."""


class Grouping(GroupingRules):
    """Which alerts are one incident."""

    model_config = ConfigDict(use_attribute_docstrings=True, serialize_by_alias=True)

    within_ms: DurationMs | None = Field(None, alias="within")
    """How far apart in event time alerts of one incident may start; two windows if left out."""
    wait_ms: Annotated[DurationMs, duration_between("0s", "1h")] = span("5s", alias="wait")
    """How long, in wall time, the first message of an incident waits for more of the same."""
    across_models: bool = True
    """Whether alerts of several models on the same column are one incident."""


class Inhibition(InhibitionRules):
    """While an alert of `by` is open, nobody is told of incidents of the same model that are all `of`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    by: Match
    """The larger trouble."""
    of: Match
    """What it explains."""


class Maintenance(Section):
    """Planned work: nobody is told of what matches meanwhile; told afterwards if it is still open."""

    match: Match = Match()
    """Which alerts are silent."""
    from_ms: InstantMs | None = Field(None, alias="from")
    """Beginning of a single stretch of time."""
    until_ms: InstantMs | None = Field(None, alias="until")
    """Its end."""
    weekly: QuietHours | None = None
    """Hours of every week, in place of `from` and `until`."""
    reason: Text = "maintenance"
    """What is being done; shown with what is held back."""

    @model_validator(mode="after")
    def _check_together(self) -> Maintenance:
        findings: list[Finding] = []
        single = self.from_ms is not None and self.until_ms is not None
        if (self.from_ms is None) != (self.until_ms is None):
            findings.append(((), "needs both from and until"))
        elif single == (self.weekly is not None):
            findings.append(((), "needs either from and until, or weekly"))
        elif self.from_ms is not None and self.until_ms is not None and self.from_ms >= self.until_ms:
            findings.append((("until",), "is not after from"))
        report(findings)
        return self

    def at(self, position: int, now_ms: int) -> Silence | None:
        """Make the silence that holds now, if one does."""
        until_ms = now_ms if self.weekly is None else self.weekly.end_ms(now_ms)
        if self.from_ms is not None and self.until_ms is not None and self.from_ms <= now_ms:
            until_ms = self.until_ms
        if until_ms <= now_ms:
            return None
        id_, source = f"maintenance-{position}", SilenceSource.MAINTENANCE
        return Silence(id_, self.match, now_ms, until_ms, "the configuration", self.reason, source)


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
    grouping: Grouping = Field(default=Grouping(), alias="group")
    """Which alerts are one incident."""
    inhibit: tuple[Inhibition, ...] = ()
    """What nobody is told of while a larger trouble of the same model is open."""
    maintenance: tuple[Maintenance, ...] = ()
    """Planned work."""
    after_deployment_ms: Annotated[DurationMs, duration_between("1m", "30d")] | None = Field(
        None, alias="after_deployment", json_schema_extra={"examples": ["30m"]}
    )
    """How long after a deployment nobody is told of the model's incidents; told afterwards if still open."""
    digest: DigestOptions = DigestOptions()
    """What is listed once a week, and who is told."""
    policy: AlertPolicy = AlertPolicy()
    """How findings become alerts, and when an alert is over."""

    def maintenance_at(self, now_ms: int) -> list[Silence]:
        """List the silences of planned work that hold now."""
        made = (one.at(position, now_ms) for position, one in enumerate(self.maintenance))
        return [one for one in made if one is not None]
