"""Dead letters of a real service on a real Kafka: sent on, and replayed once its configuration is mended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, Producer

from tests.kit.kafka import KafkaCluster
from tests.kit.ports import free_port
from tests.kit.service import Service
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.acceptance

CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: letters}}
database_url: sqlite:///{folder}/driftline.db
http: {{host: 127.0.0.1, port: {port}}}
commit_interval: 500ms
dead_letters: {{topic: dl.letters}}
topics: {{control: dl.control, results: dl.results, alerts: dl.alerts}}
streams:
  - {{topic: dl.pp, kind: predictions, {stream}}}
"""
LETTERS, ORDINARY = 300, 200


def send(kafka: KafkaCluster) -> None:
    """Send messages without a model, and some with one."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(LETTERS + ORDINARY):
        event: dict[str, Any] = {"event_id": f"e{number}", "timestamp": 1_767_225_600_000, "prediction": 1}
        if number >= LETTERS:
            event |= {"model": "m"}
        producer.produce("dl.pp", json.dumps(event).encode(), key=f"k{number}".encode())
    assert producer.flush(60) == 0


def accounting(base: str) -> dict[str, int]:
    """Sums over the partitions."""
    items = httpx.get(f"{base}/api/v1/accounting").json()["items"]
    names = ("fetched", "counted", "late", "future", "dead_lettered", "duplicates")
    return {name: sum(item[name] for item in items) for name in names}


def sent_on(kafka: KafkaCluster) -> set[str]:
    """Ids of the events of all letters that were sent on, once they all have come."""
    options = {"bootstrap.servers": kafka.bootstrap, "group.id": "look", "auto.offset.reset": "earliest"}
    consumer = Consumer(options)
    consumer.subscribe(["dl.letters"])
    found: set[str] = set()

    def have_come() -> bool:
        for message in consumer.consume(200, 0.2):
            if message.error() is None:
                assert dict(message.headers() or [])["__connect.errors.topic"] == b"dl.pp"
                found.add(json.loads(message.value() or b"")["event_id"])
        return len(found) >= LETTERS

    try:
        wait_for(have_come, what="letters were not sent on")
    finally:
        consumer.close()
    return found


@pytest.mark.full
def test_letters_are_sent_on_and_replayed_through_kills(tmp_path: Path) -> None:
    path, base = tmp_path / "driftline.yaml", f"http://127.0.0.1:{(port := free_port())}"
    with KafkaCluster() as kafka:
        kafka.create_topic("dl.pp", partitions=3)
        send(kafka)

        def write(stream: str) -> None:
            path.write_text(
                CONFIGURATION.format(bootstrap=kafka.bootstrap, folder=tmp_path, port=port, stream=stream)
            )

        write("format: json")
        with Service(path, http_url=base) as service:
            service.wait_until_ready()
            wait_for(lambda: accounting(base)["fetched"] == LETTERS + ORDINARY, what="messages are not read")
            assert accounting(base)["dead_lettered"] == LETTERS
            assert sent_on(kafka) == {f"e{number}" for number in range(LETTERS)}
            answer = httpx.post(f"{base}/api/v1/dead-letters/replay", json={"reason": "model"})
            assert answer.json()["marked"] == LETTERS
        write("format: auto, model: m")
        for _ in range(2):
            with Service(path, http_url=base) as service:
                service.wait_until_ready()
                service.kill()
        with Service(path, http_url=base) as service:
            service.wait_until_ready()
            wait_for(
                lambda: not httpx.get(f"{base}/api/v1/dead-letters?status=marked").json()["items"],
                what="letters are not replayed",
            )
            httpx.post(f"{base}/api/v1/dead-letters/replay", json={"reason": "model"})
            wait_for(
                lambda: not httpx.get(f"{base}/api/v1/dead-letters?status=marked").json()["items"],
                what="letters are not replayed",
            )
            assert accounting(base) == {
                "fetched": LETTERS + ORDINARY, "counted": LETTERS + ORDINARY, "late": 0, "future": 0,
                "dead_lettered": 0, "duplicates": 0,
            }  # fmt: skip
            [model] = httpx.get(f"{base}/api/v1/models").json()["items"]
            assert model["rows"] == LETTERS + ORDINARY
