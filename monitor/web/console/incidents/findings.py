"""The alerts of an incident with their findings, and the stored result behind each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from alerting.alert import Alert
from alerting.finding import Finding
from alerting.incidents.incident import Incident
from monitor.explain import formula_of
from monitor.store.queries.evidence import Support, supports
from monitor.web.console.personal import personal_columns
from monitor.web.context import Context
from schemas.column import is_input
from schemas.examples import Example

SHOWN_ALERTS, SHOWN_FINDINGS = 50, 40
OF_ONE_ALERT = 12
SHOWN_RANGES = 6


@dataclass(frozen=True)
class Found:
    """One finding of one alert.

    Parameters
    ----------
    alert : Alert
    finding : Finding
    support : Support or None
        None if its result is not stored any more.
    examples : tuple of Example
        Events that broke the rule, without values that must not be shown.
    """

    alert: Alert
    finding: Finding
    support: Support | None
    examples: tuple[Example, ...] = ()

    @property
    def result_id(self) -> int | None:
        """Number of the result."""
        return None if self.support is None else int(self.support.row.id)

    @property
    def has_feature_page(self) -> bool:
        """Whether the column is one that the model is fed with."""
        return is_input(self.finding.column)

    @property
    def formula(self) -> str:
        """How the statistic comes about."""
        return formula_of(self.finding.detector)

    @property
    def offsets(self) -> str:
        """Where the events of the window were read from."""
        if self.support is None:
            return ""
        parts = [
            f"{topic}/{partition} {first}–{last - 1}"
            for topic, partitions in self.support.sources.items()
            for partition, ranges in partitions.items()
            for first, last in ranges
        ]
        more = f" and {len(parts) - SHOWN_RANGES} more ranges" if len(parts) > SHOWN_RANGES else ""
        return f"{', '.join(parts[:SHOWN_RANGES])}{more}" if parts else "no stored offsets"


@dataclass(frozen=True)
class FoundBy:
    """An alert with its findings, the one that matters most first.

    Parameters
    ----------
    alert : Alert
    shown : sequence of Found
    total : int
        Number of its findings.
    """

    alert: Alert
    shown: Sequence[Found]
    total: int


def found_by(
    context: Context, connection: Connection, incident: Incident, alerts: Sequence[Alert]
) -> list[FoundBy]:
    """Read the findings of an incident, in the order in which its alerts matter; 40 of 50 alerts at most."""
    known, left, made = {one.id: one for one in alerts}, SHOWN_FINDINGS, []
    for member in incident.members[:SHOWN_ALERTS]:
        alert = known[member.id]
        shown = alert.leading[: min(OF_ONE_ALERT, left)]
        left -= len(shown)
        behind = supports(connection, alert, shown)
        hidden = personal_columns(context.configuration, alert.model)
        found = [
            Found(alert, one, behind.get(one), tuple(example.without(hidden) for example in one.examples))
            for one in shown
        ]
        made.append(FoundBy(alert, found, len(alert.leading)))
    return made


def speaking(found: Sequence[FoundBy], result_id: int | None) -> Found | None:
    """Choose what the charts are about: the finding of a result, else the one that speaks for all."""
    every = [one for by in found for one in by.shown]
    if result_id is not None:
        return next((one for one in every if one.result_id == result_id), None)
    lead = every[0].alert if every else None
    own = (
        one
        for one in every
        if lead is not None
        and one.alert.id == lead.id
        and (one.finding.column, one.finding.segment) == (lead.column, lead.segment)
    )
    return next(own, every[0] if every else None)
