"""Time from the commit that completes a window to its stored results, under a steady live load.

``python -m tests.benchmarks.bench_latency [--quick] [--json]``. A whole service reads from
a real broker; events carry the present time. The database is watched from outside: a window is complete once
the committed positions say so, and judged when its results say so.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from confluent_kafka import Producer
from sqlalchemy import Engine, select

from monitor.config import Configuration, load
from monitor.store import engine as engines
from monitor.store.engine import reading
from monitor.store.queries.times import watermarks
from monitor.store.tables import judgement
from tests.benchmarks.running import Figure, arguments, machine, report
from tests.benchmarks.stream import PARTITIONS, feature_objects
from tests.kit.kafka import KafkaCluster
from tests.kit.service import Service

MODELS = 10
WINDOW_MS = 10_000
LEARNING_MS = 100_000  # until the references of all models are there and what waited for them is judged
EVENTS_PER_S = 60_000
TARGET_S = 2.0
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: latency}}
database_url: sqlite:///{folder}/driftline.db
http: {{port: 0}}
commit_interval: 1s
streams: [{{topic: live, kind: predictions}}]
defaults: {{slice: 1s, windows: [10s], lateness: 1s, dedupe: 1m, reference: {{first: 1m}}}}
"""


def produce(bootstrap: str, rate: int, stop: threading.Event) -> None:
    """Send events of the present time at a steady rate until told to stop."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0})
    objects = [text.decode() for text in feature_objects()]
    number, started = 0, time.monotonic()
    while not stop.is_set():
        now_ms = time.time_ns() // 1_000_000
        while number < (time.monotonic() - started) * rate:
            event = (
                f'{{"event_id":"e{number}","model":"m{number % MODELS}","timestamp":{now_ms},'
                f'"features":{objects[number % len(objects)]},"prediction":{number % 2},"score":0.5}}'
            )
            producer.produce("live", event.encode(), partition=number % PARTITIONS)
            number += 1
        producer.poll(0.002)
    producer.flush(10)


class Watch:
    """Notes when the committed positions complete each window."""

    def __init__(self, engine: Engine, configuration: Configuration) -> None:
        self._engine, self._configuration = engine, configuration
        self.complete_at_ms: dict[tuple[str, int], int] = {}

    def run(self, stop: threading.Event) -> None:
        """Look every 20 ms."""
        while not stop.wait(0.02):
            with reading(self._engine) as connection:
                now_ms = time.time_ns() // 1_000_000
                for model, mark in watermarks(connection, self._configuration, now_ms).items():
                    end_ms = mark - mark % WINDOW_MS
                    self.complete_at_ms.setdefault((model, end_ms), now_ms)

    def delays_s(self) -> list[float]:
        """Seconds from completion to results of every window that was watched from its beginning."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(judgement).where(judgement.c.revision == 1)).all()
        first: dict[str, int] = {}
        for model, end_ms in self.complete_at_ms:
            first[model] = min(end_ms, first.get(model, end_ms))
        return [
            (row.judged_at_ms - self.complete_at_ms[row.model, row.end_ms]) / 1_000
            for row in rows
            if (row.model, row.end_ms) in self.complete_at_ms and row.end_ms > first[row.model] + LEARNING_MS
        ]


def measure(seconds: float, rate: int) -> list[float]:
    """Run the service under load, and return the delays."""
    stop = threading.Event()
    with KafkaCluster() as cluster, tempfile.TemporaryDirectory() as folder:
        for topic in ("live", "driftline.control"):
            cluster.create_topic(topic, PARTITIONS)
        path = Path(folder) / "driftline.yaml"
        path.write_text(CONFIGURATION.format(bootstrap=cluster.bootstrap, folder=folder))
        with Service(path):
            time.sleep(8)
            engine = engines.create(f"sqlite:///{folder}/driftline.db")
            watch = Watch(engine, load(str(path)))
            threads = [
                threading.Thread(target=produce, args=(cluster.bootstrap, rate, stop)),
                threading.Thread(target=watch.run, args=(stop,)),
            ]
            for thread in threads:
                thread.start()
            time.sleep(seconds)
            stop.set()
            for thread in threads:
                thread.join()
            delays = watch.delays_s()
            engine.dispose()
    return delays


def measure_and_report(*, quick: bool, as_json: bool) -> None:
    """Measure and print."""
    before = machine()
    delays = measure(170 if quick else 300, EVENTS_PER_S)
    p50, p99 = np.quantile(delays, [0.5, 0.99]).tolist()
    figures = [
        Figure("load (events/s)", f"{EVENTS_PER_S:,}"),
        Figure("windows judged", f"{len(delays)}"),
        Figure("complete to judged, median (s)", f"{p50:.2f}"),
        Figure("complete to judged, 99 % (s)", f"{p99:.2f}", f"<= {TARGET_S:g}", p99 <= TARGET_S),
        Figure("slowest (s)", f"{max(delays):.2f}"),
    ]
    report(f"Delay of results, {MODELS} models, windows of 10 s", figures, before, as_json=as_json)


def test_latency() -> None:
    """Print the table; `make bench` collects this."""
    measure_and_report(quick=False, as_json=False)


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    measure_and_report(quick=options.quick, as_json=options.json)
