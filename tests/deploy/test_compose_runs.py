"""The services of compose.yaml, each with its own command, environment and files, work together."""

import signal

import httpx
import pytest

from tests.deploy.compose_world import Stack
from tests.kit.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.acceptance
EVENT = '{{"event_id": "{}", "model": "churn", "timestamp": "2026-01-01T00:00:00Z", "prediction": {}}}'
ROLES = ("ingest", "evaluate", "web")


def test_an_event_goes_through_all_services(bare_postgres_url, tmp_path):
    with Stack(tmp_path, bare_postgres_url) as stack:
        broker = stack.start_kafka()
        assert "upgraded from nothing" in stack.migrate()
        stack.wait_for_kafka(broker)
        stack.make_topics()
        prometheus = stack.start_prometheus()
        running = stack.start_driftline(*ROLES)
        web = f"http://{stack.address('web:8420')}"

        token = (stack.secrets / "events_token").read_text().strip()
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        for number in range(10):
            event = EVENT.format(number, number % 2)
            sent = httpx.post(f"{web}/api/v1/events", content=event, headers=headers, timeout=PATIENCE_S)
            assert (sent.status_code, sent.json()) == (200, {"accepted": 1})
        assert httpx.post(f"{web}/api/v1/events", content=EVENT.format(1, 1)).status_code == 401

        def counted():
            items = httpx.get(f"{web}/api/v1/accounting", timeout=60).json()["items"]
            return sum(item["counted"] for item in items if item["topic"] == "predictions") == 10

        wait_for(counted, what="the events are not counted")
        assert "churn" in httpx.get(f"{web}/", timeout=60).text

        def is_up():
            query = {"query": 'up{job="driftline"} == 1'}
            answer = httpx.get(f"{prometheus}/api/v1/query", params=query, timeout=60).json()
            return len(answer["data"]["result"]) == len(ROLES)

        wait_for(is_up, what="Prometheus does not reach all services")
        rules = httpx.get(f"{prometheus}/api/v1/rules", timeout=60).json()["data"]["groups"]
        assert {group["name"] for group in rules} >= {"driftline-models", "driftline-service"}
        known = httpx.get(f"{prometheus}/api/v1/alertmanagers", timeout=60).json()["data"][
            "activeAlertmanagers"
        ]
        assert [one["url"] for one in known] == [f"http://{stack.address('alertmanager:9093')}/api/v2/alerts"]

        for process in running:
            process.send(signal.SIGTERM)
        assert [process.wait(PATIENCE_S) for process in running] == [0, 0, 0]
        for name in ROLES:
            assert "Read-only" not in (tmp_path / f"{name}.log").read_text()
