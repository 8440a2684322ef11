"""A stream with a planted drift, and the service that watches it."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from tests.kit.waiting import wait_for

MODEL = "churn"
START_MS = 1_767_225_600_000
EVENTS, EVERY_MS, DRIFT_FROM = 28_800, 1_000, 21_600  # eight hours, the last two of them shifted
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: "{topic}"}}
database_url: "{database}"
http: {{host: 127.0.0.1, port: {port}, public_url: "{url}"}}
commit_interval: 500ms
topics: {{control: "{topic}.control"}}
streams: [{{topic: "{topic}", kind: predictions, format: json}}]
defaults: {{slice: 1m, windows: [10m], lateness: 1m, horizon: 30d, reference: {{first: 3h}}}}
alerts:
  budget: 1 per week
  routes: [{{match: {{}}, to: [retrain]}}]
receivers: {{retrain: {receiver}}}
"""


def send(bootstrap: str, topic: str) -> None:
    """Send the stream."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "log_level": 0})
    rng = random.Random(8)
    for number in range(EVENTS):
        producer.produce(topic, event(number, rng), partition=number % 2)
        if number % 2_000 == 0:
            producer.poll(0)
    assert producer.flush(60) == 0


def event(number: int, rng: random.Random) -> bytes:
    """One prediction; what comes late in the stream is older and scores higher."""
    shift = 1.2 if number >= DRIFT_FROM else 0.0
    return json.dumps(
        {
            "event_id": f"e{number}",
            "model": MODEL,
            "version": "1",
            "timestamp": START_MS + number * EVERY_MS,
            "features": {"age": rng.gauss(40 + 8 * shift, 9), "plan": rng.choice("abc")},
            "prediction": 1,
            "score": min(0.999, max(0.001, rng.betavariate(2, 5) + 0.25 * shift)),
        }
    ).encode()


def write_configuration(path: Path, receiver: Mapping[str, object], **values: object) -> None:
    """Write the configuration of a service with one receiver."""
    path.write_text(CONFIGURATION.format(receiver=json.dumps(receiver), **values))


def listed(url: str, what: str) -> list[dict[str, Any]]:
    """All of a list of the API."""
    answer = wait_for(
        lambda: httpx.get(f"{url}/api/v1/{what}", params={"limit": 500}, timeout=30),
        what="the service does not answer",
        timeout_s=60,
        ignoring=(httpx.TransportError,),
    )
    answer.raise_for_status()
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def started(url: str) -> dict[str, Any] | None:
    """The request for training whose run is known; None before that, and never a second one."""
    known = [one for one in listed(url, "retraining") if one["run_url"]]
    if len(known) > 1:
        pytest.fail(f"more than one run was started: {known}")
    return known[0] if known else None
