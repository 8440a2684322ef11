"""A producer with a steady rate, in events of 25 features of the present time."""

from __future__ import annotations

import threading
import time

from confluent_kafka import KafkaError, Producer

from tests.benchmarks.stream import OBJECTS, event, feature_objects, timestamp

MODELS = 10


class Load:
    """Sends events until told to stop.

    Parameters
    ----------
    bootstrap, topic : str
    partitions : int
    rate : int
        Events a second.

    Attributes
    ----------
    sent : int
        Events that the broker has.
    """

    def __init__(self, bootstrap: str, topic: str, partitions: int, rate: int) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap, "linger.ms": 20, "acks": "all", "enable.idempotence": True,
                "delivery.timeout.ms": 60_000, "error_cb": self._note,
            }
        )  # fmt: skip
        self._topic, self._partitions, self._rate = topic, partitions, rate
        self.stop = threading.Event()
        self.sent = 0
        self._failed = ""

    def _note(self, error: KafkaError) -> None:
        """Take in what the client says of its troubles: without the broker there is nothing to watch."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._failed = error.str()

    def run(self) -> None:
        """Keep the rate; events of the same instant go to all partitions in turn.

        Raises
        ------
        RuntimeError
            If the broker does not take them all.
        """
        objects, produce = feature_objects(), self._producer.produce
        number, started_s = 0, time.monotonic()
        while not self.stop.is_set():
            text = timestamp(time.time_ns() // 1_000_000)
            due = int((time.monotonic() - started_s) * self._rate)
            while number < due:
                pick = number % OBJECTS
                try:
                    produce(
                        self._topic,
                        event(number, number % MODELS, text, objects[pick], pick),
                        partition=number // 50 % self._partitions,
                    )
                except BufferError:
                    self._producer.poll(0.1)
                    if self._failed:
                        raise RuntimeError(self._failed) from None
                    continue
                number += 1
            self._producer.poll(0.01)
            if self._failed:
                raise RuntimeError(self._failed)
        if self._producer.flush(120):
            msg = "the broker did not take all events"
            raise RuntimeError(msg)
        self.sent = number
