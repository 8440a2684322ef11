"""The Faust app brings the news; without it, or with it failing, results are the same."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from monitor.store import engine as engines
from monitor.store.engine import reading
from schemas.errors import Unavailable
from tests.kit.kafka import KafkaCluster
from tests.kit.service import Service
from tests.kit.waiting import PATIENCE_S, wait_for

START_MS = 1_767_225_600_000
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: {name}}}
database_url: sqlite:///{folder}/driftline.db
http: {{host: 127.0.0.1, port: 0}}
commit_interval: 500ms
topics: {{control: {control}, results: {name}.results, alerts: {name}.alerts}}
streams: [{{topic: {topic}, kind: predictions}}]
defaults: {{windows: [10m], lateness: 1m, horizon: 60d, reference: {{first: 1h}}}}
"""


def _produce(kafka: KafkaCluster, topic: str, first: int, number: int) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    for i in range(first, first + number):
        shift = 30 if i >= 9_000 else 0
        event = {
            "event_id": f"e{i}", "model": "churn", "timestamp": START_MS + i * 1_000,
            "features": {"age": 20 + i * 7 % 40 + shift}, "prediction": i % 2,
        }  # fmt: skip
        producer.produce(topic, json.dumps(event).encode())
        if i % 1_000 == 0:
            producer.poll(0)
    assert producer.flush(PATIENCE_S) == 0


class Instance:
    """One installation with a database of its own; each role may listen to another control topic."""

    def __init__(self, kafka: KafkaCluster, folder: Path, name: str, roles: dict[str, str]) -> None:
        self._folder = folder / name
        self.services = []
        for role, control in roles.items():
            path = self._folder / role / "driftline.yaml"
            path.parent.mkdir(parents=True)
            path.write_text(
                CONFIGURATION.format(
                    bootstrap=kafka.bootstrap,
                    name=name,
                    folder=self._folder,
                    topic="faust.pp",
                    control=control,
                )
            )
            self.services.append(Service(path, "--role", role))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        engine = engines.create(f"sqlite:///{self._folder}/driftline.db")
        try:
            with reading(engine) as connection:
                return [tuple(row) for row in connection.execute(text(statement))]
        finally:
            engine.dispose()

    def wait_for_windows(self, number: int) -> None:
        wait_for(
            lambda: self.rows("SELECT count(*) FROM judgement") == [(number,)],
            what=f"{number} windows judged",
            ignoring=(DBAPIError, Unavailable),
        )

    def everything(self) -> list[list[tuple[Any, ...]]]:
        return [
            self.rows(
                'SELECT start_ms, "column", revision, decision, n, statistic, psi_low FROM result '
                "ORDER BY 1, 2, 3"
            ),
            self.rows("SELECT id, state, summary FROM alert ORDER BY 1"),
        ]


@pytest.mark.acceptance
@pytest.mark.timeout(1_200)
def test_results_are_the_same_with_faust_frozen_killed_or_absent(kafka: KafkaCluster, tmp_path: Path) -> None:
    for topic in ("faust.pp", "faust.control", "faust.elsewhere"):
        kafka.create_topic(topic, 1)
    healthy = Instance(kafka, tmp_path, "healthy", {"all": "faust.control"})
    deaf = Instance(kafka, tmp_path, "deaf", {"ingest": "faust.elsewhere", "evaluate": "faust.control"})
    tormented = Instance(
        kafka, tmp_path, "tormented", {"ingest": "faust.control", "evaluate": "faust.control"}
    )
    instances = (healthy, deaf, tormented)
    evaluator = tormented.services[1]
    try:
        for instance in instances:
            for service in instance.services:
                service.start()
        _produce(kafka, "faust.pp", 0, 6_000)
        os.kill(evaluator.pid, signal.SIGSTOP)
        _produce(kafka, "faust.pp", 6_000, 3_000)
        time.sleep(2)
        os.kill(evaluator.pid, signal.SIGCONT)
        evaluator.restart_after_kill()
        _produce(kafka, "faust.pp", 9_000, 3_000)
        for instance in instances:
            instance.wait_for_windows(13)
        assert healthy.everything() == deaf.everything() == tormented.everything()
        assert len(healthy.everything()[1]) == 1
        for instance in instances:
            assert [service.terminate() for service in instance.services] == [0] * len(instance.services)
    finally:
        for service in (service for instance in instances for service in instance.services):
            if service.is_running:
                service.kill()
