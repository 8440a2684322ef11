"""The ingest loop: accounting, dead letters, memory, and failures of its parts."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, func, select

from monitor.clock import ManualClock, SystemClock
from monitor.config import Configuration
from monitor.decode.features import FeatureDecoder
from monitor.ingest import Ingest
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.source.source import Fetched
from monitor.store import engine as databases
from monitor.store import positions
from monitor.store.engine import reading
from monitor.store.positions import Place
from monitor.store.schema import upgrade
from monitor.store.tables import (
    dead_letter,
    dedupe,
    model_column,
    model_version,
    partition_model,
    slice_profile,
)
from monitor.telemetry import Telemetry
from tests.kit.waiting import wait_for

NOW_MS = 1_767_225_600_000
PLACE = Place("flights", 0)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An empty, migrated database."""
    made = databases.create(database_url, patience_s=5)
    upgrade(made)
    positions.ensure_counters(made)
    yield made
    made.dispose()


class Counting(MemorySource):
    """Counts what it hands out."""

    fetched = 0

    def fetch(self, limit: int, timeout_s: float) -> Fetched:
        found = super().fetch(limit, timeout_s)
        self.fetched += len(found)
        return found


class Bench:
    """One process, one topic with one partition."""

    def __init__(self, engine: Engine, clock: ManualClock | None = None, **ingest: int) -> None:
        self.engine, self.clock, self.broker = engine, clock or ManualClock(NOW_MS), MemoryBroker()
        self.broker.create_topic("flights")
        self.configuration = Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "memory"},
                "database_url": "sqlite:///unused.db",
                "streams": [{"topic": "flights", "kind": "predictions"}],
                "ingest": ingest,
            }
        )
        self.telemetry = Telemetry()
        self.announced: list[dict[str, int]] = []
        self.ingest = self.build()

    def build(self) -> Ingest:
        """Make a process."""
        self.source = Counting(self.broker, self.clock)
        return Ingest(
            self.configuration,
            self.engine,
            self.source,
            self.clock,
            self.telemetry,
            announce=self.announced.append,
        )

    def send(self, value: bytes | None = None, stamp_ms: int = NOW_MS, **changed: Any) -> int:
        """Append an event, or any bytes."""
        event: dict[str, Any] = {
            "event_id": f"e{self.broker.range_of(PLACE)[1]}",
            "model": "m",
            "timestamp": NOW_MS,
            "features": {"x": 1.5},
            "prediction": 1,
        }
        return self.broker.append(
            "flights",
            0,
            json.dumps(event | changed).encode() if value is None else value,
            timestamp_ms=stamp_ms,
            key=b"\x00k",
            headers=(("trace", b"\xff"), ("none", None)),
        )

    def take(self) -> dict[str, Any]:
        """Fetch, commit and return the accounting."""
        self.ingest.step()
        self.ingest.commit()
        with reading(self.engine) as connection:
            [row] = positions.accounting(connection)
        return row

    def count(self, table: Any) -> int:
        """Rows of a table."""
        with reading(self.engine) as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


@pytest.fixture
def bench(engine: Engine) -> Iterator[Bench]:
    """A process that has begun."""
    made = Bench(engine)
    made.ingest.begin()
    yield made
    made.ingest.abandon()


def test_every_event_has_one_outcome_and_the_metrics_say_the_same(bench: Bench) -> None:
    bench.send()
    bench.send(event_id="again")
    bench.send(event_id="again")
    bench.send(event_id="again", version="2")  # another version's event
    bench.send(timestamp=NOW_MS + 10 * 60_000)
    bench.send(timestamp=NOW_MS - 8 * 86_400_000)
    bench.send(b"junk")
    row = bench.take()
    assert {name: row[name] for name in ("fetched", *positions.OUTCOMES)} == {
        "fetched": 7, "counted": 3, "late": 1, "future": 1, "dead_lettered": 1, "duplicates": 1,
        "unpaired": 0, "paired": 0,
    }  # fmt: skip
    assert (row["next_offset"], row["max_event_ms"]) == (7, NOW_MS)
    metric = {
        outcome: bench.telemetry.registry.get_sample_value(
            "driftline_events_total", {"topic": "flights", "outcome": outcome}
        )
        for outcome in ("counted", "late", "future", "dead_letter", "duplicate")
    }
    assert metric == {"counted": 3, "late": 1, "future": 1, "dead_letter": 1, "duplicate": 1}
    assert (
        bench.telemetry.registry.get_sample_value(
            "driftline_consumer_lag_events", {"topic": "flights", "partition": "0"}
        )
        == 0
    )
    assert bench.announced == [{"m": NOW_MS}]


def test_a_dead_letter_holds_everything_that_came(bench: Bench) -> None:
    bench.send(b"\x00junk" * 300_000, stamp_ms=NOW_MS - 5)
    bench.send(timestamp=NOW_MS + 86_400_000)
    bench.take()
    with reading(bench.engine) as connection:
        junk, future = connection.execute(select(dead_letter).order_by(dead_letter.c.offset)).all()
    assert (junk.kind, junk.offset, junk.key, junk.timestamp_ms) == ("undecodable", 0, b"\x00k", NOW_MS - 5)
    assert junk.value == (b"\x00junk" * 300_000)[:1_048_576]
    assert junk.value_bytes == 1_500_000
    assert json.loads(junk.headers) == [["trace", base64.b64encode(b"\xff").decode()], ["none", None]]
    assert (future.kind, future.reason) == (
        "future", f"timestamp {NOW_MS + 86_400_000} ms is later than the clock allows"
    )  # fmt: skip


def test_names_that_a_database_cannot_keep_stop_nothing(bench: Bench) -> None:
    bench.send(model="a\0b")
    bench.send(version="1\0")
    bench.send(version=10**300)
    bench.send(role="boss\0")
    bench.send(timestamp="\0")
    bench.send(features={"a\0": 1, '"\\\n': 2, "x" * 600: 3, "t\0": "v\0", "s": "v\0"}, tags={"\0": "\0"})
    row = bench.take()
    assert (row["fetched"], row["dead_lettered"], row["counted"]) == (6, 5, 1)
    with reading(bench.engine) as connection:
        names = {r.name for r in connection.execute(select(model_column))}
    assert names == {'"\\\n', "s", "prediction"}


def test_thousands_of_models_with_one_event_each(bench: Bench) -> None:
    for number in range(3_000):
        bench.send(model=f"m{number}")
    row = bench.take()
    assert row["counted"] == 3_000
    assert bench.count(slice_profile) == bench.count(model_version) == bench.count(partition_model) == 3_000
    assert bench.announced == [{f"m{number}": NOW_MS for number in range(3_000)}]


def test_two_thousand_columns_in_one_event(bench: Bench) -> None:
    for _ in range(3):
        bench.send(features={f"k{i}": i for i in range(2_000)})
    assert bench.take()["counted"] == 3
    assert bench.count(model_column) == 501  # with the prediction


def test_large_messages_are_committed_before_they_fill_the_memory(engine: Engine) -> None:
    bench = Bench(engine, memory_mib=64, batch=8)
    bench.ingest.begin()
    try:
        for _ in range(80):
            bench.send(features={"text": "x" * 1_000_000})
        bench.ingest.step()
        assert bench.count(slice_profile) == 0
        for _ in range(8):
            bench.ingest.step()
        with reading(engine) as connection:
            [row] = positions.accounting(connection)
        assert row["counted"] == 72  # 64 MiB were reached; neither time nor the number of events
    finally:
        bench.ingest.abandon()


def test_a_commit_happens_after_so_many_events_or_so_much_time(engine: Engine) -> None:
    bench = Bench(engine, commit_events=5)
    bench.ingest.begin()
    try:
        for _ in range(5):
            bench.send()
        bench.ingest.step()
        with reading(engine) as connection:
            assert positions.accounting(connection)[0]["counted"] == 5
        bench.send()
        bench.ingest.step()
        with reading(engine) as connection:
            assert positions.accounting(connection)[0]["counted"] == 5
        bench.clock.advance(5_000)
        bench.ingest.step()
        with reading(engine) as connection:
            assert positions.accounting(connection)[0]["counted"] == 6
    finally:
        bench.ingest.abandon()


def test_a_failing_worker_ends_the_loop_and_the_next_process_counts_everything(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    bench = Bench(engine)
    for _ in range(10):
        bench.send()

    def fail(*_: object) -> None:
        bench.clock.advance(6_000)
        raise MemoryError

    monkeypatch.setattr(FeatureDecoder, "decode", fail)
    with pytest.raises(MemoryError):
        bench.ingest.run(threading.Event())
    assert set(threading.enumerate()) <= before
    monkeypatch.undo()
    bench.ingest = bench.build()
    bench.ingest.begin()
    assert bench.take()["counted"] == 10
    bench.ingest.leave()


def test_events_whose_features_only_a_worker_finds_unreadable(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FeatureDecoder.decode

    def picky(self: FeatureDecoder, raws: Any) -> Any:
        bad = [i for i, raw in enumerate(raws) if b"666" in bytes(raw)]
        features, rows, _ = real(self, [raw for i, raw in enumerate(raws) if i not in bad])
        assert len(rows) == len(raws) - len(bad)
        kept = np.array([i for i in range(len(raws)) if i not in bad], np.int64)
        return features, kept, [(i, "features: beast") for i in bad]

    monkeypatch.setattr(FeatureDecoder, "decode", picky)
    bench.send()
    bench.send(features={"x": 666})
    bench.send(event_id="last")
    row = bench.take()
    assert (row["fetched"], row["counted"], row["dead_lettered"]) == (3, 2, 1)
    with reading(bench.engine) as connection:
        [letter] = connection.execute(select(dead_letter)).all()
    assert (letter.offset, letter.reason) == (1, "features: beast")


def test_an_id_is_forgotten_in_the_database_after_the_window(bench: Bench) -> None:
    for minute in range(30):
        bench.clock.advance(60_000)
        bench.send(event_id=f"m{minute}", stamp_ms=bench.clock.now_ms())
        bench.take()
    assert bench.count(dedupe) == 11
    bench.send(event_id="m20", stamp_ms=bench.clock.now_ms())
    assert bench.take()["duplicates"] == 1
    bench.send(event_id="m3", stamp_ms=bench.clock.now_ms())
    assert bench.take()["duplicates"] == 1


def test_a_record_from_the_future_does_not_make_the_window_leap(bench: Bench) -> None:
    bench.send(event_id="one")
    bench.send(event_id="leap", stamp_ms=NOW_MS + 10**10)
    bench.send(event_id="one")
    assert bench.take()["duplicates"] == 1


def test_the_loop_runs_until_told_to_stop_and_leaves_everything_committed(tmp_path: Path) -> None:
    engine = databases.create(f"sqlite:///{tmp_path / 'x.db'}")
    upgrade(engine)
    positions.ensure_counters(engine)
    bench = Bench(engine, SystemClock())  # type: ignore[arg-type]
    stop = threading.Event()
    thread = threading.Thread(target=bench.ingest.run, args=(stop,))
    thread.start()
    for _ in range(100):
        bench.send()
    wait_for(lambda: bench.source.fetched == 100, what="not fetched")
    stop.set()
    thread.join(240)
    assert not thread.is_alive()
    with reading(engine) as connection:
        [row] = positions.accounting(connection)
    assert (row["counted"], row["next_offset"]) == (100, 100)
    assert bench.broker.shown("driftline") == {PLACE: 100}
    assert bench.telemetry.registry.get_sample_value(
        "driftline_consumer_lag_events", {"topic": "flights", "partition": "0"}
    ) is None  # fmt: skip
    engine.dispose()
