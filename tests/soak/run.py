"""An hour of steady load with restarts: memory is flat, commits stay fast, every event is counted.

``python -m tests.soak.run [--minutes 60] [--rate 40000] [--output FOLDER]``. A real broker and PostgreSQL;
two ingest processes, one of which is restarted every five minutes (asked to leave and killed in turns), one
evaluator and one web process that stay. Writes ``soak.csv`` and ``soak.png``, prints what was found, and
leaves with 1 if a promise was broken. What was seen is written too if it breaks off. The broker keeps ten
minutes of the events, which with everything else takes some 20 GiB of disk.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from monitor.store import engine as engines
from tests.kit.kafka import KafkaCluster
from tests.kit.ports import free_port
from tests.kit.postgres import PostgresServer
from tests.kit.service import Service
from tests.kit.waiting import wait_for
from tests.soak.load import Load
from tests.soak.picture import draw
from tests.soak.readings import Readings, Watched, backlog, books
from tests.soak.verdict import promises

RESTART_S = 300.0
LOOK_S = 1.0
DISK_BYTES = 25 << 30
KEPT = {"retention.ms": "600000", "segment.bytes": str(64 << 20)}  # an hour of events are 53 GiB
TOPIC = "soak"
PARTITIONS = 6
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: soak}}
database_url: {url}
http: {{host: 127.0.0.1, port: {port}}}
streams: [{{topic: {topic}, kind: predictions}}]
defaults:
  slice: 10s
  windows: [1m, 10m]
  lateness: 5s
  dedupe: 2m
  segments: [c0]
  reference: {{first: 3m}}
"""


def main() -> int:
    """Run the load, watch, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=40_000, help="events a second")
    parser.add_argument("--output", type=Path, default=Path("build/soak"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(tempfile.gettempdir()).free
    if free_bytes < DISK_BYTES:
        left, needed = free_bytes >> 30, DISK_BYTES >> 30
        parser.error(f"{tempfile.gettempdir()} has {left} GiB left ({needed} are needed)")
    readings = Readings()
    try:
        with tempfile.TemporaryDirectory() as name, KafkaCluster() as cluster, PostgresServer() as server:
            soak(Path(name), cluster, server, options.minutes * 60.0, options.rate, readings)
    finally:
        readings.write(options.output / "soak.csv")
    found = promises(readings)
    draw(readings, options.output / "soak.png")
    for promise in found:
        sys.stdout.write(f"{promise}\n")
    return 0 if all(promise.is_kept for promise in found) else 1


def soak(
    folder: Path, cluster: KafkaCluster, server: PostgresServer, seconds: float, rate: int, readings: Readings
) -> None:
    """Load the service for so long; adds all that is seen to the readings, with the books at the end."""
    url = server.url(server.create_database())
    cluster.create_topic(TOPIC, PARTITIONS, config=KEPT)
    cluster.create_topic("driftline.control", 3)
    services = {
        name: _service(folder / name, role, cluster.bootstrap, url)
        for name, role in (
            ("ingest, restarted", "ingest"), ("ingest", "ingest"), ("evaluate", "evaluate"), ("web", "web"),
        )
    }  # fmt: skip
    load, engine = Load(cluster.bootstrap, TOPIC, PARTITIONS, rate), engines.create(url)
    try:
        for watched in services.values():
            watched.service.start()
        for watched in services.values():
            watched.service.wait_until_ready()
        producing = threading.Thread(target=load.run, name="load")
        producing.start()
        _watch(services, producing, readings, seconds)
        load.stop.set()
        producing.join()
        wait_for(lambda: backlog(engine) >= load.sent, what="not all events were read", timeout_s=600)
        readings.sent, readings.books = load.sent, books(engine)
    finally:
        load.stop.set()
        engine.dispose()
        for watched in services.values():
            if watched.service.is_running:
                watched.service.kill()


def _watch(
    services: dict[str, Watched], producing: threading.Thread, readings: Readings, seconds: float
) -> None:
    """Look at all processes now and then, and restart one of them.

    Raises
    ------
    RuntimeError
        If the broker takes no more events, or a process that should stay has ended.
    """
    started_s = time.monotonic()
    restart_at_s, restarts = started_s + RESTART_S, 0
    while (now_s := time.monotonic()) < started_s + seconds:
        for name, watched in services.items():
            readings.take(name, watched, now_s - started_s)
        ended = [name for name, watched in services.items() if not watched.service.is_running]
        if ended or not producing.is_alive():
            msg = f"{', '.join(ended) or 'the load'} ended by itself after {now_s - started_s:.0f} s"
            raise RuntimeError(msg)
        if now_s >= restart_at_s:
            service = services["ingest, restarted"].service
            if restarts % 2:
                service.kill()
            else:
                service.terminate()
            service.start()
            restarts += 1
            restart_at_s += RESTART_S
            readings.restarts_s.append(now_s - started_s)
        time.sleep(max(0.0, LOOK_S - (time.monotonic() - now_s)))


def _service(folder: Path, role: str, bootstrap: str, url: str) -> Watched:
    folder.mkdir(parents=True)
    port, path = free_port(), folder / "driftline.yaml"
    path.write_text(CONFIGURATION.format(bootstrap=bootstrap, url=url, port=port, topic=TOPIC))
    address = f"http://127.0.0.1:{port}"
    return Watched(Service(path, "--role", role, http_url=address), address)


if __name__ == "__main__":
    sys.exit(main())
