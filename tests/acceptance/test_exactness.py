"""Real Kafka, real PostgreSQL, everything killed at random: counts equal those of the produced events."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import reading
from schemas.errors import Unavailable
from tests.acceptance import exactness
from tests.kit.kafka import KafkaCluster
from tests.kit.postgres import PostgresServer
from tests.kit.service import Service
from tests.kit.waiting import wait_for

WINDOW_MS = 600_000
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: exactness}}
database_url: {database}
http: {{host: 127.0.0.1, port: 0}}
commit_interval: 1s
streams: [{{topic: predictions, kind: predictions, format: json}}]
defaults: {{slice: 1m, windows: [10m], lateness: 2m, horizon: 30d, idle_after: 3s, reference: {{first: 20m}}}}
"""


@dataclass(frozen=True)
class Ordeal:
    """How much is produced, so far apart in event time, and how often what is killed."""

    events: int
    spacing_ms: int
    partitions: int
    readers: int
    kills: int
    broker_kills: int
    database_restarts: int
    pause_s: tuple[float, float]


SHORT = Ordeal(90_000, 34, 6, 2, 2, 1, 1, (0.5, 2.0))
FULL = Ordeal(2_000_000, 20, 12, 3, 20, 5, 3, (1.0, 5.0))


@pytest.mark.acceptance
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("ordeal", [SHORT, pytest.param(FULL, marks=pytest.mark.full)], ids=["short", "full"])
def test_counts_are_exact_whatever_is_killed(ordeal: Ordeal, tmp_path: Path) -> None:
    with KafkaCluster(brokers=3) as kafka, PostgresServer() as postgres, ExitStack() as closing:
        database = postgres.url(postgres.create_database())
        for topic, partitions in (("predictions", ordeal.partitions), ("driftline.control", 3)):
            kafka.create_topic(topic, partitions)
        configuration = tmp_path / "driftline.yaml"
        configuration.write_text(CONFIGURATION.format(bootstrap=kafka.bootstrap, database=database))
        roles = ["ingest"] * ordeal.readers + ["evaluate"]
        services = [_service(configuration, tmp_path, f"{role}{i}", role) for i, role in enumerate(roles)]
        tally: list[exactness.Produced] = []
        messages = exactness.events(17, ordeal.events, ordeal.partitions, ordeal.spacing_ms)
        producing = threading.Thread(
            target=lambda: tally.append(exactness.produce(kafka.bootstrap, "predictions", messages))
        )
        try:
            for service in services:
                service.start()
            engine = engines.create(database)
            closing.callback(engine.dispose)
            producing.start()
            # A process that has not come so far yet loses nothing by being killed.
            wait_for(lambda: schema.current(engine), what="no tables were made", ignoring=(Unavailable,))
            _suffer(ordeal, services, kafka, postgres)
            producing.join(600)
            _wait_until_read(engine, tally[0])
            _wait_until_judged(engine)
            with reading(engine) as connection:
                exactness.check_accounting(connection, tally[0])
                exactness.check_slices(connection, tally[0])
                assert exactness.check_results(connection, tally[0], WINDOW_MS) > 0
        finally:
            for service in services:
                if service.is_running:
                    service.kill()


def _service(configuration: Path, folder: Path, name: str, role: str) -> Service:
    own = folder / name / "driftline.yaml"  # the log is written beside it
    own.parent.mkdir()
    own.write_text(configuration.read_text())
    return Service(own, "--role", role, "--http-port", "0")


def _suffer(ordeal: Ordeal, services: list[Service], kafka: KafkaCluster, postgres: PostgresServer) -> None:
    """Kill everything in a random but repeatable order."""
    rng = random.Random(5)

    def kill_a_service() -> None:
        services[rng.randrange(len(services))].restart_after_kill()

    def kill_a_broker() -> None:
        number = rng.randrange(3)
        kafka.kill(number)
        time.sleep(rng.uniform(*ordeal.pause_s))
        kafka.restart(number)

    acts: list[Callable[[], None]] = (
        [kill_a_service] * ordeal.kills
        + [kill_a_broker] * ordeal.broker_kills
        + [postgres.restart] * ordeal.database_restarts
    )
    rng.shuffle(acts)
    for act in acts:
        time.sleep(rng.uniform(*ordeal.pause_s))
        act()


def _wait_until_read(engine: Engine, tally: exactness.Produced) -> None:
    def all_read() -> bool:
        with reading(engine) as connection:
            fetched = connection.execute(text("SELECT sum(fetched) FROM partition_state")).scalar()
        return (fetched or 0) >= tally.messages

    wait_for(all_read, what="not every message was read", timeout_s=600, ignoring=(Unavailable,))


def _wait_until_judged(engine: Engine) -> None:
    """Wait until no complete window waits for its judgement."""

    def all_judged() -> bool:
        with reading(engine) as connection:
            waiting = connection.execute(
                text(
                    "SELECT count(*) FROM window_state w JOIN reference_pointer p ON p.model = w.model AND "
                    "p.version = w.version AND p.from_ms <= w.start_ms WHERE w.touched <> w.judged "
                    "AND w.end_ms <= "
                    "(SELECT max(max_event_ms) FROM partition_model) - 120000"
                )
            ).scalar_one()
            pointers = connection.execute(text("SELECT count(*) FROM reference_pointer")).scalar_one()
        return bool(waiting == 0 and pointers == len(exactness.MODELS))

    wait_for(all_judged, what="windows wait to be judged", timeout_s=600, ignoring=(Unavailable,))
