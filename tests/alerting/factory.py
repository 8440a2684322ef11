"""Findings, windows and notices for tests."""

from dataclasses import replace

from alerting.alert import step
from alerting.finding import Finding, Kind, WindowObservation, instant
from alerting.incidents.incident import gather
from alerting.notice import Notice, notice_of
from alerting.pipeline import Surroundings, outbox_rows, receivers_of
from alerting.policy import AlertPolicy, Grouping
from alerting.record import Record
from alerting.telling import tell_change
from schemas.verdict import Lane, MovedBin, Stream

START_MS = 1_767_261_600_000  # 2026-01-01T10:00:00Z
WINDOW_MS = 600_000
POLICY = AlertPolicy()


def finding(column="age", index=0, lane=Lane.FEATURES, segment="", psi=0.4, **changes) -> Finding:
    start_ms = START_MS + index * WINDOW_MS
    made = Finding(
        column,
        segment,
        lane,
        "e-detector",
        instant(start_ms),
        instant(start_ms + WINDOW_MS),
        psi=psi,
        psi_debiased=psi,
        psi_low=None if psi is None else psi - 0.03,
        psi_high=None if psi is None else psi + 0.04,
        moved=() if psi is None else (MovedBin("[48.1, 61.0)", 0.09, 0.62, 0.4),),
    )
    return replace(made, **changes)


def window(index=0, findings=(), *, revision=1, unsettled=(), kind=Kind.DRIFT, model="churn", version="1"):
    """One window; findings are columns or ready findings."""
    start_ms = START_MS + index * WINDOW_MS
    made = tuple(
        item if isinstance(item, Finding) else finding(item, index, lane_of(item)) for item in findings
    )
    return WindowObservation(
        model,
        version,
        start_ms,
        start_ms + WINDOW_MS,
        revision,
        made,
        kind,
        frozenset(Stream(column, "", "e-detector") for column in unsettled),
    )


def lane_of(column: str) -> Lane:
    return {"score": Lane.PREDICTIONS, "f1": Lane.PERFORMANCE, "nulls": Lane.QUALITY}.get(
        column, Lane.FEATURES
    )


def play(*observations, alert=None, policy=POLICY):
    """Step through windows; the alert at the end and all changes."""
    changes = []
    for observation in observations:
        alert, new = step(alert, observation, policy)
        changes += new
    return alert, changes


def rows_of(alert, changes, routes):
    """Messages about changes of an alert that is an incident of its own, at once."""
    around = Surroundings(0, routes, Grouping(wait_ms=0))
    rows = []
    for change in changes:
        record = Record(alert.id, change.sequence - 1, dict.fromkeys(receivers_of([alert], around), 1))
        rows += outbox_rows(tell_change(record, (), (alert,), change, around))
    return rows


def notices(*observations, policy=POLICY) -> list[Notice]:
    """Every change of an incident as a notice."""
    alert, made = None, []
    for observation in observations:
        alert, changes = play(observation, alert=alert, policy=policy)
        made += [
            notice_of(f"{alert.id}-{change.sequence}", change, gather(alert.id, change.sequence, [alert]))
            for change in changes
        ]
    return made
