"""Measured side: a Quix Streams application that only counts the events, undecoded.

``python -m tests.benchmarks.side_quix OPTIONS`` with options as JSON, in the environment of the benchmarks;
prints its result as JSON.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec
from quixstreams import Application

from tests.benchmarks.measured import Reading, rate

EVERY = 5_000


class Options(msgspec.Struct):
    """What is measured."""

    bootstrap: str
    topic: str
    events: int
    warm_up: int
    group_id: str


def main() -> None:
    """Count events and print the rate."""
    options = msgspec.json.decode(sys.argv[1], type=Options)
    readings: list[Reading] = []
    total = 0

    def count(_value: Any) -> None:
        nonlocal total
        total += 1
        if total % EVERY == 0:
            readings.append(Reading(time.monotonic(), total))

    app = Application(
        broker_address=options.bootstrap,
        consumer_group=options.group_id,
        auto_offset_reset="earliest",
        loglevel=None,
    )
    app.dataframe(app.topic(options.topic, value_deserializer="bytes")).update(count)
    app.run(count=options.events)
    sys.stdout.buffer.write(msgspec.json.encode(rate(readings, options.warm_up)) + b"\n")


if __name__ == "__main__":
    main()
