"""Problems of telling others: receivers that fail, messages that nobody sends, runs of training."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select

from alerting.retraining.guards import Standing
from monitor.attention.problem import Facts, Problem, counted, lasting, named
from monitor.attention.taking_in import DAY_MS
from monitor.store.outbox import DEAD, WAITING
from monitor.store.queries.receivers import disabled_receivers
from monitor.store.tables import outbox, retraining_run

FAILING_MS = 900_000
OVERDUE_MS = 600_000


def failing(facts: Facts) -> Iterator[Problem]:
    """Receivers to which messages have been failing for a quarter of an hour."""
    o = outbox.c
    since = func.min(o.created_at_ms)
    query = (
        select(o.receiver, func.count(), since, func.max(o.last_error))
        .where(o.state == WAITING, o.attempts > 0, o.last_error.is_not(None))
        .group_by(o.receiver)
        .order_by(since)
    )
    for receiver, number, since_ms, error in facts.connection.execute(query):
        if facts.now_ms - since_ms > FAILING_MS:
            waits = counted(int(number), "message waits", "messages wait")
            what = (
                f"receiver {receiver} gets nothing: {waits} for {lasting(facts.now_ms - since_ms)}: {error}"
            )
            do = "see /deliveries of the console; try it with a test message: driftline check --live"
            yield Problem("DriftlineDeliveryFailing", "page", what, do)


def overdue(facts: Facts) -> Iterator[Problem]:
    """Messages that could have been sent long ago."""
    o = outbox.c
    query = select(o.receiver, func.min(o.not_before_ms)).where(
        o.state == WAITING, o.not_before_ms < facts.now_ms - OVERDUE_MS, o.lease_until_ms < facts.now_ms
    )
    rows = facts.connection.execute(query.group_by(o.receiver).order_by(o.receiver)).all()
    if rows:
        ago = lasting(facts.now_ms - max(1, min(row[1] for row in rows)))
        what = f"messages to {named(row[0] for row in rows)} have been due for {ago} and nobody sends them"
        do = "is a process with the role evaluate (or all) running? start one: driftline run --role evaluate"
        yield Problem("DriftlineDeliveryStands", "page", what, do)


def given_up(facts: Facts) -> Iterator[Problem]:
    """Messages of the last day that did not arrive and are not tried any more."""
    o = outbox.c
    query = select(o.receiver, func.count()).where(o.state == DEAD, o.finished_at_ms >= facts.now_ms - DAY_MS)
    rows = facts.connection.execute(query.group_by(o.receiver).order_by(o.receiver)).all()
    if rows:
        total = sum(int(row[1]) for row in rows)
        one, several = "delivery was given up", "deliveries were given up"
        what = f"{counted(total, one, several)} in the last day"
        names = named(row[0] for row in rows)
        do = f"mend the options of {names}, then send them again on /deliveries of the console"
        yield Problem("DriftlineMessagesGivenUp", "warn", what, do)


def disabled(facts: Facts) -> Iterator[Problem]:
    """Receivers that want nothing any more."""
    names = sorted(set(facts.configuration.receivers) - facts.configuration.targets)
    for receiver, why in disabled_receivers(facts.connection, names).items():
        do = "change its options, which enables it again, or take it out of the routes"
        yield Problem("DriftlineReceiverDisabled", "warn", f"receiver {receiver} is off: {why}", do)


def retraining(facts: Facts) -> Iterator[Problem]:
    """Runs of training that failed in the last day, and those that wait for a person."""
    r = retraining_run.c
    over = r.state.in_([Standing.FAILED.value, Standing.LOST.value])
    query = (
        select(r.model).where(over, r.finished_at_ms >= facts.now_ms - DAY_MS).distinct().order_by(r.model)
    )
    failed = list(facts.connection.execute(query).scalars())
    if failed:
        what = f"retraining failed in the last day: {named(failed)}"
        do = "open its run from the page of the incident; after the fix, ask for training again there"
        yield Problem("DriftlineRetrainingFailed", "warn", what, do)
    number = retraining_waiting(facts)
    if number:
        waits = counted(number, "run of training waits", "runs of training wait")
        do = "approve or reject it on the page of the incident"
        yield Problem("DriftlineRetrainingWaits", "info", f"{waits} for approval", do)


def retraining_waiting(facts: Facts) -> int:
    """Runs of training that wait for a person."""
    where = retraining_run.c.state == Standing.PROPOSED.value
    query = select(func.count()).select_from(retraining_run).where(where)
    return int(facts.connection.execute(query).scalar_one())


def oldest_waiting_ms(facts: Facts) -> int | None:
    """When the oldest message that waits was written; None if none waits."""
    query = select(func.min(outbox.c.created_at_ms)).where(outbox.c.state == WAITING)
    found = facts.connection.execute(query).scalar_one()
    return None if found is None else int(found)
