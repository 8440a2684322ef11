"""Target: bodies of ``POST /api/v1/events``."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from fastapi.testclient import TestClient

from monitor.clock import SystemClock
from monitor.config import Configuration
from monitor.decode.catalog import every
from monitor.decode.formats.cloudevents import CloudEvents
from monitor.door import Sent
from monitor.store import engine as engines
from monitor.store import schema
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from tests.fuzz.target import Target

_TYPES = ("application/json", "application/cloudevents+json", "application/cloudevents-batch+json", "")
_REFUSALS = (400, 413, 415, 422)
_MOST_BYTES = 1 << 20


class _Door:
    """Takes everything, and counts it."""

    def __init__(self) -> None:
        self.messages = 0

    def send(self, _topic: str, messages: Sequence[Sent]) -> None:
        """Take messages."""
        assert messages
        assert all(one.key.encode() is not None for one in messages)
        self.messages += len(messages)


def request_target() -> Target:
    """Make the target: the first byte chooses content type, coding and kind, the rest is the body."""
    seeds = [bytes([0]) + example.message.value for one in every() for example in one.examples()]
    seeds += [bytes([at]) + example.message.value for at in range(3) for example in CloudEvents.examples()]
    seeds += [
        bytes([4]) + gzip.compress(example.message.value, mtime=0) for example in CloudEvents.examples()
    ]
    return Target("http-events", tuple(dict.fromkeys(seeds)), _check, 1)


def _check(data: bytes) -> None:
    """Everything is taken in or nothing, and what is refused is refused with a reason."""
    client, door = _client()
    flags = data[0] if data else 0
    headers = {"content-type": _TYPES[flags & 3]}
    if flags & 4:
        headers["content-encoding"] = "gzip"
    before = door.messages
    kind = "labels" if flags & 8 else "predictions"
    response = client.post(f"/api/v1/events?kind={kind}", content=data[1:], headers=headers)
    taken = door.messages - before
    if response.status_code == 200:
        assert response.json()["accepted"] == taken > 0
    else:
        assert response.status_code in _REFUSALS, (response.status_code, response.text)
        assert taken == 0
        told: dict[str, Any] = msgspec.json.decode(response.content)
        assert told["detail"], told


@cache
def _client() -> tuple[TestClient, _Door]:
    url = f"sqlite:///{tempfile.mkdtemp()}/fuzz.db"
    configuration = Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "127.0.0.1:1"},
            "database_url": url,
            "http": {"events": {"predictions": "p", "labels": "l", "max_bytes": _MOST_BYTES}},
            "streams": [
                {"topic": "p", "kind": "predictions", "format": "auto", "model": "m"},
                {"topic": "l", "kind": "labels", "format": "auto", "model": "m"},
            ],
        }
    )
    engine, door = engines.create(url), _Door()
    schema.upgrade(engine)
    app = create_app(configuration, engine, Telemetry(), SystemClock(), door=door)  # type: ignore[arg-type]
    return TestClient(app, base_url="http://127.0.0.1"), door
