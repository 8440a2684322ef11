"""Measured side: a Faust agent that only counts the events, undecoded.

``python -m tests.benchmarks.side_faust OPTIONS`` with options as JSON; prints its result as JSON.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import faust
import msgspec

from tests.benchmarks.measured import Reading, rate

EVERY = 500


class Options(msgspec.Struct):
    """What is measured; it ends after so many events, or so many seconds of them."""

    bootstrap: str
    topic: str
    events: int
    seconds: float
    warm_up: int
    group_id: str


async def count_events(options: Options) -> list[Reading]:
    """Run the app until enough was counted."""
    app = faust.App(
        options.group_id,
        broker=[f"kafka://{server}" for server in options.bootstrap.split(",")],
        loop=asyncio.get_running_loop(),
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
    )
    topic = app.topic(options.topic, key_serializer="raw", value_serializer="raw", value_type=bytes)
    readings: list[Reading] = []
    enough = asyncio.Event()

    async def count(stream: Any) -> None:
        total = 0
        async for _ in stream:
            total += 1
            if total % EVERY == 0:
                readings.append(Reading(time.monotonic(), total))
                if total >= options.events or readings[-1].at_s - readings[0].at_s >= options.seconds:
                    enough.set()

    app.agent(topic, name="count")(count)
    await app.start()
    try:
        await asyncio.wait_for(enough.wait(), 60 + options.seconds)
    finally:
        await app.stop()
    return readings


def main() -> None:
    """Count events and print the rate."""
    options = msgspec.json.decode(sys.argv[1], type=Options)
    readings = asyncio.run(count_events(options))
    sys.stdout.buffer.write(msgspec.json.encode(rate(readings, options.warm_up)) + b"\n")


if __name__ == "__main__":
    main()
