"""What the service has done so far, as its database tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from monitor.demo import model
from monitor.demo.script import PREDICTIONS
from monitor.labels.pairing import FATES
from monitor.store.tables import (
    alert,
    dead_letter,
    judgement,
    label_account,
    outcome_window,
    partition_state,
    result,
    window_state,
)
from schemas.verdict import Decision

OUTCOMES = ("counted", "duplicates", "dead_lettered", "late", "future")


@dataclass(frozen=True)
class Account:
    """Numbers of events by what became of them, and of windows and alerts.

    Parameters
    ----------
    fetched : int
    outcomes : dict of str to int
        counted, duplicates, dead_lettered, late, future.
    windows : int
        Judged, of the shape that is alerted on.
    revisions : int
        Windows judged again.
    firing : int
        Alerts that are open.
    alerts : int
        Alerts so far.
    """

    fetched: int
    outcomes: dict[str, int]
    windows: int
    revisions: int
    firing: int
    alerts: int

    @property
    def is_balanced(self) -> bool:
        """Whether every event that was fetched is accounted for."""
        return self.fetched == sum(self.outcomes.values())


@dataclass(frozen=True)
class Finding:
    """A stream that a judged window found to have drifted."""

    start_ms: int
    column: str
    segment: str
    lane: str
    psi: float

    @property
    def stream(self) -> str:
        """Name it the way people say it."""
        return f"{self.column} where {self.segment}" if self.segment else self.column


def read_account(connection: Connection, window: str) -> Account:
    """Read the account.

    Parameters
    ----------
    connection : Connection
    window : str
        Shape of the windows that are alerted on, such as ``1d``.
    """
    p = partition_state.c
    sums = connection.execute(
        select(func.sum(p.fetched), *(func.sum(p[name]) for name in OUTCOMES)).where(p.topic == PREDICTIONS)
    ).one()
    numbers = [int(value or 0) for value in sums]
    j, a = judgement.c, alert.c
    judged = select(func.count(), func.count().filter(j.revision > 1)).where(j.window == window)
    total, again = connection.execute(judged.where(j.model == model.NAME)).one()
    firing = func.count().filter(a.state.in_(("firing", "acknowledged")))
    open_, alerts = connection.execute(select(firing, func.count()).select_from(alert)).one()
    outcomes = dict(zip(OUTCOMES, numbers[1:], strict=True))
    return Account(numbers[0], outcomes, total - again, again, open_, alerts)


def next_offsets(connection: Connection) -> dict[tuple[str, int], int]:
    """Committed position of every partition that is read."""
    p = partition_state.c
    rows = connection.execute(select(p.topic, p.partition, p.next_offset))
    return {(row.topic, row.partition): row.next_offset for row in rows}


def windows_left(connection: Connection, from_ms: int, complete_ms: int) -> int:
    """Windows between two instants of event time that have not been judged as they are now."""
    w = window_state.c
    query = select(func.count()).where(
        w.model == model.NAME, w.start_ms >= from_ms, w.end_ms <= complete_ms, w.touched != w.judged
    )
    return int(connection.execute(query).scalar_one())


def outcomes_left(connection: Connection, from_ms: int, complete_ms: int) -> int:
    """The same of the outcomes of windows."""
    w = outcome_window.c
    query = select(func.count()).where(
        w.model == model.NAME, w.start_ms >= from_ms, w.end_ms <= complete_ms, w.touched != w.judged
    )
    return int(connection.execute(query).scalar_one())


def labels(connection: Connection) -> dict[str, int]:
    """What became of the labels."""
    a = label_account.c
    row = connection.execute(select(*(func.sum(a[name]).label(name) for name in FATES))).one()
    return {name: int(getattr(row, name) or 0) for name in FATES}


def dead_letters(connection: Connection) -> dict[str, int]:
    """Number of messages that could not be read, by reason, the most frequent first."""
    d = dead_letter.c
    times = func.count().label("times")
    rows = connection.execute(select(d.reason, times).group_by(d.reason).order_by(times.desc(), d.reason))
    return {row.reason: row.times for row in rows}


def findings(connection: Connection, window: str) -> list[Finding]:
    """Everything that the latest revision of each window found, in the order of event time."""
    r = result.c
    latest = (
        select(r.start_ms, func.max(r.revision).label("revision"))
        .where(r.model == model.NAME, r.window == window)
        .group_by(r.start_ms)
        .subquery()
    )
    query = (
        select(r.start_ms, r.column, r.segment, r.lane, r.psi)
        .join(latest, (latest.c.start_ms == r.start_ms) & (latest.c.revision == r.revision))
        .where(
            r.model == model.NAME,
            r.window == window,
            r.decision.in_((Decision.DRIFT.value, Decision.ONGOING.value)),
        )
        .order_by(r.start_ms)
    )
    return [Finding(x.start_ms, x.column, x.segment, x.lane, x.psi or 0.0) for x in connection.execute(query)]


def alerts(connection: Connection) -> list[Any]:
    """Read all alerts, oldest first."""
    return list(connection.execute(select(alert).order_by(alert.c.window_start_ms)))
