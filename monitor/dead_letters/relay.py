"""Sends dead letters on to a topic, with the headers that Kafka Connect gives its own.

What has been sent is remembered in the letter's row once the brokers have it, so every letter arrives at
least once, however long they are away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from sqlalchemy import Connection, Engine, select, update

from monitor.clock import Clock
from monitor.dead_letters.letters import Headers, read_headers
from monitor.store.engine import immediate, reading
from monitor.store.tables import dead_letter
from schemas.errors import EventError, Unavailable

logger = logging.getLogger(__name__)

LOOK_S = 2.0
MOST_LETTERS = 100  # of one transaction
MOST_BYTES = 4 << 20
SHORTENED_BYTES = 1_024  # of what brokers refuse for its size
STAGES = {
    "undecodable": "VALUE_CONVERTER", "unpaired": "TRANSFORMATION", "future": "TRANSFORMATION",
    "contract": "TRANSFORMATION",
}  # fmt: skip
TIMEOUT_S = 10.0
OPTIONS: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 5,
    "message.max.bytes": 4 << 20,  # whether it is too much, the brokers decide
    "message.timeout.ms": int(TIMEOUT_S * 1_000),
}
"""Options of the producer that a relayer needs."""


class Relayer:
    """Looks for dead letters that were not sent on yet, and sends them.

    Parameters
    ----------
    engine : Engine
    connect : callable
        Makes a producer with `OPTIONS`.
    topic : str
        Where to send them.
    clock : Clock
    failed : callable
        Told why a letter did not arrive.
    """

    def __init__(
        self,
        engine: Engine,
        connect: Callable[[], Producer],
        topic: str,
        clock: Clock,
        failed: Callable[[KafkaError], None] = lambda _error: None,
    ) -> None:
        self._engine, self._connect, self._topic, self._clock = engine, connect, topic, clock
        self._failed = failed
        self._wake = threading.Event()

    def wake(self) -> None:
        """End a wait."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Send letters until told to stop.

        Raises
        ------
        Unavailable
            If the database is away or the brokers take nothing; to be run again a little later.
        """
        producer = self._connect()
        try:
            while not stop.is_set():
                self.relay(producer)
                self._wake.wait(LOOK_S)
        finally:
            producer.flush(1.0)

    def relay(self, producer: Producer) -> int:
        """Send everything that waits; returns how many letters arrived.

        Raises
        ------
        Unavailable
            If the database is away or the brokers take nothing.
        """
        arrived = last = 0
        while letters := self._waiting(last):
            sent = _Sending(producer, self._topic, self._clock, self._failed).send(letters)
            with immediate(self._engine) as connection:
                _note(connection, sent, self._clock.now_ms())
            arrived, last = arrived + len(sent), letters[-1].id
        return arrived

    def _waiting(self, after: int) -> list[Any]:
        c = dead_letter.c
        query = select(dead_letter).where(c.relayed_at_ms.is_(None), c.id > after).order_by(c.id)
        letters: list[Any] = []
        size = 0
        with reading(self._engine) as connection:
            for row in connection.execute(query.limit(MOST_LETTERS)):
                letters.append(row)
                size += len(row.value)
                if size > MOST_BYTES:
                    break
        return letters


def _note(connection: Connection, ids: Sequence[int], now_ms: int) -> None:
    c = dead_letter.c
    connection.execute(update(dead_letter).where(c.id.in_(list(ids))).values(relayed_at_ms=now_ms))


class _Sending:
    """One batch on its way to the brokers."""

    def __init__(
        self, producer: Producer, topic: str, clock: Clock, failed: Callable[[KafkaError], None]
    ) -> None:
        self._producer, self._topic, self._clock, self._told = producer, topic, clock, failed
        self._left = 0
        self._arrived: list[int] = []
        self._failed: dict[int, KafkaError] = {}

    def send(self, letters: Sequence[Any]) -> list[int]:
        """Send letters; returns the ids of those that arrived.

        Raises
        ------
        Unavailable
            If none did.
        """
        self._send(letters, message_of)
        large = [one for one in letters if self._is_too_large(one.id)]
        if large:
            self._send(large, shortened)
        for error in self._failed.values():
            self._told(error)
        if not self._arrived:
            why = ", ".join(sorted({error.str() for error in self._failed.values()}))
            msg = f"the brokers take no dead letters for {self._topic}: {why}"
            raise Unavailable(msg)
        for id_, error in self._failed.items():
            logger.warning("dead letter %d was not sent on yet: %s", id_, error.str())
        return sorted(self._arrived)

    def _is_too_large(self, id_: int) -> bool:
        return id_ in self._failed and self._failed[id_].code() == KafkaError.MSG_SIZE_TOO_LARGE

    def _send(self, letters: Sequence[Any], made: Callable[[Any], dict[str, Any]]) -> None:
        for letter in letters:
            self._failed.pop(letter.id, None)
            try:
                self._producer.produce(
                    self._topic, **made(letter), on_delivery=partial(self._note, letter.id)
                )
            except KafkaException as error:
                self._failed[letter.id] = error.args[0]
            else:
                self._left += 1
        deadline = self._clock.monotonic() + 2 * TIMEOUT_S
        while self._left and self._clock.monotonic() < deadline:
            self._producer.poll(0.05)
        if self._left:
            msg = "Kafka does not answer"
            raise Unavailable(msg)

    def _note(self, id_: int, error: KafkaError | None, _message: Any) -> None:
        self._left -= 1
        if error is None:
            self._arrived.append(id_)
        else:
            self._failed[id_] = error


def message_of(letter: Any) -> dict[str, Any]:
    """The message as it came, as far as it is stored, and why it is here.

    Parameters
    ----------
    letter : row of dead_letter

    Returns
    -------
    dict
        Key, value and headers, for a producer.
    """
    headers = [*read_headers(letter.headers), *_reasons(letter)]
    if letter.value_bytes > len(letter.value):
        headers.append(_cut(letter))
    key = None if letter.key is None else bytes(letter.key)
    return {"value": bytes(letter.value), "key": key, "headers": headers}


def shortened(letter: Any) -> dict[str, Any]:
    """The beginning of a message that is too large for the topic, and why it is here."""
    key = None if letter.key is None else bytes(letter.key)[:SHORTENED_BYTES]
    return {
        "value": bytes(letter.value)[:SHORTENED_BYTES],
        "key": key,
        "headers": [*_reasons(letter), _cut(letter)],
    }


def _reasons(letter: Any) -> Headers:
    found = {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "connector.name": "driftline",
        "stage": STAGES[letter.kind],
        "exception.class.name": f"{EventError.__module__}.{EventError.__qualname__}",
        "exception.message": letter.reason,
    }
    return [(f"__connect.errors.{name}", str(value).encode()) for name, value in found.items()]


def _cut(letter: Any) -> tuple[str, bytes]:
    return "driftline.value.bytes", str(letter.value_bytes).encode()
