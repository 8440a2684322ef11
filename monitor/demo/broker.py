"""A Kafka broker inside the process: librdkafka's mock cluster, reached over the loopback like a real one.

It keeps at most 100,000 messages or 5 MiB of a partition and forgets the rest without a word, so whoever
writes to it has to wait for the readers; see `monitor.demo.replay`.
"""

from __future__ import annotations

import zlib
from collections import Counter
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import Unavailable

START_TIMEOUT_S = 60.0
FLUSH_TIMEOUT_S = 60.0


class EmbeddedBroker:
    """The broker, and the producer that the demo sends with.

    Raises
    ------
    Unavailable
        If it does not start.

    Notes
    -----
    A message's partition is chosen here, by its key, so that the number of messages of each partition is
    known without asking.
    """

    def __init__(self) -> None:
        self.sent: Counter[tuple[str, int]] = Counter()
        self._failure: KafkaError | None = None
        self._partitions: dict[str, int] = {}
        self._producer = Producer(
            {
                "bootstrap.servers": "127.0.0.1:1",  # replaced by the mock cluster's
                "test.mock.num.brokers": 1,
                "compression.type": "lz4",
                "linger.ms": 20,
                "delivery.report.only.error": True,
                "on_delivery": self._note,
                "log_level": 2,
            }
        )
        try:
            brokers = self._producer.list_topics(timeout=START_TIMEOUT_S).brokers.values()
        except KafkaException as error:
            msg = f"the embedded broker does not start: {error.args[0].str()}"
            raise Unavailable(msg) from error
        self.address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.purge()
        self._producer.flush(1.0)

    def create(self, *topics: str) -> None:
        """Create topics, by asking for them."""
        for topic in topics:
            found = self._producer.list_topics(topic, timeout=START_TIMEOUT_S).topics[topic]
            self._partitions[topic] = len(found.partitions)

    def partitions(self, topic: str) -> int:
        """Number of partitions of a topic."""
        return self._partitions[topic]

    def send(self, topic: str, key: str, value: bytes) -> None:
        """Hand a message over for sending.

        Raises
        ------
        Unavailable
            If a message that was handed over earlier could not be sent.
        """
        id_ = key.encode()
        partition = zlib.crc32(id_) % self._partitions[topic]
        while True:
            try:
                self._producer.produce(topic, value, id_, partition)
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self.sent[topic, partition] += 1

    def poll(self) -> None:
        """Let the client do its work.

        Raises
        ------
        Unavailable
            If a message could not be sent.
        """
        self._producer.poll(0)
        self._check()

    def flush(self) -> None:
        """Wait until everything is sent.

        Raises
        ------
        Unavailable
            If something could not be sent.
        """
        left = self._producer.flush(FLUSH_TIMEOUT_S)
        self._check()
        if left:
            msg = f"the embedded broker does not take {left} messages"
            raise Unavailable(msg)

    def _note(self, error: KafkaError | None, _message: Message) -> None:
        self._failure = self._failure or error

    def _check(self) -> None:
        if self._failure is not None:
            msg = f"the embedded broker refused a message: {self._failure.str()}"
            raise Unavailable(msg)
