"""Performance of the demo's model month by month: estimated without labels, and realised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from detectors.outcomes import EVERYTHING
from monitor.config.settings import ModelSettings
from monitor.demo import model
from monitor.performance.estimates import Worth
from monitor.performance.outcomes import measure_together
from monitor.performance.references import OutcomeReferences
from monitor.store.queries.outcomes import window_outcomes


@dataclass(frozen=True)
class MonthlyPerformance:
    """What was predicted in a month and what it was worth; None where nothing is known."""

    month: str
    predictions: int
    coverage: float | None
    estimated: dict[str, float]
    realised: dict[str, float]


def by_month(
    connection: Connection, settings: ModelSettings, metrics: Sequence[str], until_ms: int
) -> list[MonthlyPerformance]:
    """Performance by calendar month: as estimated from the scores alone, and as the labels say."""
    key = (model.NAME, model.VERSION)
    known = OutcomeReferences(connection.engine, Path()).of(connection, key)
    found = []
    for start_ms, end_ms in _months(until_ms):
        records = window_outcomes(connection, key, start_ms, end_ms)
        if not len(records):
            continue
        real = measure_together(connection, settings, [records]).realised
        guesses = Worth(known[0]).guess(records, EVERYTHING) if known else {}
        found.append(
            MonthlyPerformance(
                f"{datetime.fromtimestamp(start_ms / 1_000, UTC):%b %Y}",
                real.predicted,
                real.coverage,
                {name: guesses[name].value for name in metrics if name in guesses},
                {name: real.measures[name].value for name in metrics if name in real.measures},
            )
        )
    return found


def _months(until_ms: int) -> Iterator[tuple[int, int]]:
    """First instants of the months of the replay, and of the next ones."""
    for number in range(3, 13):
        start = datetime(2013, number, 1, tzinfo=UTC)
        end = datetime(2013 + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        start_ms, end_ms = (int(at.timestamp() * 1_000) for at in (start, end))
        if start_ms < until_ms:
            yield start_ms, end_ms
