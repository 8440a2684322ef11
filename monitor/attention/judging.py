"""Problems of judging: alerts, windows that wait, references that cannot be used, the budget."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sqlalchemy import func, select

from alerting.alert import State
from monitor.attention.problem import Facts, Problem, counted, lasting, named
from monitor.config.alerts import PERIODS_MS
from monitor.store.queries.budget import newest_end_ms, spent
from monitor.store.queries.times import newest_events
from monitor.store.tables import alert, judgement

PATIENCE_MS = 300_000
HELD_BACK_MS = 1_800_000
MANY = 5
MODELS_PAGE = "the start page of the console says why, the worst first"


def firing(facts: Facts) -> Iterator[Problem]:
    """Alerts of models that nobody has taken up yet."""
    query = select(alert.c.model, alert.c.severity, func.count()).where(alert.c.state == State.FIRING.value)
    rows = facts.connection.execute(query.group_by(alert.c.model, alert.c.severity)).all()
    if not rows:
        return
    paging = sorted({row[0] for row in rows if row[1] == "page"})
    if len(paging) >= MANY:
        what = f"{len(paging)} models page at the same time ({named(paging)})"
        do = "look for what they share: an upstream column, a release, a clock"
        yield Problem("DriftlineManyModels", "page", what, do)
    what = counted(sum(row[2] for row in rows), "alert is firing", "alerts are firing")
    models = named(paging or sorted({row[0] for row in rows}))
    do = f"{models}: acknowledge the incident on its page, and find its cause; {MODELS_PAGE}"
    yield Problem("DriftlineModelAlert", "page" if paging else "warn", what, do)


def waiting(facts: Facts) -> Iterator[Problem]:
    """Windows that are complete, while nothing has been judged for some minutes."""
    windows = sum(one.windows_waiting for one in facts.models)
    if not windows:
        return
    query = select(judgement.c.judged_at_ms).order_by(judgement.c.id.desc()).limit(1)
    judged_at_ms = facts.connection.execute(query).scalar_one_or_none()
    if judged_at_ms is not None and facts.now_ms - judged_at_ms <= PATIENCE_MS:
        return
    ago = "there is no verdict yet" if judged_at_ms is None else (
        f"the last verdict is {lasting(facts.now_ms - judged_at_ms)} old"
    )  # fmt: skip
    waits = counted(windows, "window waits to be judged", "windows wait to be judged")
    do = "is a process with the role evaluate (or all) running? start one: driftline run --role evaluate"
    yield Problem("DriftlineJudgingSlow", "warn", f"{waits}, and {ago}", do)


def held_back(facts: Facts) -> Iterator[Problem]:
    """Models of which newer events are there, whose windows a partition keeps from being completed."""
    found = []
    for model, newest_ms in newest_events(facts.connection).items():
        mark_ms = facts.marks.get(model)
        allowed_ms = facts.configuration.for_model(model).lateness_ms + HELD_BACK_MS
        if mark_ms is not None and newest_ms - mark_ms > allowed_ms:
            found.append((newest_ms - mark_ms, model))
    if found:
        by_ms, _ = max(found)
        number = counted(len(found), "model is", "models are")
        names = named(model for _, model in sorted(found, reverse=True))
        what = f"{number} held back: events are up to {lasting(by_ms)} ahead ({names})"
        do = "find the partition with the oldest newest event: driftline partitions list"
        yield Problem("DriftlineWatermarkStands", "warn", what, do)


def references(facts: Facts) -> Iterator[Problem]:
    """Model versions that cannot become ready."""
    for one in facts.models:
        if one.problem:
            what = f"{one.model}/{one.version}: {one.problem}"
            do = f"give another file, or none: driftline reference list --model {one.model}"
            yield Problem("DriftlineReferenceUnusable", "warn", what, do)


def budget_spent(facts: Facts) -> float:
    """False alarms that had to be expected in the latest period of the budget."""
    newest_ms = newest_end_ms(facts.connection)
    if newest_ms is None:
        return 0.0
    period_ms = int(PERIODS_MS[facts.configuration.alerts.budget.per])
    return math.fsum(row.spent for row in spent(facts.connection, newest_ms - period_ms, newest_ms))


def overspent(facts: Facts, spent_: float) -> Iterator[Problem]:
    """More false alarms to be expected than were asked for."""
    budget = facts.configuration.alerts.budget
    if spent_ > budget.count:
        what = f"the false-alarm budget is overspent: {spent_:.2g} of {budget.count:g} per {budget.per}"
        do = "wait for the next period, or raise alerts.budget, or watch fewer things"
        yield Problem("DriftlineBudgetSpent", "warn", what, do)
