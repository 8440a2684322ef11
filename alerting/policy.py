"""What people decide about alerts: how severe a finding is, when an incident ends, and who is told."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from alerting.finding import Kind, Severity
from schemas.verdict import Lane

DEFAULT_SEVERITIES: dict[Lane, Severity] = {
    Lane.PERFORMANCE: Severity.PAGE,
    Lane.PREDICTIONS: Severity.PAGE,
    Lane.QUALITY: Severity.WARN,
    Lane.FEATURES: Severity.INFO,
    Lane.MULTIVARIATE: Severity.INFO,
    Lane.SEGMENTS: Severity.INFO,
}
DEFAULT_KINDS: dict[Kind, Severity] = {
    Kind.NO_DATA: Severity.PAGE,
    Kind.PARTITION_STOPPED: Severity.PAGE,
    Kind.SLO: Severity.PAGE,
    Kind.ROLLBACK: Severity.PAGE,
    Kind.FAIRNESS: Severity.WARN,
    Kind.QUALITY: Severity.WARN,
}


class AlertPolicy(BaseModel):
    """How findings become alerts.

    Parameters
    ----------
    severities : dict of Lane to Severity
        Overrides for single lanes; the others keep their default (performance and predictions page, quality
        warns, the rest informs).
    kinds : dict of Kind to Severity
        Overrides for ``no_data``, ``partition_stopped``, ``slo`` and ``rollback``, which page by default, and
        for ``fairness`` and ``quality``, which warn. Drift and performance take the severity of their lanes;
        a broken contract takes that of its column, where it names one.
    clean_windows : int
        Number of clean windows in a row after which an incident is over.
    max_findings : int
        Findings that an alert remembers. An alert that had to forget some can no longer be retracted, only
        resolved.

    Examples
    --------
    >>> policy = AlertPolicy(severities={Lane.FEATURES: Severity.WARN})
    >>> policy.severity(Kind.DRIFT, Lane.FEATURES), policy.severity(Kind.NO_DATA, Lane.QUALITY)
    (<Severity.WARN: 'warn'>, <Severity.PAGE: 'page'>)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    severities: dict[Lane, Severity] = Field(default_factory=dict)
    kinds: dict[Kind, Severity] = Field(default_factory=dict)
    clean_windows: int = Field(default=3, ge=1, le=1_000)
    max_findings: int = Field(default=256, ge=1, le=10_000)

    def severity(self, kind: Kind, lane: Lane) -> Severity:
        """Say how severe a finding of a lane is in an incident of a kind."""
        by_lane = self.severities.get(lane, DEFAULT_SEVERITIES[lane])
        return self.kinds.get(kind, DEFAULT_KINDS.get(kind, by_lane))


def _as_tuple(value: object) -> object:
    """Let a single value stand for a list of one."""
    return tuple(value) if isinstance(value, list | tuple | set | frozenset) else (value,)


class Match(BaseModel):
    """Which alerts a route is for: every key that is given must agree; without keys it is for all.

    A key takes one value or a list of which one must agree. Names may hold ``*`` and ``?``. ``severity`` and
    ``lane`` agree with an alert that has had this severity or lane at any time, so that whoever was told of
    an incident is also told how it ends.

    Examples
    --------
    >>> Match(severity="page").severity, Match(model=["flight-*", "churn"]).model
    ((<Severity.PAGE: 'page'>,), ('flight-*', 'churn'))
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Annotated[tuple[Severity, ...], BeforeValidator(_as_tuple)] = ()
    lane: Annotated[tuple[Lane, ...], BeforeValidator(_as_tuple)] = ()
    kind: Annotated[tuple[Kind, ...], BeforeValidator(_as_tuple)] = ()
    model: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    version: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()

    def agrees(
        self,
        *,
        severities: tuple[Severity, ...],
        lanes: tuple[Lane, ...],
        kind: Kind,
        model: str,
        version: str,
    ) -> bool:
        """Say whether an alert with these properties is meant."""
        return (
            (not self.severity or not set(self.severity).isdisjoint(severities))
            and (not self.lane or not set(self.lane).isdisjoint(lanes))
            and (not self.kind or kind in self.kind)
            and _named(self.model, model)
            and _named(self.version, version)
        )


class Route(BaseModel):
    """Sends the alerts that match to receivers, by their names in the configuration.

    Every matching route adds its receivers; a receiver that several routes name gets one message.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: Match = Field(default_factory=Match)
    to: tuple[str, ...] = Field(min_length=1)


def _named(patterns: tuple[str, ...], name: str) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
