"""The status as lines for one screen, however many partitions and models there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import click

from alerting.finding import shorten
from monitor.attention.problem import Problem, counted
from monitor.judging.standing import ModelStanding
from monitor.status import PartitionStanding, Status

MOST_PROBLEMS = 8
MOST_OF_A_NAME = 2
MOST_PARTITIONS = 4
MOST_MODELS = 5
LONGEST = 200
COLOURS = {"page": "red", "warn": "yellow", "info": "cyan"}


def screen(status: Status) -> Iterator[str]:
    """Write a status, problems first; at most 40 lines.

    Guarantees
    ----------
    Never more than 40 lines, of which none holds a line break.
    """
    yield from _problems(status.problems)
    yield ""
    yield from _summary(status)
    if status.revision is not None:
        yield ""
        yield from _partitions(status.partitions)
        yield ""
        yield from _models(status.models)


def _problems(problems: Sequence[Problem]) -> Iterator[str]:
    if not problems:
        yield click.style("all is well", fg="green")
        return
    shown = _shown(problems)
    for problem in shown:
        mark = click.style(problem.severity, fg=COLOURS[problem.severity], bold=True)
        yield f"{mark}  {_line(problem.what)}"
        yield f"      → {problem.do} ({problem.runbook})"
    left = Counter(problem.name for problem in problems)
    left.subtract(problem.name for problem in shown)
    more = [f"{number} × {name}" for name, number in left.items() if number]
    if more:
        yield _line(f"and more, which --json lists all: {', '.join(more)}")


def _shown(problems: Sequence[Problem]) -> list[Problem]:
    """The worst, of which none takes the room of all others."""
    seen: Counter[str] = Counter()
    found: list[Problem] = []
    for problem in problems:
        seen[problem.name] += 1
        if seen[problem.name] <= MOST_OF_A_NAME and len(found) < MOST_PROBLEMS:
            found.append(problem)
    return found


def _summary(status: Status) -> Iterator[str]:
    size = "" if status.database_bytes is None else f", {status.database_bytes / (1 << 20):,.0f} MiB"
    revision = "cannot be read" if status.revision is None else f"revision {status.revision}{size}"
    yield _line(f"database {status.database}: {revision}")
    yield _line(f"kafka {status.kafka}")
    if status.revision is None:
        return
    readers = counted(status.readers, "process reads", "processes read")
    alerts = ", ".join(f"{number} {state}" for state, number in sorted(status.open_alerts.items()))
    yield f"{readers}; alerts: {alerts or 'none open'}; budget: {_budget(status)}"
    since = f" since {status.oldest_delivery}" if status.oldest_delivery else ""
    yield (
        f"deliveries: {status.deliveries_waiting} waiting{since}, {status.deliveries_dead_last_day} given up "
        f"in the last day; dead letters in the last day: {status.dead_letters_last_day}; "
        f"retraining: {status.retraining_waiting} waiting for approval"
    )


def _budget(status: Status) -> str:
    return f"{status.budget_spent:.2g} of {status.budget_allowed:g} spent"


def _partitions(partitions: Sequence[PartitionStanding]) -> Iterator[str]:
    if not partitions:
        yield "no partition was read yet"
        return
    worst = sorted(partitions, key=lambda one: (not one.stopped_reason, -(one.lag or 0)))
    rows = [
        (
            f"{one.topic}/{one.partition}", one.kind, str(one.next_offset),
            "unknown" if one.lag is None else str(one.lag), one.newest_event or "-",
            "stopped" if one.stopped_reason else one.seen_at or "-",
        )
        for one in worst[:MOST_PARTITIONS]
    ]  # fmt: skip
    yield from _table(("partition", "kind", "next offset", "lag", "newest event", "last report"), rows)
    more = len(partitions) - len(rows)
    if more > 0:
        lags = [one.lag for one in partitions if one.lag is not None]
        total = f", {sum(lags)} messages wait in all" if lags else ""
        yield f"and {more} more, which wait for less{total}: driftline partitions list"


def _models(models: Sequence[ModelStanding]) -> Iterator[str]:
    if not models:
        yield "no model was seen yet"
        return
    worst = sorted(models, key=_ease)
    rows = [
        (
            shorten(one.model, 40), shorten(one.version, 20), one.state, str(one.rows), one.watermark or "-",
            str(one.windows_waiting), str(one.open_alerts), shorten(one.detail, 60),
        )
        for one in worst[:MOST_MODELS]
    ]  # fmt: skip
    names = ("model", "version", "state", "rows", "watermark", "to judge", "open alerts", "")
    yield from _table(names, rows)
    more = len(models) - len(rows)
    if more > 0:
        states = Counter(one.state for one in models)
        words = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        waiting = sum(one.windows_waiting for one in models)
        waits = counted(waiting, "window waits", "windows wait")
        yield f"and {more} more; of all: {words}, {waits} to be judged"


def _ease(one: ModelStanding) -> tuple[bool, int, int, bool]:
    """What comes first: what cannot work, then open alerts, waiting windows, and what still learns."""
    return one.problem is None, -one.open_alerts, -one.windows_waiting, one.state == "ready"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in (names, *rows)) for at in range(len(names))]
    for number, row in enumerate((names, *rows)):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        line = "  ".join(cells).rstrip()
        yield click.style(line, bold=True) if number == 0 else line


def _line(text: str) -> str:
    """One line that cannot take over the screen."""
    return shorten(" ".join(text.split()), LONGEST)
