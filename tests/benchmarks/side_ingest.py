"""Measured side: the whole ingest, one process, durable commits to a database.

``python -m tests.benchmarks.side_ingest OPTIONS`` with options as JSON; prints its result as JSON.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from monitor.clock import SystemClock
from monitor.commands.run import settle
from monitor.config import Configuration
from monitor.ingest import Ingest
from monitor.source.kafka import KafkaSource
from monitor.store import engine as engines
from monitor.store import positions, schema
from monitor.telemetry import Committed, Telemetry
from tests.benchmarks.learned import promote_references
from tests.benchmarks.measured import Reading, rate
from tests.benchmarks.stream import FEATURES, REGIONS, Shape


class Options(msgspec.Struct):
    """What is measured; `configuration` is that of ``driftline.yaml``."""

    configuration: dict[str, Any]
    topic: str
    events: int
    warm_up: int
    models: int = 1
    features: int = FEATURES
    regions: int = REGIONS
    binned: bool = False
    group_id: str = "bench"


class Watch(Telemetry):
    """Notes when how many events were durable, and how much memory the process held."""

    def __init__(self, events: int, stop: threading.Event) -> None:
        super().__init__()
        self.readings: list[Reading] = []
        self.commit_s = 0.0
        self._wanted, self._stop = events, stop

    def emit(self, event: Any) -> None:
        """Take in an event; stops the ingest once it has committed everything."""
        super().emit(event)
        if isinstance(event, Committed):
            self.commit_s += event.seconds
            before = self.readings[-1].events if self.readings else 0
            events = before + sum(event.outcomes.values())
            reading = Reading(time.monotonic(), events, resident_bytes(), time.process_time())
            self.readings.append(reading)
            if reading.events >= self._wanted:
                self._stop.set()


def resident_bytes() -> int:
    """Memory of this process that is in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    """Read a topic to its end and print the rate of durable events."""
    options = msgspec.json.decode(sys.argv[1], type=Options)
    configuration = Configuration.model_validate(options.configuration)
    engine = engines.create(configuration.database())
    schema.upgrade(engine)
    positions.ensure_counters(engine)
    if options.binned:
        shape = Shape(options.topic, options.events, options.models)
        promote_references(
            engine, configuration, replace(shape, features=options.features, regions=options.regions)
        )
    stop = threading.Event()
    watch = Watch(options.events, stop)
    source = KafkaSource(configuration.kafka.bootstrap_servers, options.group_id, {})
    settle()  # as `driftline run` does
    before = resident_bytes()
    Ingest(configuration, engine, source, SystemClock(), watch).run(stop)
    engine.dispose()
    result = rate(watch.readings, options.warm_up) | {
        "commit_s": watch.commit_s,
        "started_bytes": before,
        "resident": [[r.events, r.resident_bytes] for r in watch.readings],
    }
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")


if __name__ == "__main__":
    main()
