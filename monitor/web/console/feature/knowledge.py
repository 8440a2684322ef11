"""What is known of a column besides numbers: its contract, its part in predictions, what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from alerting.finding import shorten
from monitor.judging.judgements import attribution_in, examples_in
from monitor.store.queries.columns import attributions, broken_rules, findings, incidents_of, promotions
from monitor.web.charting.chart import Event, Marker
from monitor.web.console.feature.subject import Subject
from schemas.column import PREDICTION, SCORE
from schemas.contract import DETECTOR_PREFIX, ColumnRules
from schemas.duration import format_duration

MOST_EXAMPLES = 10
MOST_VALUES = 12
HIDDEN = "(hidden)"


@dataclass(frozen=True)
class ExampleEvent:
    """One event that broke a rule; values that must not be shown are replaced."""

    start_ms: int
    rule: str
    event_id: str
    event_ms: int
    place: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Part:
    """What of the latest change of the mean prediction comes with a column."""

    start_ms: int
    outcome: str
    change: float
    part: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class Knowledge:
    """What a page says of a column in words."""

    agreed: tuple[tuple[str, str], ...]
    part: Part | None
    findings: list[Any]
    incidents: list[Any]
    promotions: list[Any]
    examples: list[ExampleEvent]


def knowledge_of(
    connection: Connection, subject: Subject, starts: Sequence[int], column: str, segment: str
) -> Knowledge:
    """Gather what is known of a column.

    Parameters
    ----------
    starts : sequence of int
        Of the judged windows of the range; the newest 400 are looked through.
    """
    stream, contract = subject.stream, subject.settings.build_contract()
    return Knowledge(
        agreed_words(contract.of(column)),
        _part(connection, subject, starts, column),
        findings(connection, stream, starts, column, segment),
        incidents_of(connection, stream, column),
        promotions(connection, stream),
        _examples(broken_rules(connection, stream, starts, column), contract.hidden),
    )


def markers_of(connection: Connection, subject: Subject, column: str) -> list[Marker]:
    """Incidents that the column has part in, and new references, for charts over time."""
    stream = subject.stream
    found = [
        Marker(row.start_ms, Event.INCIDENT, shorten(row.summary, 70), f"/incidents/{row.id}")
        for row in incidents_of(connection, stream, column)
        if stream.from_ms <= row.start_ms < stream.to_ms
    ]
    found += [
        Marker(row.from_ms, Event.REFERENCE, f"reference {row.hash[:8]}, by {shorten(row.promoted_by, 30)}")
        for row in promotions(connection, stream)
    ]
    return sorted(found, key=lambda one: one.at_ms)


def agreed_words(rules: ColumnRules | None) -> tuple[tuple[str, str], ...]:
    """Write the contract of a column: what is agreed, and how many rows may break it."""
    if rules is None:
        return ()
    found: list[tuple[str, str, str]] = []
    if rules.has_bounds:
        low, high = ("any" if one is None else f"{one:g}" for one in (rules.low, rules.high))
        found.append(("range", "Range", f"{low} to {high}"))
    if rules.values is not None:
        more = len(rules.values) - MOST_VALUES
        shown = ", ".join(shorten(value, 40) for value in rules.values[:MOST_VALUES])
        found.append(("allowed", "Allowed values", f"{shown}{f' and {more} more' if more > 0 else ''}"))
    if rules.pattern is not None:
        found.append(("pattern", "Pattern", rules.pattern))
    if rules.counts_missing:
        found.append(("missing", "Missing", "may not be missing"))
    if rules.kind is not None:
        found.append(("type", "Type", rules.kind.value))
    if rules.freshness_ms is not None:
        found.append(("fresh", "Age", f"at most {format_duration(rules.freshness_ms)}"))
    written = [(name, f"{words}; borne: {rules.policy_of(check).limit}") for check, name, words in found]
    if rules.is_unique:
        written.append(("Unique", "no value twice in a window"))
    if rules.is_personal:
        written.append(("Personal", "values are not shown"))
    return tuple(written)


def _part(connection: Connection, subject: Subject, starts: Sequence[int], column: str) -> Part | None:
    """What the newest attribution of the predictions says of a column."""
    row = attributions(connection, subject.stream, starts, (PREDICTION, SCORE))
    told = None if row is None else attribution_in(row.attribution)
    if row is None or told is None:
        return None
    for part in told["parts"]:
        if part["name"] == column and part["kind"] in ("feature", "segment"):
            return Part(
                row.start_ms, told["outcome"], told["change"], part["part"], part["low"], part["high"],
                part["words"],
            )  # fmt: skip
    return None


def _examples(rows: Sequence[Any], hidden: frozenset[str]) -> list[ExampleEvent]:
    """Events that broke rules, the newest windows first, with what may be shown of them now."""
    found = []
    for row in rows:
        for one in examples_in(row.attribution):
            values = tuple(
                (name, HIDDEN if text is None or name in hidden else text)
                for name, text in one["values"].items()
            )
            place = f"{one['topic']}/{one['partition']} at offset {one['offset']:,}"
            rule = row.detector.removeprefix(DETECTOR_PREFIX)
            found.append(ExampleEvent(row.start_ms, rule, one["event_id"], one["event_ms"], place, values))
    return found[:MOST_EXAMPLES]
