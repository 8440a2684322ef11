"""A process that reads requests and responses that come apart, and what the database has of them."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Engine, select

from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.dead_letters.marking import mark
from monitor.ingest import Ingest
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.store import positions
from monitor.store.committing import Fault
from monitor.store.engine import immediate, reading
from monitor.store.queries.dead_letters import Wanted
from monitor.store.tables import dead_letter, half_message, slice_profile
from monitor.telemetry import Telemetry

NOW_MS = 1_767_225_600_000
MINUTE_MS = 60_000
TOPICS = ("serving", "mlserver-input", "mlserver-output")


def configuration(**more: Any) -> Configuration:
    """Three topics of predictions in any format."""
    streams = [
        {"topic": topic, "kind": "predictions", "format": "auto", "inputs": ["a", "b"], **more}
        for topic in TOPICS
    ]
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "memory"},
            "database_url": "sqlite:///unused.db",
            "streams": streams,
            "ingest": {"workers": 1},
        }
    )


class Bench:
    """One process, and what it reads."""

    def __init__(
        self, engine: Engine, partitions: int = 1, fault: Fault = lambda _point: None, **stream: Any
    ) -> None:
        self._fault = fault
        self.engine, self.broker, self.clock = engine, MemoryBroker(), ManualClock(NOW_MS)
        for topic in TOPICS:
            self.broker.create_topic(topic, partitions)
        self.configuration = configuration(**stream)
        self.telemetry = Telemetry()
        self.ingest = self.start()

    def start(self) -> Ingest:
        """Start a process."""
        source = MemorySource(self.broker, self.clock)
        made = Ingest(self.configuration, self.engine, source, self.clock, self.telemetry, fault=self._fault)
        made.begin()
        return made

    def kserve(
        self, side: str, id_: str, body: Any, *, at: str | None = None, partition: int = 0, **more: str
    ) -> None:
        """Append an event of KServe's logger."""
        attributes = {
            "specversion": "1.0", "id": id_, "source": "/s", "type": f"org.kubeflow.serving.inference.{side}",
            "inferenceservicename": "iris", "namespace": "default", "component": "predictor", **more,
        }  # fmt: skip
        if at is not None:
            attributes["time"] = at
        headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
        self.send("serving", body, headers, partition=partition)

    def send(
        self, topic: str, body: Any, headers: Any = (), key: bytes | None = None, *, partition: int = 0
    ) -> None:
        """Append a message, as of now."""
        value = body if isinstance(body, bytes) else msgspec.json.encode(body)
        stamp_ms = self.clock.now_ms()
        self.broker.append(topic, partition, value, timestamp_ms=stamp_ms, headers=headers, key=key)

    def turn(self) -> None:
        """Let the process fetch and commit, and take what is complete by then."""
        self.clock.advance(5_000)
        self.ingest.step()

    def take(self, topic: str = "serving", turns: int = 3) -> dict[str, int]:
        """Let some turns pass; returns the outcomes of a topic that are not 0."""
        for _ in range(turns):
            self.turn()
            self.ingest.commit()
            for row in self.accounting():
                assert row["fetched"] == sum(row[name] for name in positions.OUTCOMES)
                assert all(row[name] >= 0 for name in positions.OUTCOMES)
        names = ("fetched", *positions.OUTCOMES)
        mine = [row for row in self.accounting() if row["topic"] == topic]
        sums = {name: sum(row[name] for row in mine) for name in names}
        return {name: number for name, number in sums.items() if number}

    def accounting(self) -> list[dict[str, Any]]:
        """Accounting of all partitions."""
        with reading(self.engine) as connection:
            return positions.accounting(connection)

    def mark(self, **wanted: Any) -> int:
        """Mark letters for a replay."""
        with immediate(self.engine) as connection:
            return mark(connection, Wanted(**wanted)).marked

    def rows(self, table: Any) -> list[Any]:
        """All rows of a table, in order."""
        with reading(self.engine) as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key)))

    def halves(self) -> list[tuple[str, str]]:
        """Side and status of the stored halves."""
        return sorted((row.side, row.status) for row in self.rows(half_message))

    def letters(self) -> list[tuple[Any, ...]]:
        """What has become of dead letters, in the order of their offsets."""
        return sorted((row.offset, row.kind, row.status, row.events) for row in self.rows(dead_letter))

    def slices(self) -> dict[tuple[str, str, int], int]:
        """Rows by model, version and slice."""
        found: dict[tuple[str, str, int], int] = {}
        for row in self.rows(slice_profile):
            key = row.model, row.version, row.slice_ms
            found[key] = found.get(key, 0) + row.rows
        return found
