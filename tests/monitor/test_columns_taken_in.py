"""Messages that are read many at a time on their way in: what they become, and tasks of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from sqlalchemy import Engine

from detectors.profile import Profile
from monitor import intake
from monitor.store import engine as databases
from monitor.store import positions
from monitor.store.schema import upgrade
from monitor.store.tables import slice_profile
from tests.monitor.test_formats_arrow import stream
from tests.monitor.test_formats_taken_in import NOW_MS, Bench, identity


@pytest.fixture
def bench(sqlite_url: str) -> Iterator[Bench]:
    engine: Engine = databases.create(sqlite_url, patience_s=5)
    upgrade(engine)
    positions.ensure_counters(engine)
    made = Bench(engine)
    yield made
    made.ingest.abandon()
    engine.dispose()


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
