"""An installation that reads from a broker which lets in only whom it knows, and what it has taken in."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from ruamel.yaml import YAML
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from monitor.store import engine as engines
from monitor.store.engine import reading
from schemas.errors import Unavailable
from tests.kit.secured_kafka import SecuredKafka
from tests.kit.service import Service
from tests.kit.waiting import PATIENCE_S, wait_for

START_MS = 1_767_225_600_000
STEP_MS = 2_000
EVENTS = 2_000
SHIFTED_FROM = 1_500


def event(number: int, model: str = "churn") -> dict[str, Any]:
    """One prediction; they are two seconds apart, and other people's from some time on."""
    shift = 30 if number >= SHIFTED_FROM else 0
    return {
        "event_id": f"e{number}", "model": model, "timestamp": START_MS + number * STEP_MS,
        "features": {"age": 20 + number * 7 % 40 + shift}, "prediction": number % 2,
    }  # fmt: skip


def send(broker: SecuredKafka, topic: str, number: int = EVENTS, *, first: int = 0, broken: int = 0) -> None:
    """Send predictions, and messages that are none, as somebody who may."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 5})
    for i in range(first, first + number):
        producer.produce(topic, json.dumps(event(i)).encode(), partition=0)
    for _ in range(broken):
        producer.produce(topic, b"{", partition=0)
    assert producer.flush(PATIENCE_S) == 0


@dataclass
class Installation:
    """A configuration of its own, with topics and groups that begin with its name."""

    broker: SecuredKafka
    folder: Path
    name: str
    listener: str
    options: Mapping[str, object]
    database: Mapping[str, object] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / f"{self.name}.yaml"
        written = io.StringIO()
        YAML(typ="safe").dump(self.settings(), written)
        self.path.write_text(written.getvalue())

    @property
    def topic(self) -> str:
        """Topic of the predictions."""
        return f"{self.name}.in"

    def settings(self) -> dict[str, Any]:
        """Everything that the file says."""
        own = {role: f"{self.name}.{role}" for role in ("control", "results", "alerts")}
        return {
            "kafka": {
                "bootstrap_servers": self.broker.address(self.listener), "group_id": self.name,
                "options": dict(self.options),
            },
            **(self.database or {"database_url": f"sqlite:///{self.folder}/{self.name}.db"}),
            "http": {"host": "127.0.0.1", "port": 0},
            "commit_interval": "500ms",
            "topics": own,
            "streams": [{"topic": self.topic, "kind": "predictions"}],
            "defaults": {
                "windows": ["10m"], "lateness": "1m", "horizon": "60d",
                "reference": {"first": "30m", "min_rows": 100},
            },
            **self.more,
        }  # fmt: skip

    def service(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Service:
        """The service, not started yet."""
        url = f"http://127.0.0.1:{self.settings()['http']['port']}"
        return Service(self.path, *arguments, http_url=url, environment=environment)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the SQLite database."""
        engine = engines.create(f"sqlite:///{self.folder}/{self.name}.db")
        try:
            with reading(engine) as connection:
                return [tuple(row) for row in connection.execute(text(statement))]
        finally:
            engine.dispose()

    def wait_for(self, statement: str, expected: int, what: str, service: Service | None = None) -> None:
        """Wait until the one number that a query gives is as large as it should be."""

        def is_there() -> bool:
            assert service is None or service.is_running, service.log[-4_000:]
            return int(self.rows(statement)[0][0] or 0) >= expected

        wait_for(is_there, what=f"{self.name}: {what}", ignoring=(DBAPIError, Unavailable))

    def control_messages_read(self) -> int:
        """Position of the Faust app in the control topic, which it commits once it has judged."""
        place = TopicPartition(f"{self.name}.control", 0)
        group = f"{self.name}-evaluate"
        asked = self.broker.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [place])])
        try:
            (found,) = asked[group].result(PATIENCE_S).topic_partitions
        except KafkaException:
            return 0
        return max(0, found.offset)
