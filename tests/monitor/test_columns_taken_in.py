"""Messages that are read many at a time on their way in: what they become, and tasks of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from sqlalchemy import Engine

from detectors.profile import Profile
from monitor import intake
from monitor.source.source import Fetched
from monitor.store import engine as databases
from monitor.store import positions
from monitor.store.schema import upgrade
from monitor.store.tables import slice_profile
from tests.monitor.test_formats_arrow import stream
from tests.monitor.test_formats_taken_in import NOW_MS, Bench, identity


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    made: Engine = databases.create(sqlite_url, patience_s=5)
    upgrade(made)
    positions.ensure_counters(made)
    yield made
    made.dispose()


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    made = Bench(engine)
    yield made
    made.ingest.abandon()


def rows_of(first: int, rows: int) -> bytes:
    """A message with events of their own."""
    ids = [f"e{at}" for at in range(first, first + rows)]
    return stream(pa.table({"event_id": ids, "prediction": [1] * rows, "x": [1.5] * rows}))


@pytest.mark.parametrize("largest", [3, 4, 40, 1_000])
def test_rows_of_arrow_are_counted_in_tasks_of_any_size(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(intake, "LARGEST", largest)
    rows = 40
    columns = {
        "prediction": [at % 2 for at in range(rows)],
        "x": [float(at) if at % 5 else None for at in range(rows)],
        "c": [f"v{at % 3}" for at in range(rows)],
    }
    table = pa.table({"event_id": [f"e{at}" for at in range(rows)], **columns})
    for part in (table, table.slice(10, 20)):  # half of them once more
        bench.broker.append("pp", 0, stream(part), timestamp_ms=NOW_MS)
    bench.send({"event_id": "last", "timestamp": NOW_MS, "prediction": 0, "features": {"x": 1.5, "c": "v1"}})
    row = bench.take()
    assert (row["fetched"], row["counted"], row["duplicates"]) == (61, 41, 20)
    assert identity(row)
    [kept] = bench.rows(slice_profile)
    profile = Profile.from_bytes(kept.bytes)
    assert (kept.rows, profile.rows) == (41, 41)
    assert {name: profile.missing(name) for name in ("x", "c", "prediction")} == {
        "x": 8,
        "c": 0,
        "prediction": 0,
    }


def test_a_fetch_takes_fewer_messages_where_each_holds_many_events(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is decoded and kept together is bounded in events, whatever a message holds."""
    monkeypatch.setattr(intake, "LARGEST", 100)
    bench = Bench(engine, batch=4)
    fetch, asked = bench.source.fetch, []

    def noted(limit: int, timeout_s: float) -> Fetched:
        asked.append(limit)
        return fetch(limit, timeout_s)

    monkeypatch.setattr(bench.source, "fetch", noted)
    for at in range(8):
        bench.broker.append("pp", 0, rows_of(40 * at, 40), timestamp_ms=NOW_MS)
    bench.broker.append("pp", 0, rows_of(400, 1_000), timestamp_ms=NOW_MS)
    for at in range(6):
        bench.send({"event_id": f"n{at}", "timestamp": NOW_MS, "prediction": 0, "features": {"x": 2.5}})
    for _ in range(8):
        bench.ingest.step()
    # Four at first, then two of forty events each, one where the last held a thousand, and four again.
    assert asked == [4, 2, 2, 2, 1, 4, 4, 4][: len(asked)]
    row = bench.take()
    assert (row["fetched"], row["counted"]) == (1_326, 1_326)
    assert identity(row)
    bench.ingest.abandon()


def test_events_count_towards_a_commit_not_messages(engine: Engine) -> None:
    bench = Bench(engine, commit_events=50)
    bench.broker.append("pp", 0, rows_of(0, 49), timestamp_ms=NOW_MS)
    bench.ingest.step()
    assert bench.rows(slice_profile) == []
    bench.broker.append("pp", 0, rows_of(49, 1), timestamp_ms=NOW_MS)
    bench.ingest.step()
    [kept] = bench.rows(slice_profile)
    assert kept.rows == 50
    bench.ingest.abandon()
