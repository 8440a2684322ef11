"""A database that was backed up under load, lost, and restored: the service goes on where Kafka is."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer
from sqlalchemy import Engine, func, select

from monitor.store import engine as databases
from monitor.store.engine import reading
from monitor.store.tables import partition_state, slice_profile
from tests.kit.kafka import KafkaCluster
from tests.kit.ports import free_port
from tests.kit.postgres import PostgresServer
from tests.kit.service import Service, command_path
from tests.kit.waiting import wait_for

pytestmark = [pytest.mark.acceptance, pytest.mark.full]

HOUR_MS = 3_600_000
FIRST_MS = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS - 10 * HOUR_MS
EVENTS, PARTITIONS, EVERY = 30_000, 3, 50  # one event in fifty is sent twice
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: "{topic}"}}
database_url: "{url}"
http: {{host: 127.0.0.1, port: {port}}}
commit_interval: 200ms
topics: {{control: "{topic}.control", results: "{topic}.results", alerts: "{topic}.alerts"}}
streams: [{{topic: "{topic}", kind: predictions}}]
defaults: {{reference: {{first: 1h}}, windows: [10m]}}
"""


def produce(kafka: KafkaCluster, topic: str, first: int, last: int) -> None:
    """Send events, some of them twice; by key, so that both come to the same partition."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 20})
    for number in range(first, last):
        value = msgspec.json.encode(
            {
                "event_id": f"e{number}",
                "model": "churn",
                "timestamp": FIRST_MS + number * 1_000,
                "features": {"age": 20 + number * 7 % 50},
                "prediction": number % 2,
            }
        )
        for _ in range(1 + (number % EVERY == 0)):
            producer.produce(topic, value, key=str(number).encode())
    assert producer.flush(120) == 0


def service(folder: Path, kafka: KafkaCluster, topic: str, url: str) -> Service:
    """A whole service over a database."""
    folder.mkdir()
    path = folder / "driftline.yaml"
    port = free_port()
    path.write_text(CONFIGURATION.format(bootstrap=kafka.bootstrap, topic=topic, url=url, port=port))
    return Service(path, http_url=f"http://127.0.0.1:{port}")


def fetched(engine: Engine) -> int:
    """Messages that the counts stand for, over all partitions."""
    with reading(engine) as connection:
        return int(connection.execute(select(func.sum(partition_state.c.fetched))).scalar() or 0)


def by_hour(engine: Engine) -> Counter[int]:
    """Counted events by the hour of event time."""
    columns = slice_profile.c.slice_ms, slice_profile.c.rows
    found: Counter[int] = Counter()
    with reading(engine) as connection:
        for slice_ms, rows in connection.execute(select(*columns)):
            found[(slice_ms - FIRST_MS) // HOUR_MS] += rows
    return found


# --- the three ways -----------------------------------------------------------------------------------------


class Backup:
    """A way to back up and restore; `url` is the address of the live database."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack

    url: str

    def take(self, config: Path) -> None:
        """Back up while the service runs."""
        raise NotImplementedError

    def restore(self) -> str:
        """Lose the live database; gives the address of the restored one."""
        raise NotImplementedError


class OfSqlite(Backup):
    """`driftline db backup`, and the copy in the place of the file."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__(folder, stack)
        self.url = f"sqlite:///{folder}/driftline.db"

    def take(self, config: Path) -> None:
        command = [str(command_path()), "db", "backup", "-c", str(config), f"{self.folder}/backup.db"]
        subprocess.run(command, check=True, capture_output=True, timeout=300)

    def restore(self) -> str:
        for name in ("driftline.db", "driftline.db-wal", "driftline.db-shm"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "backup.db").rename(self.folder / "driftline.db")
        return self.url


class OfDump(Backup):
    """`pg_dump` and `pg_restore`, into another server."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__(folder, stack)
        self.server = stack.enter_context(PostgresServer())
        self.name = self.server.create_database()
        self.url = self.server.url(self.name)

    def take(self, config: Path) -> None:
        self.server.tool("pg_dump", "--format=custom", f"--file={self.folder}/dump", self.name)

    def restore(self) -> str:
        self.server.kill()
        other = self.stack.enter_context(PostgresServer())
        name = other.create_database()
        other.tool("pg_restore", "--exit-on-error", f"--dbname={name}", f"{self.folder}/dump")
        return other.url(name)


class OfBaseBackup(OfDump):
    """`pg_basebackup`, which copies a whole server."""

    def take(self, config: Path) -> None:
        self.copy = PostgresServer(copy_of=self.server)

    def restore(self) -> str:
        self.server.kill()
        return self.stack.enter_context(self.copy).url(self.name)


@pytest.mark.parametrize("way", [OfSqlite, OfDump, OfBaseBackup])
def test_a_restored_database_goes_on_where_kafka_is(
    kafka: KafkaCluster, tmp_path: Path, way: type[Backup]
) -> None:
    topic = f"restore-{way.__name__.lower()}"
    kafka.create_topic(topic, PARTITIONS)
    for internal in ("control", "results", "alerts"):
        kafka.create_topic(f"{topic}.{internal}", 1)
    with ExitStack() as stack:
        backup = way(tmp_path, stack)
        live = databases.create(backup.url)
        produce(kafka, topic, 0, EVENTS // 3)
        first = service(tmp_path / "first", kafka, topic, backup.url)
        with first:
            first.wait_until_ready()
            wait_for(lambda: fetched(live) > 0, what="nothing was read")
            produce(kafka, topic, EVENTS // 3, EVENTS // 2)
            backup.take(tmp_path / "first" / "driftline.yaml")
            stood = fetched(live)
            produce(kafka, topic, EVENTS // 2, EVENTS)
            wait_for(lambda: fetched(live) > stood, what="nothing was read after the backup")
        live.dispose()
        url = backup.restore()
        engine = databases.create(url)
        assert 0 < fetched(engine) <= stood
        sent = EVENTS + EVENTS // EVERY
        with service(tmp_path / "second", kafka, topic, url):
            wait_for(lambda: fetched(engine) >= sent, what="not all was read", timeout_s=300)
        with reading(engine) as connection:
            names = ("fetched", "counted", "duplicates", "late", "future", "dead_lettered", "next_offset")
            (row,) = connection.execute(select(*(func.sum(partition_state.c[name]) for name in names)))
        assert dict(zip(names, row, strict=True)) == {
            "fetched": sent, "counted": EVENTS, "duplicates": EVENTS // EVERY, "late": 0, "future": 0,
            "dead_lettered": 0, "next_offset": sent,
        }  # fmt: skip
        assert by_hour(engine) == Counter(number // 3_600 for number in range(EVENTS))
        engine.dispose()
