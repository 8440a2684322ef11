"""The closing summary as data: what was sent, what became of it, what was found, what of it was planted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any

from sqlalchemy import Connection

from alerting.finding import Kind as AlertKind
from monitor.config.settings import ModelSettings
from monitor.demo import account
from monitor.demo.account import Account, Finding
from monitor.demo.faults import DAY_MS, FAULTS, Effect, Fault
from monitor.demo.months import MonthlyPerformance, by_month
from monitor.demo.script import LABELS, Kind
from monitor.performance.outcomes import wait_ms
from schemas.column import PERFORMANCE_ERROR
from schemas.duration import format_duration

NAMED_COLUMNS = 4
METRICS = ("accuracy", "recall")
Json = dict[str, Any]


@dataclass(frozen=True)
class FaultReport:
    """A planted fault and what Driftline made of it; `is_found` is None where nothing was to be found yet."""

    fault: Fault
    is_found: bool | None
    outcome: str

    def as_json(self) -> Json:
        """Write for ``--json``."""
        fault = self.fault
        planted = {
            "name": fault.name,
            "effect": fault.effect.value,
            "from": fault.from_day,
            "to": fault.to_day,
        }
        return {**planted, "found": self.is_found, "outcome": self.outcome}


@dataclass(frozen=True)
class AlertReport:
    """An alert; `streams` are those found most often while it was open, `planted` the fault behind it."""

    id: str
    state: str
    severity: str
    opened: str
    closed: str | None
    stream: str
    streams: tuple[str, ...]
    summary: str
    planted: str | None

    def as_json(self) -> Json:
        """Write for ``--json``."""
        return {**vars(self), "streams": list(self.streams)}


@dataclass(frozen=True)
class Report:
    """Everything the summary says about the data."""

    sent: Mapping[Kind, int]
    account: Account
    dead_letters: Mapping[str, int]
    faults: Sequence[FaultReport]
    alerts: Sequence[AlertReport]
    labels: Mapping[str, int]
    months: Sequence[MonthlyPerformance]

    @property
    def sent_predictions(self) -> int:
        """Messages sent to the topic of predictions."""
        return sum(number for kind, number in self.sent.items() if kind is not Kind.LABEL)

    @property
    def is_exact(self) -> bool:
        """Whether every message sent was fetched, and every one fetched is accounted for once."""
        return self.account.fetched == self.sent_predictions and self.account.is_balanced

    def as_json(self) -> Json:
        """Write for ``--json``."""
        return {
            "sent": {kind.name.lower(): self.sent.get(kind, 0) for kind in Kind},
            "accounting": {"fetched": self.account.fetched, **self.account.outcomes, "exact": self.is_exact},
            "dead_letters": dict(self.dead_letters),
            "windows": {"judged": self.account.windows, "revised": self.account.revisions},
            "faults": [fault.as_json() for fault in self.faults],
            "alerts": [alert.as_json() for alert in self.alerts],
            "labels": dict(self.labels),
            "performance": [vars(month) for month in self.months],
        }


def make(
    connection: Connection,
    window: str,
    sent: Mapping[Kind, int],
    until_ms: int,
    settings: ModelSettings,
) -> Report:
    """Collect the report from the database.

    Parameters
    ----------
    connection : Connection
    window : str
        Shape of the windows that are alerted on.
    sent : mapping of Kind to int
    until_ms : int
        Event time at which the replay ended: later faults are left out.
    settings : ModelSettings
        How the model is watched.
    """
    numbers = account.read_account(connection, window)
    of_outcomes = f"{window}+{format_duration(wait_ms(settings))}"
    of_events = account.findings(connection, window)
    found = of_events + (of_labels := account.findings(connection, of_outcomes))
    reads_labels = any(topic == LABELS for topic, _ in account.next_offsets(connection))
    planted = [fault for fault in FAULTS if fault.from_ms < until_ms]
    seen = _Seen(numbers, sent, found, reads_labels, until_ms)
    return Report(
        sent=dict(sent),
        account=numbers,
        dead_letters=account.dead_letters(connection),
        faults=[seen.judge(fault) for fault in planted],
        alerts=[
            _alert(row, {AlertKind.DRIFT: of_events, AlertKind.PERFORMANCE: of_labels}.get(row.kind, []))
            for row in account.alerts(connection)
        ],
        labels=account.labels(connection),
        months=by_month(connection, settings, METRICS, until_ms),
    )


@dataclass(frozen=True)
class _Seen:
    """What there is to judge faults by."""

    account: Account
    sent: Mapping[Kind, int]
    findings: Sequence[Finding]
    reads_labels: bool
    until_ms: int

    def judge(self, fault: Fault) -> FaultReport:
        """Say what Driftline made of a fault."""
        outcomes = self.account.outcomes
        match fault.effect:
            case Effect.REPEATED:
                sent = self.sent.get(Kind.REPEATED, 0)
                return _counted(fault, outcomes["duplicates"], sent, "recognised as duplicates")
            case Effect.MALFORMED:
                sent = self.sent.get(Kind.MALFORMED, 0)
                return _counted(fault, outcomes["dead_lettered"], sent, "kept as dead letters")
            case Effect.MISSING | Effect.CELSIUS:
                return self._flagged(fault, stream_of(fault))
            case Effect.HELD_BACK:
                again = ", and the day judged again" if self.account.revisions else ""
                return FaultReport(fault, outcomes["late"] == 0, f"all merged into their day{again}")
            case Effect.FLIPPED:
                return self._labels(fault)

    def _flagged(self, fault: Fault, stream: str) -> FaultReport:
        to_ms = min(fault.to_ms, self.until_ms)
        days = {finding.start_ms for finding in self.findings if finding.stream == stream}
        during = sum(fault.from_ms <= day < to_ms for day in days)
        total = -(-(to_ms - fault.from_ms) // DAY_MS)
        return FaultReport(fault, during > 0, f"{stream}: {during} of {total} days found")

    def _labels(self, fault: Fault) -> FaultReport:
        if not self.reads_labels:
            return FaultReport(fault, None, f"sent to {LABELS}, which was not read")
        return self._flagged(fault, stream_of(fault))


def _counted(fault: Fault, found: int, sent: int, what: str) -> FaultReport:
    return FaultReport(fault, found == sent, f"{found:,} of {sent:,} {what}")


def _alert(row: Any, findings: Sequence[Finding]) -> AlertReport:
    closed_ms = row.closed_at_ms
    stream = f"{row.column} where {row.segment}" if row.segment else row.column
    end_ms = inf if closed_ms is None else closed_ms
    mine = [finding for finding in findings if row.window_start_ms <= finding.start_ms < end_ms]
    return AlertReport(
        id=row.id,
        state=row.state,
        severity=row.severity,
        opened=_day(row.window_start_ms),
        closed=None if closed_ms is None else _day(closed_ms),
        stream=stream,
        streams=_streams(mine) or (stream,),
        summary=row.summary,
        planted=_planted(row.window_start_ms, {stream, *(finding.stream for finding in mine)}),
    )


def _streams(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Name the columns found most often; with their segments where only those were found."""
    often = Counter(finding.column for finding in findings)
    streams: list[str] = []
    for column, _ in often.most_common(NAMED_COLUMNS):
        segments = sorted({finding.segment for finding in findings if finding.column == column})
        several = f"{column} in {len(segments)} segments"
        streams.append(
            column if "" in segments else several if len(segments) > 1 else f"{column} where {segments[0]}"
        )
    return tuple(streams)


def _planted(opened_ms: int, streams: set[str]) -> str | None:
    """Name the fault that an alert opened with, if there is one."""
    columns = {stream.partition(" where ")[0] for stream in streams}
    for fault in FAULTS:
        if fault.from_ms <= opened_ms < fault.to_ms and stream_of(fault) in streams | columns:
            return fault.name
    return None


def stream_of(fault: Fault) -> str:
    """Name the stream that a fault in features or labels shows in; empty for other faults."""
    by_effect = {
        Effect.MISSING: fault.column,
        Effect.HELD_BACK: fault.column,
        Effect.CELSIUS: f"temp where {fault.column}={fault.value}",
        Effect.FLIPPED: f"{PERFORMANCE_ERROR} where {fault.column}={fault.value}",
    }
    return by_effect.get(fault.effect, "")


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d}"
