"""The way into Kafka for events that come by HTTP: a message counts as sent once the brokers have it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from monitor.clock import Clock
from schemas.errors import Unavailable, UsageError

TIMEOUT_S = 10.0
_POLL_S = 0.05

OPTIONS: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 5,
    "message.timeout.ms": int(TIMEOUT_S * 1_000),
}
"""Options of the producer that a door needs."""


@dataclass(frozen=True)
class Sent:
    """One message to be sent.

    Parameters
    ----------
    key : str
        Messages of one key go to one partition.
    value : bytes
    headers : sequence of (str, bytes)
    """

    key: str
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


class Door:
    """Sends messages and waits until the brokers have them; safe to use from several threads.

    Parameters
    ----------
    producer : Producer
        With `OPTIONS`.
    clock : Clock
    failed : callable
        Told why brokers did not take a message.
    """

    def __init__(
        self, producer: Producer, clock: Clock, failed: Callable[[KafkaError], None] = lambda _error: None
    ) -> None:
        self._producer, self._clock, self._failed = producer, clock, failed

    def send(self, topic: str, messages: Sequence[Sent]) -> None:
        """Send messages to a topic.

        Raises
        ------
        UsageError
            If the brokers refuse one for its size.
        Unavailable
            If the brokers do not have all of them in time. Some of them may have arrived: whoever sends them
            again sends the same ids, by which they are told to be repetitions.
        """
        waiting = _Waiting(len(messages))
        for message in messages:
            try:
                self._producer.produce(
                    topic,
                    message.value,
                    key=message.key.encode(),
                    headers=list(message.headers),
                    on_delivery=waiting.delivered,
                )
            except BufferError as error:
                msg = f"too many messages wait for Kafka, {len(self._producer)} of them"
                raise Unavailable(msg) from error
            except KafkaException as error:
                self._failed(error.args[0])
                raise _refused(topic, error.args[0]) from error
        deadline = self._clock.monotonic() + 2 * TIMEOUT_S
        while not waiting.done.is_set():
            self._producer.poll(_POLL_S)
            if self._clock.monotonic() > deadline:
                msg = "Kafka does not answer"
                raise Unavailable(msg)
        if waiting.error is not None:
            self._failed(waiting.error)
            raise _refused(topic, waiting.error)

    def close(self) -> None:
        """Wait a little for messages under way."""
        self._producer.flush(1.0)


class _Waiting:
    """Messages of one request that the brokers have not confirmed; callbacks come from any thread."""

    def __init__(self, number: int) -> None:
        self._left, self._lock = number, threading.Lock()
        self.error: KafkaError | None = None
        self.done = threading.Event()
        if not number:
            self.done.set()

    def delivered(self, error: KafkaError | None, _message: Any) -> None:
        """Take in what became of one of them."""
        with self._lock:
            self._left -= 1
            self.error = self.error or error
            if not self._left:
                self.done.set()


def _refused(topic: str, error: KafkaError) -> Exception:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        msg = "a message is larger than the brokers take"
        return UsageError(msg)
    msg = f"Kafka has not taken the events for {topic}: {error.str()}"
    return Unavailable(msg)
