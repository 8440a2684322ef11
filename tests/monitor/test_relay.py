"""Dead letters that are sent on to a topic of Kafka."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from sqlalchemy import Engine, select

from monitor.clock import SystemClock
from monitor.config import Configuration
from monitor.dead_letters import relay
from monitor.dead_letters.relay import Relayer
from monitor.demo.broker import EmbeddedBroker
from monitor.store import engine as databases
from monitor.store.engine import immediate, reading
from monitor.store.schema import upgrade
from monitor.store.tables import dead_letter
from schemas.errors import ConfigurationError, Unavailable
from tests.kit.waiting import wait_for

TOPIC = "driftline.dead-letters"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An empty, migrated database."""
    made = databases.create(database_url, patience_s=5)
    upgrade(made)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    """A broker."""
    with EmbeddedBroker() as made:
        yield made


def keep(engine: Engine, offset: int, value: bytes = b"junk", **more: Any) -> None:
    """Store a letter."""
    row = {
        "topic": "pp", "partition": 3, "offset": offset, "kind": "undecodable", "reason": "is no JSON",
        "key": b"\x00k", "value": value, "value_bytes": len(value), "timestamp_ms": 1, "stored_at_ms": 2,
        "headers": '[["trace", "/w=="], ["none", null]]',
    }  # fmt: skip
    with immediate(engine) as connection:
        connection.execute(dead_letter.insert().values(row | more))


def relayed(engine: Engine) -> list[bool]:
    """Whether each letter was sent."""
    query = select(dead_letter.c.relayed_at_ms).order_by(dead_letter.c.offset)
    with reading(engine) as connection:
        return [at is not None for at in connection.execute(query).scalars()]


def producer(address: str, **options: Any) -> Producer:
    """A producer as a relayer has it."""
    return Producer({"bootstrap.servers": address, **relay.OPTIONS, "log_level": 2, **options})


def received(address: str, topic: str, number: int) -> list[Any]:
    """Messages of a topic, in the order of the offsets of the letters that they are."""
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": f"g-{topic}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found: list[Any] = []

    def has_come() -> bool:
        found.extend(m for m in consumer.consume(100, 0.2) if m.error() is None)
        return len(found) >= number

    try:
        wait_for(has_come, what="messages have not come")
    finally:
        consumer.close()
    return sorted(found, key=lambda m: int(dict(m.headers())["__connect.errors.offset"]))


def test_letters_are_sent_with_the_headers_of_kafka_connect(engine: Engine, broker: EmbeddedBroker) -> None:
    topic = f"{TOPIC}.{engine.dialect.name}"
    keep(engine, 5)
    keep(engine, 6, b"", key=None, kind="future", reason="später")
    keep(engine, 7, b"xyz", value_bytes=4_000_000)
    relayer = Relayer(engine, lambda: producer(broker.address), topic, SystemClock())
    sender = producer(broker.address)
    assert relayer.relay(sender) == 3
    assert relayer.relay(sender) == 0
    assert relayed(engine) == [True] * 3
    first, second, third = received(broker.address, topic, 3)
    assert (first.key(), first.value()) == (b"\x00k", b"junk")
    assert first.headers() == [
        ("trace", b"\xff"),
        ("none", None),
        ("__connect.errors.topic", b"pp"),
        ("__connect.errors.partition", b"3"),
        ("__connect.errors.offset", b"5"),
        ("__connect.errors.connector.name", b"driftline"),
        ("__connect.errors.stage", b"VALUE_CONVERTER"),
        ("__connect.errors.exception.class.name", b"schemas.errors.EventError"),
        ("__connect.errors.exception.message", b"is no JSON"),
    ]
    headers = dict(second.headers())
    assert (second.key(), second.value() or b"", headers["__connect.errors.stage"]) == (
        None, b"", b"TRANSFORMATION"
    )  # fmt: skip
    assert headers["__connect.errors.exception.message"].decode() == "später"
    assert dict(third.headers())["driftline.value.bytes"] == b"4000000"


def test_a_broker_that_is_away_is_waited_for(engine: Engine, broker: EmbeddedBroker) -> None:
    topic = f"{TOPIC}.away.{engine.dialect.name}"
    keep(engine, 1)
    relayer = Relayer(engine, lambda: producer(broker.address), topic, SystemClock())
    away = producer("127.0.0.1:1", **{"message.timeout.ms": 300, "log_level": 0})
    with pytest.raises(Unavailable, match=re.escape(f"the brokers take no dead letters for {topic}")):
        relayer.relay(away)
    assert relayed(engine) == [False]
    stop = threading.Event()
    thread = threading.Thread(target=relayer.run, args=(stop,))
    thread.start()
    try:
        wait_for(lambda: relayed(engine) == [True], what="the letter was not sent")
    finally:
        stop.set()
        relayer.wake()
        thread.join(60)
    assert not thread.is_alive()
    assert received(broker.address, topic, 1)[0].value() == b"junk"


class Picky:
    """Stands in for a producer whose brokers refuse some messages."""

    def __init__(self, most_bytes: int = 10_000, refused: bytes = b"") -> None:
        self.most_bytes, self.refused = most_bytes, refused
        self.taken: list[bytes] = []
        self.waiting: list[Any] = []

    def produce(self, _topic: str, value: bytes, on_delivery: Any, **_more: Any) -> None:
        """Take a message."""
        error = None
        if len(value) > self.most_bytes:
            error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
        elif self.refused and self.refused in value:
            error = KafkaError(KafkaError.INVALID_RECORD)
        else:
            self.taken.append(value)
        self.waiting.append((on_delivery, error))

    def poll(self, _timeout_s: float) -> None:
        """Tell what became of one."""
        on_delivery, error = self.waiting.pop(0)
        on_delivery(error, None)


def test_a_letter_that_is_too_large_is_shortened(engine: Engine) -> None:
    keep(engine, 1, b"x" * 20_000)
    keep(engine, 2)
    picky: Any = Picky()
    assert Relayer(engine, lambda: picky, TOPIC, SystemClock()).relay(picky) == 2
    assert sorted(map(len, picky.taken)) == [4, 1_024]
    assert relayed(engine) == [True, True]


def test_a_letter_that_is_refused_keeps_no_other_from_being_sent(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MOST_LETTERS", 2)
    for offset in range(5):
        keep(engine, offset, b"bad" if offset == 1 else b"good")
    picky: Any = Picky(refused=b"bad")
    relayer = Relayer(engine, lambda: picky, TOPIC, SystemClock())
    assert relayer.relay(picky) == 4
    assert relayed(engine) == [True, False, True, True, True]
    with pytest.raises(Unavailable):
        relayer.relay(picky)
    picky.refused = b""
    assert relayer.relay(picky) == 1
    assert picky.taken == [b"good"] * 4 + [b"bad"]


def configuration(**dead_letters: Any) -> Configuration:
    """A configuration with a topic for dead letters."""
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "x"},
            "database_url": "sqlite:///d.db",
            "streams": [{"topic": "pp", "kind": "predictions"}],
            "dead_letters": dead_letters,
        }
    )


def test_the_topic_is_used_for_nothing_else() -> None:
    assert configuration(topic=TOPIC).dead_letters is not None
    with pytest.raises((ConfigurationError, ValueError), match="also one of the streams"):
        configuration(topic="pp")
    with pytest.raises((ConfigurationError, ValueError), match="one of the topics that Driftline writes"):
        configuration(topic="driftline.alerts")
