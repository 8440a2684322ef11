"""What every source of messages promises, over memory and over a real Kafka."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]
from confluent_kafka.cimpl import TopicPartition

from monitor.clock import ManualClock
from monitor.source.kafka import KafkaSource
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.source.source import Fetched, Source
from monitor.store.positions import Place
from schemas.errors import Unavailable
from tests.kit.kafka import KafkaCluster
from tests.kit.waiting import wait_for

NUMBERS = itertools.count()
STAMP_MS = time.time_ns() // 1_000_000 - 60_000  # Kafka deletes what is older than its retention


class Bench(Protocol):
    """A broker that tests can write to."""

    def topic(self, partitions: int = 1) -> str: ...
    def produce(self, topic: str, values: list[bytes | None], partition: int = 0) -> None: ...
    def source(self, group: str = "one") -> Source: ...
    def trim(self, place: Place, before: int) -> None: ...
    def recreate(self, topic: str) -> None: ...
    def add_partition(self, topic: str) -> None: ...


class MemoryBench:
    """Everything in this process."""

    def __init__(self) -> None:
        self.broker, self.clock = MemoryBroker(), ManualClock()

    def topic(self, partitions: int = 1) -> str:
        name = f"topic-{next(NUMBERS)}"
        self.broker.create_topic(name, partitions)
        return name

    def produce(self, topic: str, values: list[bytes | None], partition: int = 0) -> None:
        for value in values:
            self.broker.append(
                topic, partition, value, timestamp_ms=STAMP_MS, key=b"key", headers=(("h", b"1"), ("n", None))
            )

    def source(self, group: str = "one") -> Source:
        return MemorySource(self.broker, self.clock, group)

    def trim(self, place: Place, before: int) -> None:
        self.broker.trim(place, before)

    def recreate(self, topic: str) -> None:
        self.broker.recreate_topic(topic)

    def add_partition(self, topic: str) -> None:
        self.broker.add_partitions(topic, 1)


class KafkaBench:
    """A real broker."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._cluster = cluster
        self._run = next(NUMBERS)
        self._producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 0, "log_level": 0})

    def topic(self, partitions: int = 1) -> str:
        return self._cluster.create_topic(f"sources-{self._run}-{next(NUMBERS)}", partitions)

    def produce(self, topic: str, values: list[bytes | None], partition: int = 0) -> None:
        for value in values:
            headers: list[tuple[str, bytes | None]] = [("h", b"1"), ("n", None)]
            self._producer.produce(
                topic,
                value,
                b"key",
                partition,
                timestamp=STAMP_MS,
                headers=headers,  # type: ignore[arg-type]
            )
        assert self._producer.flush(240) == 0

    def source(self, group: str = "one") -> Source:
        options = {"topic.metadata.refresh.interval.ms": 500}
        return KafkaSource(self._cluster.bootstrap, f"sources-{self._run}-{group}", options)

    def trim(self, place: Place, before: int) -> None:
        [future] = self._cluster.admin.delete_records(
            [TopicPartition(place.topic, place.partition, before)]
        ).values()
        future.result(240)

    def recreate(self, topic: str) -> None:
        self._cluster.delete_topic(topic)
        self._cluster.create_topic(topic)

    def add_partition(self, topic: str) -> None:
        found = len(self._cluster.admin.list_topics(topic, timeout=60).topics[topic].partitions)
        self._cluster.admin.create_partitions([NewPartitions(topic, found + 1)])[topic].result(240)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.acceptance)])
def bench(request: pytest.FixtureRequest) -> Bench:
    """One broker after the other."""
    return MemoryBench() if request.param == "memory" else KafkaBench(request.getfixturevalue("kafka"))


@dataclass
class Reader:
    """A listener that begins where it is told, and remembers everything."""

    source: Source
    starts: dict[Place, int | None] = field(default_factory=dict)
    owned: set[Place] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    values: dict[Place, list[bytes]] = field(default_factory=dict)
    next_offset: dict[Place, int] = field(default_factory=dict)
    ended: list[Place] = field(default_factory=list)
    problems: list[tuple[Place, str]] = field(default_factory=list)
    on_assign: Callable[[], None] = lambda: None

    def assigned(self, places: list[Place]) -> dict[Place, int | None]:
        self.on_assign()
        self.log.append(f"assigned {len(places)}")
        self.owned |= set(places)
        found = {}
        for place in places:
            start = self.starts.get(place, self.next_offset.get(place, 0))
            found[place] = start
            self.next_offset[place] = start or 0
        return found

    def revoked(self, places: list[Place]) -> None:
        self.log.append(f"revoked {len(places)}")
        self.owned -= set(places)

    def lost(self, places: list[Place]) -> None:
        self.log.append(f"lost {len(places)}")
        self.owned -= set(places)

    def unreadable(self, place: Place, reason: str) -> None:
        self.problems.append((place, reason))

    def read(self, limit: int = 100) -> Fetched:
        """Fetch once; within a partition offsets must go on from one to the next."""
        fetched = self.source.fetch(limit, 0.1)
        assert len(fetched) <= limit
        assert len(fetched.offset) == len(fetched.timestamp_ms) == len(fetched.place) == len(fetched.raw)
        for i, value in enumerate(fetched.values):
            place = fetched.places[int(fetched.place[i])]
            if place not in self.owned:
                continue
            assert fetched.offset[i] == self.next_offset[place], "a message was left out or came twice"
            self.next_offset[place] += 1
            self.values.setdefault(place, []).append(value)
        self.ended += fetched.ended
        return fetched

    def read_until(self, condition: Callable[[], object]) -> None:
        """Fetch until something is so."""

        def done() -> bool:
            self.read()
            return bool(condition())

        wait_for(done, what="messages did not come", every_s=0)


def values(*numbers: int) -> list[bytes | None]:
    """Return messages with these numbers."""
    return [b"%d" % number for number in numbers]


@pytest.fixture
def reading(bench: Bench) -> Iterator[Callable[..., Reader]]:
    """Make readers that are closed after the test."""
    made: list[Reader] = []

    def make(*topics: str, group: str = "one", **more: object) -> Reader:
        reader = Reader(bench.source(group), **more)  # type: ignore[arg-type]
        made.append(reader)
        reader.source.subscribe(topics, reader)
        return reader

    yield make
    for reader in made:
        reader.source.close()


Readers = Callable[..., Reader]


def test_messages_come_whole_and_in_order_and_the_end_is_told(bench: Bench, reading: Readers) -> None:
    topic = bench.topic()
    place = Place(topic, 0)
    bench.produce(topic, [b"a", None, b"c"])
    reader = reading(topic)
    found: list[Fetched] = []

    def got_all() -> bool:
        found.append(reader.read())
        return place in reader.ended

    wait_for(got_all, what="no end", every_s=0)
    assert reader.values == {place: [b"a", b"", b"c"]}
    [one] = (
        [f for f in found if len(f)]
        if sum(1 for f in found if len(f)) == 1
        else [next(f for f in found if len(f))]
    )
    assert set(one.timestamp_ms.tolist()) == {STAMP_MS}
    assert reader.source.key_of(one.raw[0]) == b"key"
    assert reader.source.headers_of(one.raw[0]) == [("h", b"1"), ("n", None)]
    assert reader.source.range_of(place) == (0, 3)
    assert reader.source.lag(place, 1) == 2
    bench.produce(topic, values(4))
    before = len(reader.ended)
    reader.read_until(lambda: len(reader.ended) > before)
    assert reader.values[place][-1] == b"4"


def test_several_topics_and_partitions(bench: Bench, reading: Readers) -> None:
    one, two = bench.topic(2), bench.topic(1)
    for partition in (0, 1):
        bench.produce(one, values(*range(50)), partition)
    bench.produce(two, values(*range(30)))
    reader = reading(one, two)
    reader.read_until(lambda: sum(map(len, reader.values.values())) == 130)
    assert reader.values == {
        Place(one, 0): values(*range(50)),
        Place(one, 1): values(*range(50)),
        Place(two, 0): values(*range(30)),
    }


def test_reading_begins_where_the_listener_says(bench: Bench, reading: Readers) -> None:
    topic = bench.topic(2)
    for partition in (0, 1):
        bench.produce(topic, values(*range(10)), partition)
    reader = reading(topic, starts={Place(topic, 0): 7, Place(topic, 1): None})
    reader.read_until(lambda: Place(topic, 0) in reader.ended)
    for _ in range(5):
        reader.read()
    assert reader.values == {Place(topic, 0): values(7, 8, 9)}


def test_seeking_right_after_an_assignment(bench: Bench, reading: Readers) -> None:
    """As happens when partitions come while everything else has to be read again."""
    topic = bench.topic()
    place = Place(topic, 0)
    bench.produce(topic, values(*range(10)))
    reader = reading(topic, starts={place: 5})
    wait_for(lambda: [reader.source.fetch(1, 0.1), reader.owned][1], what="no partition", every_s=0)
    reader.next_offset[place] = 2
    reader.source.seek(place, 2)
    reader.read_until(lambda: place in reader.ended)
    assert reader.values == {place: values(*range(2, 10))}


def test_the_end_is_told_again_after_a_seek(bench: Bench, reading: Readers) -> None:
    topic = bench.topic()
    place = Place(topic, 0)
    bench.produce(topic, values(1, 2, 3))
    reader = reading(topic)
    reader.read_until(lambda: reader.ended)
    reader.next_offset[place] = 1
    reader.source.seek(place, 1)
    reader.ended.clear()
    reader.read_until(lambda: reader.ended)
    assert reader.values == {place: values(1, 2, 3, 2, 3)}


@pytest.mark.parametrize("pauses_first", [True, False])
def test_nothing_is_left_out_by_waiting(bench: Bench, reading: Readers, pauses_first: bool) -> None:
    """Pausing again and again while time passes, as a commit does that waits for the database."""
    topic = bench.topic()
    place = Place(topic, 0)
    bench.produce(topic, values(*range(20)))
    reader = reading(topic)
    reader.read_until(lambda: len(reader.values.get(place, [])) == 20)
    bench.produce(topic, values(*range(20, 40)))
    for turn in range(4):
        if turn or pauses_first:
            reader.source.pause([place])
        reader.source.keep_alive(0.3)
        bench.produce(topic, values(40 + turn))
    reader.source.unpause([place])
    reader.read_until(lambda: len(reader.values[place]) == 44)
    assert reader.values[place] == values(*range(44))


def test_the_end_is_told_even_if_it_was_reached_while_waiting(bench: Bench, reading: Readers) -> None:
    topic = bench.topic()
    place = Place(topic, 0)
    bench.produce(topic, values(1))
    reader = reading(topic)
    wait_for(lambda: [reader.read(1), reader.values.get(place)][1], what="no message", every_s=0)
    reader.source.keep_alive(0.5)
    reader.source.keep_alive(0.5)
    reader.read_until(lambda: place in reader.ended)
    assert reader.values == {place: values(1)}


def test_what_was_taken_while_waiting_is_not_handed_out_after_a_seek(bench: Bench, reading: Readers) -> None:
    topic = bench.topic()
    place = Place(topic, 0)
    bench.produce(topic, values(*range(10)))
    reader = reading(topic)
    reader.read_until(lambda: len(reader.values.get(place, [])) == 10)
    bench.produce(topic, values(10))
    reader.source.keep_alive(0.5)
    reader.next_offset[place] = 3
    reader.source.seek(place, 3)
    reader.read_until(lambda: len(reader.values[place]) == 18)
    assert reader.values[place][10:] == values(*range(3, 11))


@pytest.mark.parametrize("start", ["too old", "too new"])
def test_a_position_that_is_not_there_is_told_and_nothing_is_read(
    bench: Bench, reading: Readers, start: str
) -> None:
    topic = bench.topic()
    place = Place(topic, 0)
    bench.produce(topic, values(*range(10)))
    bench.trim(place, 5)
    reader = reading(topic, starts={place: 2 if start == "too old" else 11})
    reader.read_until(lambda: reader.problems)
    for _ in range(3):
        reader.read()
    assert reader.source.range_of(place) == (5, 10)
    assert [where for where, _ in reader.problems] == [place]
    assert reader.values == {}
    reader.next_offset[place] = 6
    reader.source.seek(place, 6)
    reader.read_until(lambda: reader.ended)
    assert reader.values == {place: values(6, 7, 8, 9)}


def test_a_topic_that_is_created_again_has_another_identity(bench: Bench, reading: Readers) -> None:
    topic = bench.topic()
    reader = reading(topic)
    before = reader.source.topic_id(topic)
    assert before
    assert reader.source.topic_id(topic) == before
    bench.recreate(topic)
    assert reader.source.topic_id(topic) not in ("", before)


def test_questions_about_a_topic_that_is_not_there(bench: Bench) -> None:
    source = bench.source()
    try:
        with pytest.raises(Unavailable):
            source.topic_id("nowhere")
        with pytest.raises(Unavailable):
            source.range_of(Place("nowhere", 0))
    finally:
        source.close()


def test_two_members_share_partitions_and_read_every_message_once(bench: Bench, reading: Readers) -> None:
    topic = bench.topic(4)
    first = reading(topic)
    first.read_until(lambda: len(first.owned) == 4)
    for partition in range(4):
        bench.produce(topic, values(*range(10)), partition)
    first.read_until(lambda: sum(map(len, first.values.values())) == 40)
    second = reading(topic)
    second.next_offset = first.next_offset  # what the database is for

    def both() -> bool:
        first.read()
        second.read()
        return len(first.owned) == len(second.owned) == 2

    wait_for(both, what="partitions were not shared", every_s=0)
    assert "revoked 2" in first.log
    assert not any(entry.startswith("lost") for entry in first.log)
    assert not first.owned & second.owned
    for partition in range(4):
        bench.produce(topic, values(*range(10, 20)), partition)

    def all_read() -> bool:
        first.read()
        second.read()
        return sum(len(v) for r in (first, second) for v in r.values.values()) == 80

    wait_for(all_read, what="messages did not come", every_s=0)
    for partition in range(4):
        place = Place(topic, partition)
        assert first.values.get(place, []) + second.values.get(place, []) == values(*range(20))


def test_new_partitions_are_found_and_read_from_their_first_message(bench: Bench, reading: Readers) -> None:
    topic = bench.topic()
    reader = reading(topic)
    reader.read_until(lambda: len(reader.owned) == 1)
    bench.add_partition(topic)
    reader.read_until(lambda: len(reader.owned) == 2)
    bench.produce(topic, values(1, 2), partition=1)
    reader.read_until(lambda: len(reader.values.get(Place(topic, 1), [])) == 2)


def test_a_failure_in_a_callback_is_raised_by_fetch(bench: Bench, reading: Readers) -> None:
    topic = bench.topic()
    bench.produce(topic, values(1))

    def fail() -> None:
        msg = "claimed by nobody"
        raise LookupError(msg)

    reader = reading(topic, on_assign=fail)

    def fetch_for_long() -> None:
        reader.read_until(lambda: False)

    with pytest.raises(LookupError, match="claimed by nobody"):
        fetch_for_long()
    reader.on_assign = lambda: None
    assert reader.values == {}


def test_closing_gives_partitions_back_and_positions_were_shown(bench: Bench) -> None:
    topic = bench.topic()
    place = Place(topic, 0)
    bench.produce(topic, values(1, 2))
    reader = Reader(bench.source())
    reader.source.subscribe([topic], reader)
    reader.read_until(lambda: reader.ended)
    reader.source.show_position({place: 2})
    reader.source.close()
    assert reader.log == ["assigned 1", "revoked 1"]
    assert reader.owned == set()
