"""While the schema registry is away, messages that need it wait: none is lost, counted twice or buried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, select

from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.ingest import Ingest
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.store import engine as databases
from monitor.store import positions
from monitor.store.engine import reading
from monitor.store.schema import upgrade
from monitor.store.tables import dead_letter, slice_profile
from monitor.telemetry import Telemetry
from tests.monitor.registry_world import FakeRegistry, avro, by_id, fake_registry

NOW_MS = 1_767_225_600_000
KINDS = {"pp": "predictions", "ll": "labels", "plain": "predictions"}
PREDICTION = {
    "type": "record",
    "name": "P",
    "fields": [{"name": "event_id", "type": "string"}, {"name": "prediction", "type": "int"}],
}
LABEL = {
    "type": "record",
    "name": "L",
    "fields": [{"name": "event_id", "type": "string"}, {"name": "label", "type": "int"}],
}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = databases.create(database_url, patience_s=5)
    upgrade(made)
    positions.ensure_counters(made)
    yield made
    made.dispose()


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as made:
        made.add_avro(1, PREDICTION)
        made.add_avro(2, LABEL)
        yield made


class Bench:
    """One process; predictions and labels need the registry, a topic in plain JSON does not."""

    def __init__(self, engine: Engine, registry: FakeRegistry) -> None:
        self.engine, self.registry = engine, registry
        self.broker, self.sent = MemoryBroker(), 0
        for topic in KINDS:
            self.broker.create_topic(topic, partitions=2)
        self.clock = ManualClock(NOW_MS)
        self.begin()

    def begin(self) -> None:
        """Start a process, which knows no schema yet."""
        self.configuration = Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "memory"},
                "database_url": "sqlite:///unused.db",
                "registry": {"url": self.registry.url, "timeout": "1s"},
                "streams": [
                    {"topic": topic, "kind": kind, "model": "m", "version": "7"}
                    | {"format": "json" if topic == "plain" else "auto"}
                    for topic, kind in KINDS.items()
                ],
            }
        )
        source = MemorySource(self.broker, self.clock)
        self.ingest = Ingest(self.configuration, self.engine, source, self.clock, Telemetry())
        self.ingest.begin()

    def send(self, topic: str, partition: int = 0, id_: str | None = None) -> None:
        """Append an event."""
        self.sent += 1
        id_ = id_ or f"e{self.sent}"
        if topic == "plain":
            value = f'{{"event_id": "{id_}", "model": "m", "timestamp": {NOW_MS}, "prediction": 1}}'.encode()
        elif topic == "ll":
            value = by_id(2, avro(LABEL, {"event_id": id_, "label": 1}))
        else:
            value = by_id(1, avro(PREDICTION, {"event_id": id_, "prediction": 1}))
        self.broker.append(topic, partition, value, timestamp_ms=NOW_MS)

    def step(self, times: int = 1) -> None:
        """Let the loop go on, with time enough to try again."""
        for _ in range(times):
            self.clock.advance(1_100)
            self.ingest.step()

    def accounting(self) -> dict[str, dict[str, int]]:
        """Numbers of events by topic, over its partitions, as committed."""
        self.ingest.commit()
        found: dict[str, dict[str, int]] = {}
        with reading(self.engine) as connection:
            for row in positions.accounting(connection):
                numbers = found.setdefault(row["topic"], {})
                for name in ("fetched", *positions.OUTCOMES, "next_offset"):
                    numbers[name] = numbers.get(name, 0) + row[name]
        return found

    def rows(self, table: Any) -> list[Any]:
        """All rows of a table."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(table)))


@pytest.fixture
def bench(engine: Engine, registry: FakeRegistry) -> Iterator[Bench]:
    made = Bench(engine, registry)
    yield made
    made.ingest.abandon()


def numbers(found: dict[str, int]) -> tuple[int, int, int, int]:
    """What matters here."""
    return found["fetched"], found["counted"], found["dead_lettered"], found["next_offset"]


def test_messages_wait_and_other_streams_go_on(bench: Bench, registry: FakeRegistry) -> None:
    registry.status = 503
    for partition in (0, 1):
        bench.send("pp", partition)
        bench.send("ll", partition, "e1")
        bench.send("plain", partition)
    bench.step(3)
    bench.send("plain")
    bench.send("pp")
    bench.step(3)
    found = bench.accounting()
    assert numbers(found["pp"]) == numbers(found["ll"]) == (0, 0, 0, 0)
    assert numbers(found["plain"]) == (3, 3, 0, 3)
    registry.status = 200
    bench.step(2)
    found = bench.accounting()
    assert numbers(found["pp"]) == (3, 3, 0, 3)
    assert numbers(found["ll"])[::3] == (2, 2)
    assert numbers(found["plain"]) == (3, 3, 0, 3)
    assert bench.rows(dead_letter) == []
    assert sum(row.rows for row in bench.rows(slice_profile)) == 6


def test_it_is_asked_again_after_a_while_and_not_all_the_time(bench: Bench, registry: FakeRegistry) -> None:
    registry.status = 503
    bench.send("pp")
    bench.ingest.step()
    asked = len(registry.asked)
    for _ in range(5):
        bench.ingest.step()  # each takes a tenth of a second
    assert len(registry.asked) == asked == 1
    bench.step()
    assert len(registry.asked) == 2


def test_schemas_that_are_known_are_enough(bench: Bench, registry: FakeRegistry) -> None:
    bench.send("pp")
    bench.step()
    registry.status = 503
    bench.send("pp")
    bench.step()
    assert numbers(bench.accounting()["pp"]) == (2, 2, 0, 2)


def test_the_end_of_a_partition_is_not_reached_while_messages_wait(
    bench: Bench, registry: FakeRegistry
) -> None:
    """Otherwise windows would be judged without them."""
    registry.status = 503
    bench.send("pp")
    bench.step(3)
    waiting = {place: one.reached_end for place, one in bench.ingest._owned.items() if place.topic == "pp"}
    assert sorted((place.partition, reached) for place, reached in waiting.items()) == [(0, False), (1, True)]
    registry.status = 200
    bench.step(2)
    assert all(one.reached_end for one in bench.ingest._owned.values())


def test_a_process_that_stops_meanwhile_leaves_them_to_the_next(bench: Bench, registry: FakeRegistry) -> None:
    bench.send("pp")
    bench.step()
    registry.status = 503
    bench.ingest.leave()
    bench.begin()
    bench.send("pp")
    bench.step(2)
    assert numbers(bench.accounting()["pp"]) == (1, 1, 0, 1)
    bench.ingest.leave()
    registry.status = 200
    bench.begin()
    bench.step(2)
    assert numbers(bench.accounting()["pp"]) == (2, 2, 0, 2)


def test_partitions_that_move_meanwhile(bench: Bench, registry: FakeRegistry) -> None:
    registry.status = 503
    for partition in (0, 1):
        bench.send("pp", partition)
    bench.step(2)
    other = MemorySource(bench.broker, bench.clock)
    second = Ingest(bench.configuration, bench.engine, other, bench.clock, Telemetry())
    second.begin()
    for _ in range(3):
        bench.step()
        second.step()
    assert second._owned
    registry.status = 200
    for _ in range(3):
        bench.step()
        second.step()
    second.commit()
    assert numbers(bench.accounting()["pp"]) == (2, 2, 0, 2)
    second.leave()
    bench.send("pp", 0)
    bench.send("pp", 1)
    bench.step(4)
    assert numbers(bench.accounting()["pp"]) == (4, 4, 0, 4)


def test_an_unknown_schema_is_a_dead_letter_that_says_so(bench: Bench, registry: FakeRegistry) -> None:
    bench.broker.append("pp", 0, by_id(77, b"\x02a\x02"), timestamp_ms=NOW_MS)
    bench.send("pp")
    bench.step(2)
    assert numbers(bench.accounting()["pp"]) == (2, 1, 1, 2)
    [letter] = bench.rows(dead_letter)
    assert (letter.offset, letter.reason) == (0, "registry: the schema registry knows no schema 77")
    assert registry.asked.count("/schemas/ids/77") == 1
