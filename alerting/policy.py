"""What people decide about alerts: how severe a finding is, when an incident ends, and who is told."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from alerting.finding import Kind, Severity
from alerting.quiet import QuietHours
from schemas.verdict import Lane

if TYPE_CHECKING:
    from alerting.alert import Alert

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
    min_windows : int
        Windows with findings that it takes before an alert fires; until then it is pending and nobody is
        told. A clean window in between drops it. 1 fires at once.
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
    min_windows: int = Field(default=1, ge=1, le=1_000)
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
    """Which alerts are meant: every key that is given must agree; without keys it is all of them.

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
    column: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    segment: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    owner: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()

    def agrees_with(self, alert: Alert, owner: str = "") -> bool:
        """Say whether an alert is meant.

        Parameters
        ----------
        alert : Alert
        owner : str
            Of its model.
        """
        return (
            (not self.severity or not set(self.severity).isdisjoint(alert.severities))
            and (not self.lane or not set(self.lane).isdisjoint(alert.lanes))
            and (not self.kind or alert.kind in self.kind)
            and _named(self.model, [alert.model])
            and _named(self.version, [alert.version])
            and _named(self.owner, [owner])
            and _named(self.column, (finding.column for finding in alert.findings))
            and _named(self.segment, (finding.segment for finding in alert.findings))
        )


class Escalation(BaseModel):
    """Who else is told if nobody acknowledges an incident for a while."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after_ms: int = Field(gt=0)
    to: tuple[str, ...] = Field(min_length=1)


class Route(BaseModel):
    """Sends the alerts that match to receivers, by their names in the configuration.

    Every matching route adds its receivers; a receiver that several routes name gets one message.

    Parameters
    ----------
    match : Match
    to : tuple of str
        Names of receivers.
    quiet : QuietHours, optional
        Messages of these hours wait until they are over.
    repeat_ms : int, optional
        Told again after so long while an incident fires and nobody has acknowledged it.
    escalate : Escalation, optional
        Who else is told if nobody acknowledges.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: Match = Field(default_factory=Match)
    to: tuple[str, ...] = Field(min_length=1)
    quiet: QuietHours | None = None
    repeat_ms: int | None = None
    escalate: Escalation | None = None


class Inhibition(BaseModel):
    """While an alert of `by` is open, nobody is told of incidents of the same model that are all `of`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Match
    of: Match


class Grouping(BaseModel):
    """Which alerts are one incident.

    Parameters
    ----------
    within_ms : int, optional
        How far apart in event time alerts with one cause may start; by default two of their windows.
    wait_ms : int
        How long, in wall time, the first message waits for more of the same incident.
    across_models : bool
        Whether alerts of several models on the same column are one incident.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    within_ms: int | None = Field(default=None, ge=0)
    wait_ms: int = Field(default=5_000, ge=0)
    across_models: bool = True


def _named(patterns: tuple[str, ...], names: Iterable[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
