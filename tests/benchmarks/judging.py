"""What judging a window costs: events go through the real ingest, from a broker in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import func, select

from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.ingest import Ingest
from monitor.judging.judge import Judge
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.store import engine as engines
from monitor.store import positions, schema
from monitor.store.engine import reading
from monitor.store.tables import partition_state
from monitor.telemetry import Telemetry
from tests.benchmarks.stream import OBJECTS, Shape, event, feature_objects, timestamp

FIRST_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
PER_MINUTE = 60
LEARNING_HOURS = 48
TOPIC = "judged"


@dataclass(frozen=True)
class Judged:
    """What was judged, and in which processor time."""

    windows: int
    ms_a_window: float


def judging(shape: Shape, hours: int, *, parts: int = 1, **defaults: Any) -> Judged:
    """Judge so many windows of an hour of one model, made of slices of a minute, on a new SQLite file.

    The model has learned for two days before, and nothing drifts. A slice comes in so many parts, one for
    each commit of each process that reads the model's events meanwhile.
    """
    with TemporaryDirectory() as folder:
        configuration = Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "memory"},
                "database_url": f"sqlite:///{folder}/judging.db",
                "streams": [{"topic": TOPIC, "kind": "predictions"}],
                "defaults": {
                    "windows": ["1h"], "lateness": "1m", "horizon": "30d",
                    "max_segment_values": 100, "reference": {"first": f"{LEARNING_HOURS}h"}, **defaults,
                },
            }
        )  # fmt: skip
        world = _World(configuration, shape)
        try:
            world.take_in(LEARNING_HOURS * 60 + 10)
            world.judge.sweep()
            world.take_in(60)  # from its commit on, the ingest counts on the bins of the reference
            world.judge.sweep()
            world.take_in(hours * 60, parts)
            started_s = time.process_time()
            judged = world.judge.sweep()
            spent_s = time.process_time() - started_s
        finally:
            world.close()
    return Judged(len(judged), spent_s / len(judged) * 1e3)


class _World:
    """One ingest process and one judge, with a clock that stands still."""

    def __init__(self, configuration: Configuration, shape: Shape) -> None:
        clock = ManualClock(FIRST_MS + 20 * 24 * HOUR_MS)
        self._engine = engines.create(configuration.database())
        schema.upgrade(self._engine)
        positions.ensure_counters(self._engine)
        self._clock, self._broker = clock, MemoryBroker()
        self._broker.create_topic(TOPIC, 1)
        source = MemorySource(self._broker, clock)
        self._ingest = Ingest(configuration, self._engine, source, clock, Telemetry())
        self._ingest.begin()
        self.judge = Judge(configuration, self._engine, clock, Telemetry())
        self._objects = feature_objects(features=shape.features, regions=shape.regions)
        self._rng = np.random.default_rng(1)
        self._sent = 0

    def take_in(self, minutes: int, parts: int = 0) -> None:
        """Make events of the next minutes, and commit them: each minute in so many parts, or all at once."""
        if parts > 1:
            for _ in range(minutes * parts):
                self._take_in(PER_MINUTE // parts)
        else:
            self._take_in(minutes * PER_MINUTE)

    def _take_in(self, events: int) -> None:
        picks = self._rng.integers(0, OBJECTS, events).tolist()
        for pick in picks:
            text = timestamp(FIRST_MS + self._sent * 60_000 // PER_MINUTE)
            value = event(self._sent, 0, text, self._objects[pick], pick)
            self._broker.append(TOPIC, 0, value, timestamp_ms=self._clock.now_ms())
            self._sent += 1
        while self._read() < self._sent:
            self._ingest.step()
            self._ingest.commit()

    def _read(self) -> int:
        with reading(self._engine) as connection:
            return int(connection.execute(select(func.sum(partition_state.c.next_offset))).scalar() or 0)

    def close(self) -> None:
        self._ingest.leave()
        self._engine.dispose()
