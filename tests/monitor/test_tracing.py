"""Spans: what is told where tracing is on, that nothing waits for it, and that it is off unless asked for."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from alerting.http.trace_context import called_in, trace_headers
from monitor import logs
from monitor.app import Role, Service
from monitor.clock import ManualClock
from monitor.config import Configuration, load
from monitor.config.tracing import Tracing
from monitor.ingest import Ingest
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.positions import accounting, ensure_counters
from monitor.telemetry import Telemetry
from monitor.tracing import batches, setting_up, tracer
from monitor.tracing.context import SpanIdentity, read_traceparent
from monitor.tracing.otlp import MOST_WAITING, OtlpTracer
from schemas.errors import ConfigurationError
from tests.kit.kafka import KafkaCluster
from tests.kit.otlp import OtlpReceiver, attributes, otlp_receiver
from tests.kit.ports import free_port
from tests.kit.waiting import wait_for
from tests.monitor.delivery_world import Endpoint as Far
from tests.monitor.delivery_world import deliverer, drain, judge, opened
from tests.monitor.test_judge import World as JudgedWorld

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
SENDER = SpanIdentity(TRACE, 0xB7AD6B7169203331, True)
NOW_MS = 1_767_225_600_000


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as made:
        yield made


@pytest.fixture
def traced(receiver: OtlpReceiver) -> Iterator[OtlpReceiver]:
    """Tracing of this process, all of it."""
    tracer.turn_on(OtlpTracer(receiver.address, {}, 1.0, {"service.name": "driftline"}))
    yield receiver
    tracer.turn_off()


# --- the header -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None, "", "00", b"\xff\xfe", "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-" + "x" * 999,
    ],
)  # fmt: skip
def test_what_is_no_traceparent_is_none(value: str | bytes | None) -> None:
    assert read_traceparent(value) is None


def test_a_traceparent_is_read_as_it_is_written() -> None:
    for known in (SENDER, SENDER._replace(is_sampled=False)):
        assert read_traceparent(known.traceparent) == known
        assert read_traceparent(known.traceparent.encode()) == known
    later = SENDER.traceparent.replace("00-", "01-", 1) + "-of a later version"
    assert read_traceparent(later) == SENDER


# --- taking in --------------------------------------------------------------------------------------------


class Taking:
    """One ingest process on a broker in memory."""

    def __init__(self, url: str) -> None:
        self.clock, self.broker = ManualClock(NOW_MS), MemoryBroker()
        self.broker.create_topic("pp")
        self.engine = engines.create(url)
        schema.upgrade(self.engine)
        ensure_counters(self.engine)
        self.source = MemorySource(self.broker, self.clock)
        configuration = Configuration.model_validate(
            {
                "kafka": {"bootstrap_servers": "memory"},
                "database_url": "sqlite:///unused.db",
                "streams": [{"topic": "pp", "kind": "predictions"}],
            }
        )
        self.ingest = Ingest(configuration, self.engine, self.source, self.clock, Telemetry())
        self.ingest.begin()

    def send(self, number: int, traceparent: str | None = None) -> None:
        headers = () if traceparent is None else (("traceparent", traceparent.encode()),)
        for _ in range(number):
            event = {
                "event_id": f"e{self.clock.now_ms()}", "model": "m", "timestamp": NOW_MS, "prediction": 1,
                "features": {"x": 1.0},
            }  # fmt: skip
            self.broker.append("pp", 0, json.dumps(event).encode(), timestamp_ms=NOW_MS, headers=headers)
            self.clock.advance(1)

    def take(self) -> None:
        self.ingest.step()
        self.ingest.commit()

    def counted(self) -> int:
        with engines.reading(self.engine) as connection:
            return int(accounting(connection)[0]["counted"])

    def close(self) -> None:
        self.ingest.abandon()
        self.engine.dispose()


@pytest.fixture
def taking(sqlite_url: str) -> Iterator[Taking]:
    made = Taking(sqlite_url)
    yield made
    made.close()


def test_a_batch_is_tied_to_the_traces_of_its_messages(taking: Taking, traced: OtlpReceiver) -> None:
    taking.send(3, SENDER.traceparent)
    taking.send(1, SENDER._replace(trace_id=5, is_sampled=False).traceparent)
    taking.send(1, "nonsense")
    taking.send(1)
    taking.take()
    taking.ingest.step()  # nothing is there: no trace of it
    tracer.turn_off()
    (batch,) = traced.named("ingest batch")
    assert [int.from_bytes(link.trace_id, "big") for link in batch.links] == [TRACE]
    assert attributes(batch)["messaging.batch.message_count"] == 6
    parts = [span for span in traced.spans if span is not batch]
    assert [span.name for span in parts] == ["consume", "decode", "check", "profile", "commit"]
    assert {span.parent_span_id for span in parts} == {batch.span_id}
    assert {span.trace_id for span in traced.spans} == {batch.trace_id}
    assert attributes(parts[1])["messaging.destination.name"] == "pp"
    assert taking.counted() == 6


def test_few_messages_are_asked_for_their_headers_however_many_there_are(
    taking: Taking, traced: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    headers_of = taking.source.headers_of
    trace = batches.BatchTrace(lambda raw: asked.append(raw) or headers_of(raw))  # type: ignore[func-returns-value]
    monkeypatch.setattr(taking.ingest, "_trace", trace)
    taking.send(5_000, SENDER.traceparent)
    taking.take()
    assert 1 <= len(asked) <= batches.MOST_LOOKED_AT
    tracer.turn_off()
    (batch,) = traced.named("ingest batch")
    assert len(batch.links) == 1


def test_batches_outside_the_sample_cost_nothing_and_are_not_told(
    taking: Taking, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(taking.ingest, "_trace", batches.BatchTrace(lambda raw: asked.append(raw) or []))  # type: ignore[func-returns-value]
    tracer.turn_on(OtlpTracer(receiver.address, {}, 0.0, {}))
    taking.send(10, SENDER.traceparent)
    taking.take()
    tracer.turn_off()
    assert (asked, receiver.spans, taking.counted()) == ([], [], 10)


def test_what_is_read_again_is_told_of_as_dropped(taking: Taking, traced: OtlpReceiver) -> None:
    taking.send(2)
    taking.ingest.step()
    taking.ingest.lost([])
    taking.ingest.step()
    taking.ingest.step()
    taking.ingest.commit()
    tracer.turn_off()
    assert [attributes(one)["driftline.is_dropped"] for one in traced.named("ingest batch")] == [True, False]
    assert taking.counted() == 2


def test_a_receiver_that_is_away_holds_nothing_up(taking: Taking) -> None:
    """Spans beyond the queue are dropped; events are not."""
    made = OtlpTracer(f"http://127.0.0.1:{free_port()}", {}, 1.0, {})
    tracer.turn_on(made)
    for _ in range(3 * MOST_WAITING):
        with tracer.span("something"):
            pass
    processor: Any = made._provider._active_span_processor._span_processors[0]
    assert len(processor._batch_processor._queue) <= MOST_WAITING
    taking.send(20)
    taking.take()
    tracer.turn_off()
    assert taking.counted() == 20
    assert not tracer.is_on()


# --- judging and telling ----------------------------------------------------------------------------------


def test_every_judged_window_is_a_span(sqlite_url: str, traced: OtlpReceiver) -> None:
    world = JudgedWorld(sqlite_url)
    world.send(0, 102, per_minute=20)
    judged = world.judge.sweep()
    world.close()
    tracer.turn_off()
    told = [attributes(span) for span in traced.named("judge window of events")]
    done = [one for one in told if one["driftline.is_judged"]]
    assert len(done) == len(judged) > 0
    assert {(one["driftline.model"], one["driftline.version"]) for one in done} == {("churn", "1")}
    assert {one["driftline.window"] for one in done} == {"10m", "30m"}
    assert sum(int(one["driftline.rows"]) for one in done if one["driftline.window"] == "10m") == 4 * 200


class Traced(Far):
    """The far side of a delivery; keeps the headers it would be called with."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[dict[str, str]] = []
        self.mood = lambda _notice: self.headers.append(trace_headers())


def test_a_delivery_hands_its_span_on(sqlite_url: str, traced: OtlpReceiver) -> None:
    from tests.alerting.factory import window

    with opened(sqlite_url) as engine:
        clock, far = ManualClock(NOW_MS), Traced()
        judge(engine, clock, window(0, ["age"]))
        drain(engine, clock, lambda: deliverer(engine, clock, far))
        tracer.turn_off()
        (sending,) = traced.named("deliver")
        about = attributes(sending)
        assert (about["driftline.receiver"], about["driftline.outcome"]) == ("hook", "delivered")
        [headers] = far.headers
        identity = read_traceparent(headers["traceparent"])
        assert identity is not None
        assert identity.span_id.to_bytes(8, "big") == sending.span_id
        assert trace_headers() == {}


def test_webhooks_are_called_with_the_span() -> None:
    from tests.alerting.test_webhook import NEW, STORY, make

    got: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            got.append(self.headers["traceparent"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    assert NEW
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hook = make(f"http://127.0.0.1:{server.server_address[1]}/hook")
    hook.send(STORY[0], None)
    with called_in(SENDER.traceparent):
        hook.send(STORY[0], None)
    server.shutdown()
    server.server_close()
    thread.join()
    assert got == [None, SENDER.traceparent]


# --- log lines --------------------------------------------------------------------------------------------


def test_log_lines_name_their_span(traced: OtlpReceiver) -> None:
    stream = io.StringIO()
    logs.set_up("json", "info", stream)
    log = logging.getLogger("monitor.test")
    log.info("outside")
    with tracer.span("doing") as doing:
        log.info("inside")
    outside, inside = map(json.loads, stream.getvalue().splitlines())
    assert "trace_id" not in outside
    assert doing.identity is not None
    assert inside["trace_id"] == f"{doing.identity.trace_id:032x}"
    assert inside["span_id"] == f"{doing.identity.span_id:016x}"
    with pytest.raises(ValueError, match="it"), tracer.span("failing"):
        raise ValueError("it, with a secret")  # noqa: EM101
    tracer.turn_off()
    (failed,) = traced.named("failing")
    assert failed.status.code == 2
    assert "secret" not in str(failed)
    assert attributes(failed)["error.type"] == "ValueError"


# --- the whole service ------------------------------------------------------------------------------------


@pytest.mark.acceptance
def test_from_a_request_to_the_commit(
    tmp_path: Path, receiver: OtlpReceiver, kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPANS", "authorization=Bearer%20sesame-of-spans")
    topic = kafka.create_topic("traced")
    file = tmp_path / "driftline.yaml"
    file.write_text(f"""\
kafka: {{bootstrap_servers: "{kafka.bootstrap}", group_id: traced}}
database_url: "sqlite:///{tmp_path}/d.db"
streams: [{{topic: {topic}, kind: predictions, format: auto}}]
http: {{port: 0, events: {{predictions: {topic}}}}}
commit_interval: 200ms
tracing: {{endpoint: "{receiver.address}", headers_env: SPANS, sample: 1, service_name: watcher}}
""")
    service = Service(load(str(file)), Role.ALL)
    try:
        service.start()
        url = f"{service.serving.url}/api/v1/events"
        event = {"event_id": "f-1", "timestamp": "2026-01-31T10:00:00Z", "model": "m", "prediction": 1}
        headers = {"traceparent": SENDER.traceparent}
        assert httpx.post(url, json=event, headers=headers, timeout=60).status_code == 200
        batch = wait_for(
            lambda: next(iter(receiver.named("ingest batch")), None), what="no span of the batch came"
        )
    finally:
        service.close()
        kafka.delete_topic(topic)
    (taking,) = receiver.named("take events in")
    assert int.from_bytes(taking.trace_id, "big") == TRACE
    assert int.from_bytes(taking.parent_span_id, "big") == SENDER.span_id
    assert [int.from_bytes(link.trace_id, "big") for link in batch.links] == [TRACE]
    assert [link.span_id for link in batch.links] == [taking.span_id]
    assert receiver.resources[0]["service.name"] == "watcher"
    assert receiver.resources[0]["driftline.role"] == "all"
    assert {one["authorization"] for one in receiver.headers} == {"Bearer sesame-of-spans"}
    assert logs.mask("sesame-of-spans? Bearer sesame-of-spans") == "sesame-of-spans? (hidden)"
    assert not tracer.is_on()


def test_without_the_section_nothing_is_imported_and_nothing_sent(
    tmp_path: Path, receiver: OtlpReceiver
) -> None:
    """Variables of OpenTelemetry alone switch nothing on."""
    (tmp_path / "driftline.yaml").write_text("""\
kafka: {bootstrap_servers: "127.0.0.1:1"}
database_url: "sqlite:///d.db"
streams: [{topic: pp, kind: predictions}]
""")
    program = """\
import sys
import monitor.app
from monitor.config import load
from monitor.tracing import setting_up, tracer
print(setting_up.set_up(load("driftline.yaml"), "all"))
with tracer.span("something"):
    pass
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address,
        "OTEL_TRACES_EXPORTER": "otlp",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n[]\n"
    assert receiver.spans == []


# --- the configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"endpoint": "collector:4318"}, "is not the address of an OTLP/HTTP receiver"),
        ({"endpoint": "http://ann:hunter2@collector:4318"}, "holds credentials"),
        ({"endpoint": "http://collector:4318/v1/traces"}, "leave /v1/traces out"),
        ({"endpoint": "http://c:4318", "sample": 2}, "less than or equal to 1"),
        ({"endpoint": "http://c:4318", "headers_env": "A", "headers_file": "b"}, "give one of them"),
        ({}, "Field required"),
    ],
)
def test_what_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Tracing.model_validate(options)
    assert says in str([error["msg"] for error in caught.value.errors(include_context=False)])
    assert "hunter2" not in str([error["msg"] for error in caught.value.errors(include_context=False)])


def test_headers_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    options = Tracing.model_validate({"endpoint": "http://c:4318", "headers_env": "H"})
    assert options.headers({"H": "a=1, X-Key = b%2Cc"}) == {"a": "1", "x-key": "b,c"}
    with pytest.raises(ConfigurationError, match="H does not hold headers"):
        options.headers({"H": "just a token"})
    assert Tracing.model_validate({"endpoint": "http://c:4318"}).headers({}) == {}
    (tmp_path / "h").write_text("k=v\n")
    file = Tracing.model_validate({"endpoint": "http://c:4318", "headers_file": str(tmp_path / "h")})
    assert file.headers() == {"k": "v"}


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "driftline.yaml"
    file.write_text("""\
kafka: {bootstrap_servers: "127.0.0.1:1"}
database_url: "sqlite:///d.db"
streams: [{topic: pp, kind: predictions}]
tracing: {endpoint: "http://127.0.0.1:4318"}
""")
    configuration = load(str(file))
    assert [str(one) for one in configuration.advice()] == []
    monkeypatch.setattr("monitor.config.tracing.find_spec", lambda _name: None)
    (problem,) = configuration.advice()
    assert "install driftline[otel]" in str(problem)
    with pytest.raises(ConfigurationError, match=r"driftline\.yaml:4: tracing: needs OpenTelemetry"):
        setting_up.set_up(configuration, "all")
    assert not tracer.is_on()
