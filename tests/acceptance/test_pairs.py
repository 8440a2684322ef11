"""Requests and responses that come apart, through real Kafka and PostgreSQL, read by two processes."""

from __future__ import annotations

import json
import random
import struct
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer
from sqlalchemy import Engine, text

from monitor.decode.inference_protobuf import MESSAGES
from monitor.store import engine as engines
from monitor.store.engine import reading
from tests.kit.kafka import KafkaCluster
from tests.kit.ports import free_port
from tests.kit.postgres import PostgresServer
from tests.kit.service import Service
from tests.kit.waiting import PATIENCE_S, wait_for

PAIRS, TWICE, ALONE = 1_500, 200, 30  # of each format on Kafka
BY_HTTP = 20
MLSERVER = ("mlserver-input", "mlserver-output")
SELDON = ("seldon.default.model.iris.inputs", "seldon.default.model.iris.outputs")
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: pairs}}
database_url: {database}
http:
  host: 127.0.0.1
  port: {port}
  events: {{predictions: kserve}}
commit_interval: 300ms
defaults: {{horizon: 30d}}
streams:
  - {{topic: kserve, kind: predictions, format: auto, inputs: [a, b]}}
  - {{topic: mlserver-input, kind: predictions, format: mlserver}}
  - {{topic: mlserver-output, kind: predictions, format: mlserver}}
  - {{topic: seldon.default.model.iris.inputs, kind: predictions, format: auto}}
  - {{topic: seldon.default.model.iris.outputs, kind: predictions, format: seldon}}
"""
Sent = tuple[str, bytes, dict[str, str | bytes | None], bytes | None]


def mlserver(id_: str, side: str) -> Sent:
    """One half of MLServer."""
    key = id_.encode()
    if side == "request":
        tensor = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.5, 2.5]}
        client: dict[str, str | bytes | None] = {"mlserver-model": "wine", "mlserver-version": "1"}
        return MLSERVER[0], json.dumps({"inputs": [tensor]}).encode(), client, key
    tensor = {"name": "predict", "shape": [2], "datatype": "INT64", "data": [0, 1]}
    headers: dict[str, str | bytes | None] = {
        "Ce-Type": "io.seldon.serving.inference.response",
        "Ce-Requestid": id_,
    }
    body = {"model_name": "wine", "model_version": "1", "id": id_, "outputs": [tensor]}
    return MLSERVER[1], json.dumps(body).encode(), headers, key


def seldon(id_: str, side: str) -> Sent:
    """One half of Seldon Core 2."""
    message: Any = MESSAGES[side]()
    if side == "request":
        message.inputs.add(name="x", datatype="FP32", shape=[1])
        message.raw_input_contents.append(struct.pack("<f", 2.5))
    else:
        message.outputs.add(name="predict", datatype="INT64", shape=[1]).contents.int64_contents.append(1)
    topic = SELDON[0 if side == "request" else 1]
    return topic, message.SerializeToString(), {"x-request-id": id_}, None


def halves(rng: random.Random) -> list[Sent]:
    """Halves in any order; some twice, some without the other."""
    messages: list[Sent] = []
    for made in (mlserver, seldon):
        both = [made(f"r{number}", side) for number in range(PAIRS) for side in ("request", "response")]
        messages += [*both, *rng.sample(both, TWICE)]
        messages += [made(f"alone{number}", "response") for number in range(ALONE)]
    rng.shuffle(messages)
    return messages


def produce(bootstrap: str, messages: list[Sent], rng: random.Random) -> None:
    """Send messages, each to any partition."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
    for topic, value, headers, key in messages:
        producer.produce(topic, value, headers=headers, key=key, partition=rng.randrange(3))
        producer.poll(0)
    assert producer.flush(PATIENCE_S) == 0


def post(url: str, id_: str, side: str, body: Any) -> None:
    """Send an event as KServe's logger does."""
    headers = {
        "ce-specversion": "1.0", "ce-id": id_, "ce-source": "http://localhost:9081/",
        "ce-type": f"org.kubeflow.serving.inference.{side}", "ce-time": "2026-01-05T10:00:00Z",
        "ce-inferenceservicename": "iris-kserve", "ce-namespace": "default", "ce-component": "predictor",
        "ce-endpoint": "", "content-type": "application/json",
    }  # fmt: skip
    answer = httpx.post(f"{url}/api/v1/events", json=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1}), answer.text


def outcomes(engine: Engine) -> dict[str, Counter[str]]:
    """Outcomes by the first part of the topic, that are not 0; the identity holds in every partition."""
    names = ("counted", "late", "future", "dead_lettered", "duplicates", "unpaired", "paired")
    found: dict[str, Counter[str]] = {}
    with reading(engine) as connection:
        for row in connection.execute(text("SELECT * FROM partition_state")):
            mine = {name: getattr(row, name) for name in names if getattr(row, name)}
            assert row.fetched == sum(mine.values()), row
            found.setdefault(row.topic[:6], Counter()).update(mine)
    return found


@pytest.mark.acceptance
@pytest.mark.timeout(1_200)
@pytest.mark.full
def test_every_pair_is_counted_once_by_two_processes_of_which_one_is_killed(tmp_path: Path) -> None:
    path, port = tmp_path / "driftline.yaml", free_port()
    base = f"http://127.0.0.1:{port}"
    with KafkaCluster() as kafka, PostgresServer() as postgres, ExitStack() as closing:
        database = postgres.url(postgres.create_database())
        for topic in ("kserve", *MLSERVER, *SELDON):
            kafka.create_topic(topic, partitions=3)
        path.write_text(CONFIGURATION.format(bootstrap=kafka.bootstrap, database=database, port=port))
        web = closing.enter_context(Service(path, http_url=base))
        web.wait_until_ready()
        beside = tmp_path / "other.yaml"  # the log is written beside it
        beside.write_text(path.read_text())
        other = closing.enter_context(Service(beside, "--role", "ingest", "--http-port", "0"))
        rng = random.Random(7)
        messages = halves(rng)
        for part in range(4):
            produce(kafka.bootstrap, messages[part::4], rng)
            time.sleep(2)
            other.restart_after_kill()
        for number in range(BY_HTTP):
            post(base, f"k{number}", "request", {"instances": [[1, 2], [3, 4]]})
            post(base, f"k{number}", "response", {"predictions": [0, 1]})
        engine = engines.create(database)
        closing.callback(engine.dispose)
        wanted = {
            "kserve": Counter(counted=2 * BY_HTTP, paired=BY_HTTP),
            "mlserv": Counter(counted=2 * PAIRS, paired=PAIRS, duplicates=TWICE, unpaired=ALONE),
            "seldon": Counter(counted=PAIRS, paired=PAIRS, duplicates=TWICE, unpaired=ALONE),
        }
        wait_for(lambda: outcomes(engine) == wanted, what="not every pair is counted", timeout_s=600)
        with reading(engine) as connection:
            query = text("SELECT model, version, sum(rows) FROM slice_profile GROUP BY model, version")
            rows = {(model, version): int(number) for model, version, number in connection.execute(query)}
        assert rows == {
            ("iris-kserve", "unversioned"): 2 * BY_HTTP,
            ("wine", "1"): 2 * PAIRS,
            ("iris", "unversioned"): PAIRS,
        }
        items = httpx.get(f"{base}/api/v1/accounting").json()["items"]
        assert sum(item["unpaired"] for item in items) == 2 * ALONE
        assert web.terminate() == 0
