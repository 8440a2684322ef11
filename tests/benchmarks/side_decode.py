"""Measured side: what any reader has to do: consume, and decode every event; nothing is kept.

``python -m tests.benchmarks.side_decode OPTIONS`` with options as JSON; prints its result as JSON.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec

from monitor import interpreter
from monitor.decode.catalog import build
from monitor.decode.columns import Columns
from monitor.decode.features import FeatureDecoder
from monitor.decode.message import Message
from monitor.decode.reading import Reading as Said
from monitor.decode.registry_client import connect
from monitor.source.kafka import KafkaSource
from monitor.source.source import Fetched
from monitor.store.positions import Place
from tests.benchmarks.measured import Reading, rate


class Options(msgspec.Struct):
    """What is measured."""

    bootstrap: str
    topic: str
    events: int
    warm_up: int
    batch: int = 10_000
    workers: int = 2
    format: str = "json"
    registry: str = ""
    group_id: str = "bench"


class FromTheStart:
    """Takes every partition from its beginning."""

    def assigned(self, places: list[Place]) -> dict[Place, int | None]:
        """Begin at the first offset."""
        return dict.fromkeys(places, 0)

    def revoked(self, places: list[Place]) -> None:
        """Keep nothing."""

    def lost(self, places: list[Place]) -> None:
        """Keep nothing."""

    def unreadable(self, place: Place, reason: str) -> None:
        """Stop: nothing is deleted while a benchmark runs."""
        raise RuntimeError(reason)


def message(source: KafkaSource, fetched: Fetched, row: int) -> Message:
    """A message with what formats may ask of it."""
    return Message(fetched.values[row], source.headers_of(fetched.raw[row]), int(fetched.timestamp_ms[row]))


def main() -> None:
    """Read a topic to its end and print the rate of decoded events."""
    options = msgspec.json.decode(sys.argv[1], type=Options)
    interpreter.tune()
    source = KafkaSource(options.bootstrap, options.group_id, {})
    source.subscribe([options.topic], FromTheStart())
    needs_registry = options.format == "registry"
    said = Said(registry=connect(options.registry, None, 5.0)) if needs_registry else Said()
    envelope = build(options.format, said)
    features = FeatureDecoder(Columns({}, 500))
    room = threading.Semaphore(2 * options.workers)
    readings: list[Reading] = []
    done = 0

    def decoded(future: Future[Any]) -> None:
        future.result()
        room.release()

    with ThreadPoolExecutor(options.workers) as pool:
        while done < options.events:
            fetched = source.fetch(options.batch, 0.1)
            if not len(fetched):
                continue
            envelopes = envelope.decode(fetched.values, partial(message, source, fetched))
            if envelopes.problems:
                raise RuntimeError(envelopes.problems[0][1])
            room.acquire()
            pool.submit(features.decode, envelopes.features).add_done_callback(decoded)
            done += len(envelopes)
            readings.append(Reading(time.monotonic(), done, cpu_s=time.process_time()))
    source.close()
    sys.stdout.buffer.write(msgspec.json.encode(rate(readings, options.warm_up)) + b"\n")


if __name__ == "__main__":
    main()
