"""Events by HTTP: what is taken in, what is refused and why, and that Kafka has what was answered for."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from fastapi.testclient import TestClient
from pydantic import ValidationError

from monitor.clock import SystemClock
from monitor.config import Configuration
from monitor.demo.broker import EmbeddedBroker
from monitor.door import OPTIONS, Door, Sent
from monitor.store import engine as engines
from monitor.store import schema
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from schemas.errors import Unavailable

EVENT = {"model": "m", "prediction": 1, "features": {"x": 1.5}}
ENVELOPE = {"specversion": "1.0", "id": "a1", "source": "/s", "type": "t", "time": "2026-01-01T00:00:00Z"}
BINARY = {f"ce-{name}": value for name, value in ENVELOPE.items()} | {"content-type": "application/json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
PACKED = {"content-encoding": "gzip"}
EVENTS = {"predictions": "pp", "labels": "ll"}


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as made:
        made.create("pp", "ll")
        yield made


def settings(address: str, url: str, **http: Any) -> Configuration:
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": address},
            "database_url": url,
            "http": http,
            "streams": [
                {"topic": "pp", "kind": "predictions", "format": "auto"},
                {"topic": "ll", "kind": "labels", "format": "auto"},
            ],
        }
    )


def client_of(address: str, url: str, door: Door | None, **http: Any) -> TestClient:
    configuration = settings(address, url, **http)
    engine = engines.create(url)
    schema.upgrade(engine)
    app = create_app(configuration, engine, Telemetry(), SystemClock(), door=door)
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def door(broker: EmbeddedBroker) -> Iterator[Door]:
    made = Door(Producer({"bootstrap.servers": broker.address, **OPTIONS, "log_level": 0}), SystemClock())
    yield made
    made.close()


@pytest.fixture
def client(broker: EmbeddedBroker, door: Door, sqlite_url: str) -> Iterator[TestClient]:
    with client_of(broker.address, sqlite_url, door, events=EVENTS) as made:
        yield made


def said(message: Message) -> Any:
    """What a message says."""
    return json.loads(message.value() or b"")


def headers_of(message: Message) -> dict[str, Any]:
    """Headers of a message."""
    return dict(message.headers() or [])


class Reader:
    """Reads what has come to a topic since it was made."""

    def __init__(self, address: str, topic: str) -> None:
        options = {"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "latest"}
        self._consumer = Consumer({**options, "enable.auto.commit": False})
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        places = []
        for number in partitions:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            places.append(TopicPartition(topic, number, high))
        self._places = places

    def has_nothing(self) -> bool:
        """Whether no message has come; to be asked when none can be under way any more."""
        ends = [self._consumer.get_watermark_offsets(place, timeout=10)[1] for place in self._places]
        self._consumer.close()
        return ends == [place.offset for place in self._places]

    def read(self, number: int) -> list[Message]:
        """So many messages, and no more."""
        self._consumer.assign(self._places)
        found = self._consumer.consume(number, timeout=10)
        assert not self._consumer.consume(1, timeout=0.3)
        self._consumer.close()
        return sorted(found, key=lambda one: str(one.key()))


def test_a_cloudevent_in_binary_mode_keeps_its_headers(broker: EmbeddedBroker, client: TestClient) -> None:
    reader = Reader(broker.address, "pp")
    answer = client.post("/api/v1/events", json=EVENT, headers=BINARY)
    assert (answer.status_code, answer.json()) == (200, {"accepted": 1})
    (message,) = reader.read(1)
    assert message.key() == b"a1"
    assert said(message) == EVENT
    headers = headers_of(message)
    assert headers["ce_specversion"] == b"1.0"
    assert headers["content-type"] == b"application/json"
    assert not {name for name in headers if name.startswith(("host", "user-agent", "ce-"))}


def test_a_batch_is_a_message_for_each_event(broker: EmbeddedBroker, client: TestClient) -> None:
    reader = Reader(broker.address, "pp")
    batch = [{**ENVELOPE, "id": id_, "data": EVENT} for id_ in ("b1", "b2", "b3")]
    body = gzip.compress(json.dumps(batch).encode())
    answer = client.post("/v1/events", content=body, headers={**BATCH, "content-encoding": "gzip"})
    assert (answer.status_code, answer.json()) == (200, {"accepted": 3})
    messages = reader.read(3)
    assert [message.key() for message in messages] == [b"b1", b"b2", b"b3"]
    assert [said(message) for message in messages] == batch
    kept = {"content-type": b"application/cloudevents+json"}
    assert [headers_of(message) for message in messages] == [kept] * 3


def test_structured_mode_native_events_and_labels(broker: EmbeddedBroker, client: TestClient) -> None:
    predictions, labels = Reader(broker.address, "pp"), Reader(broker.address, "ll")
    native = {"event_id": "n1", "timestamp": 5, **EVENT}
    assert client.post("/v1/events", json=native).status_code == 200
    assert client.post("/v1/events", json={**ENVELOPE, "data": EVENT}, headers=STRUCTURED).status_code == 200
    label = {"event_id": "n1", "model": "m", "timestamp": 9, "label": 1}
    assert client.post("/v1/events", params={"kind": "labels"}, json=label).status_code == 200
    assert [message.key() for message in predictions.read(2)] == [b"a1", b"n1"]
    assert [said(message) for message in labels.read(1)] == [label]


@pytest.mark.parametrize(
    ("request_", "status", "detail", "where"),
    [
        ({"json": {"a": 1}}, 422, "1 of 1 events cannot be read; none was taken in", "body"),
        ({"content": b"{", "headers": BATCH}, 400, "Input data was truncated", "body"),
        ({"json": {}, "headers": BATCH}, 422, "a batch is a JSON array of at least one CloudEvent", "body"),
        ({"json": [], "headers": BATCH}, 422, "a batch is a JSON array of at least one CloudEvent", "body"),
        (
            {"json": [{**ENVELOPE, "data": EVENT}, {**ENVELOPE, "data": {}}], "headers": BATCH},
            422,
            "1 of 2 events cannot be read; none was taken in",
            "body[1]",
        ),
        (
            {"content": b"no gzip", "headers": {"content-encoding": "gzip"}},
            400,
            "the body is no gzip",
            "body",
        ),
        (
            {"content": gzip.compress(b"{}")[:-9], "headers": {"content-encoding": "gzip"}},
            400,
            "the body ends in the middle of its gzip",
            "body",
        ),
        (
            {"content": b"x", "headers": {"content-encoding": "br"}},
            415,
            "content-encoding br is not known",
            "header.content-encoding",
        ),
        ({"json": EVENT, "params": {"kind": "lables"}}, 422, "", "query.kind"),
    ],
)
def test_what_cannot_be_meant_is_refused_whole(
    broker: EmbeddedBroker,
    client: TestClient,
    request_: dict[str, Any],
    status: int,
    detail: str,
    where: str,
) -> None:
    reader = Reader(broker.address, "pp")
    answer = client.post("/api/v1/events", **request_)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in answer.json()["detail"]
    assert answer.json()["errors"][0]["where"] == where
    assert reader.has_nothing()


def test_bodies_are_limited_packed_and_unpacked(broker: EmbeddedBroker, door: Door, tmp_path: Any) -> None:
    events = {**EVENTS, "max_bytes": 100_000}
    with client_of(broker.address, f"sqlite:///{tmp_path}/d.db", door, events=events) as client:
        large = {"event_id": "n", "timestamp": 5, **EVENT, "tags": {"t": "x" * 90_000}}
        assert client.post("/v1/events", json=large).status_code == 200
        large["tags"] = {"t": "x" * 110_000}
        assert client.post("/v1/events", json=large).status_code == 413
        packed = gzip.compress(json.dumps(large).encode())
        answer = client.post("/v1/events", content=packed, headers=PACKED)
        assert answer.status_code == 413
        assert "unpacked (use at most 100000 bytes)" in answer.json()["detail"]
        assert client.post("/api/v1/alerts/x/resolve", content=b"x" * 70_000).status_code == 413


def test_the_token_is_asked_for(
    broker: EmbeddedBroker, door: Door, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOOR_TOKEN", "s3cret")
    events = {**EVENTS, "token_env": "DOOR_TOKEN"}
    with client_of(broker.address, f"sqlite:///{tmp_path}/d.db", door, events=events) as client:
        for given in (None, "Bearer wrong", "Basic other", "Bearer"):
            headers = {**BINARY, **({} if given is None else {"authorization": given})}
            answer = client.post("/v1/events", json=EVENT, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "s3cret" not in answer.text
        right = {**BINARY, "authorization": "bearer s3cret"}
        assert client.post("/v1/events", json=EVENT, headers=right).status_code == 200


def test_without_topics_nothing_is_taken(broker: EmbeddedBroker, door: Door, tmp_path: Any) -> None:
    with client_of(broker.address, f"sqlite:///{tmp_path}/d.db", door) as client:
        answer = client.post("/v1/events", json=EVENT)
        assert answer.status_code == 404
        assert answer.json()["errors"][0]["allowed"] == "see http.events in the configuration"
    only = {"predictions": "pp"}
    with client_of(broker.address, f"sqlite:///{tmp_path}/d.db", door, events=only) as client:
        answer = client.post("/v1/events", params={"kind": "labels"}, json=EVENT)
        assert answer.status_code == 404
        assert answer.json()["detail"] == "labels are not taken in by HTTP here"


def test_brokers_that_are_away_are_said_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    options = {**OPTIONS, "message.timeout.ms": 300, "bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    away = Door(Producer(options), SystemClock())
    with client_of("127.0.0.1:1", f"sqlite:///{tmp_path}/d.db", away, events=EVENTS) as client:
        answer = client.post("/v1/events", json=EVENT, headers=BINARY)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "Kafka has not taken the events" in answer.json()["detail"]
    monkeypatch.setattr("monitor.door.TIMEOUT_S", 0.1)
    silent = Door(Producer({**options, "message.timeout.ms": 60_000}), SystemClock())
    with pytest.raises(Unavailable, match="Kafka does not answer"):
        silent.send("pp", [Sent("k", b"v")])


def test_messages_that_brokers_find_too_large_are_said_so(broker: EmbeddedBroker, tmp_path: Any) -> None:
    small = Door(
        Producer(
            {"bootstrap.servers": broker.address, **OPTIONS, "log_level": 0, "message.max.bytes": 1_000}
        ),
        SystemClock(),
    )
    with client_of(broker.address, f"sqlite:///{tmp_path}/d.db", small, events=EVENTS) as client:
        answer = client.post("/v1/events", json={**EVENT, "tags": {"t": "x" * 2_000}}, headers=BINARY)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "a message is larger than the brokers take"


@pytest.mark.parametrize(
    ("http", "problem"),
    [
        ({"events": {}}, "names no topic (give predictions, or labels, or both)"),
        ({"events": {"predictions": "xx"}}, "'xx' is no stream of predictions (use pp)"),
        ({"events": {"labels": "pp"}}, "'pp' is no stream of labels (use ll)"),
        (
            {"host": "10.0.0.1", "events": {"predictions": "pp"}},
            "needs a token, since 10.0.0.1 can be reached",
        ),
        (
            {"events": {"predictions": "pp", "token_env": "A", "token_file": "b"}},
            "stands beside token_env (give one of them)",
        ),
    ],
)
def test_configurations_that_cannot_be_meant(http: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings("x:1", "sqlite:///d.db", **http)
    assert problem in str(caught.value)


def test_a_missing_token_is_found_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOOR_TOKEN", raising=False)
    configuration = settings("x:1", "sqlite:///d.db", events={**EVENTS, "token_env": "DOOR_TOKEN"})
    assert [str(problem) for problem in configuration.secret_problems()] == [
        "driftline.yaml:1: http.events.token_env: environment variable DOOR_TOKEN is not set"
    ]
