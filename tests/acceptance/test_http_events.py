"""Events by HTTP into a real Kafka and through a real service, also while the broker is away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.kafka import KafkaCluster
from tests.kit.ports import free_port
from tests.kit.service import Service
from tests.kit.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.acceptance

CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: http}}
database_url: sqlite:///{folder}/driftline.db
http:
  host: 127.0.0.1
  port: {port}
  events: {{predictions: http.pp, labels: http.ll, token_file: {folder}/token}}
commit_interval: 500ms
topics: {{control: http.control, results: http.results, alerts: http.alerts}}
streams:
  - {{topic: http.pp, kind: predictions, format: auto, model: churn}}
  - {{topic: http.ll, kind: labels, format: auto, model: churn}}
"""
TOKEN = {"authorization": "Bearer s3cret"}


def event(id_: str, **data: Any) -> dict[str, Any]:
    """A CloudEvent in structured mode."""
    return {"specversion": "1.0", "id": id_, "source": "/s", "type": "t", "data": data}


def accounting(url: str, topic: str, **expected: int) -> dict[str, int] | None:
    """Sums over the partitions of a topic, once they are as expected."""
    items = httpx.get(f"{url}/api/v1/accounting", timeout=60).json()["items"]
    mine = [item for item in items if item["topic"] == topic]
    names = [name for name, value in (mine[0] if mine else {}).items() if isinstance(value, int)]
    found = {name: sum(item[name] for item in mine) for name in names}
    return found if {name: found.get(name) for name in expected} == expected else None


@pytest.mark.full
def test_what_was_answered_for_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    path, base = tmp_path / "driftline.yaml", f"http://127.0.0.1:{(port := free_port())}"
    url, batch = f"{base}/v1/events", {**TOKEN, "content-type": "application/cloudevents-batch+json"}
    with KafkaCluster() as kafka:
        for topic in ("http.pp", "http.ll"):
            kafka.create_topic(topic, partitions=3)
        path.write_text(CONFIGURATION.format(bootstrap=kafka.bootstrap, folder=tmp_path, port=port))
        with Service(path, http_url=base) as service:
            service.wait_until_ready()
            assert httpx.post(url, json=event("x", prediction=1)).status_code == 401
            for number in range(20):
                events = [event(f"e{number}-{i}", prediction=i % 2, score=0.5) for i in range(50)]
                answer = httpx.post(url, content=json.dumps(events), headers=batch)
                assert (answer.status_code, answer.json()) == (200, {"accepted": 50})
            labels = json.dumps([event(f"e0-{i}", label=1) for i in range(50)])
            answer = httpx.post(url, params={"kind": "labels"}, content=labels, headers=batch)
            assert answer.json() == {"accepted": 50}
            wait_for(lambda: accounting(base, "http.pp", counted=1_000), what="events are not counted")
            wait_for(lambda: accounting(base, "http.ll", matched=50), what="labels are not matched")
            kafka.kill(0)
            answer = httpx.post(url, json=event("late", prediction=1), headers=TOKEN, timeout=PATIENCE_S)
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert "s3cret" not in answer.text
            kafka.restart(0)

            def is_taken() -> bool:
                again = httpx.post(url, json=event("late", prediction=1), headers=TOKEN, timeout=PATIENCE_S)
                return again.is_success

            wait_for(is_taken, what="the broker is back and nothing is taken")
            found = wait_for(
                lambda: accounting(base, "http.pp", counted=1_001), what="the late event is not counted"
            )
            assert found["dead_lettered"] == 0
            assert found["fetched"] == found["counted"] + found["duplicates"]
            assert service.terminate() == 0
            assert "s3cret" not in service.log
