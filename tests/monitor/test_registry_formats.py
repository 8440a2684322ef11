"""Messages whose schema a registry keeps: Avro, Protobuf and JSON, with the key in front or in a header."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from monitor import cli
from monitor.decode.catalog import build, translated
from monitor.decode.message import Message
from monitor.decode.reading import Reading
from monitor.decode.registry import Schema, document_of
from monitor.decode.registry_client import RegistryClient
from schemas.errors import EventError, Unavailable
from tests.monitor.registry_world import (
    FakeRegistry,
    avro,
    by_guid,
    by_id,
    fake_registry,
    proto_fields,
    proto_file,
)

EVENT = {"event_id": "f-1", "model": "m", "timestamp": 5, "prediction": 1, "features": {"a": 1.5}}
NATIVE = {
    "type": "record",
    "name": "Prediction",
    "namespace": "org.example",
    "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "model", "type": "string"},
        {"name": "timestamp", "type": "long"},
        {"name": "prediction", "type": "int"},
        {"name": "score", "type": ["null", "double"], "default": None},
        {"name": "features", "type": {"type": "map", "values": ["double", "string", "boolean"]}},
    ],
}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as made:
        yield made


def read(
    registry: FakeRegistry, value: bytes, headers: Any = (), format_: str = "registry", **options: Any
) -> list[dict[str, Any]]:
    """Events of a message, without what Kafka adds."""
    client = RegistryClient(registry.url, httpx.HTTPTransport(trust_env=False))
    decoder = translated(format_, Reading(registry=client, **options))
    path, events = decoder.translate(Message(value, headers, 1), "predictions")
    assert path.startswith("registry/")
    return events


@pytest.mark.parametrize("format_", ["registry", "auto"])
def test_avro_in_native_form(registry: FakeRegistry, format_: str) -> None:
    guid = registry.add_avro(1_000, NATIVE)
    value = avro(NATIVE, EVENT)
    assert read(registry, by_id(1_000, value), format_=format_) == [EVENT]
    assert read(registry, by_guid(guid, value), format_=format_) == [EVENT]
    header = [("__value_schema_id", by_guid(guid, b""))]
    assert read(registry, value, header, format_) == [EVENT]


def test_the_header_goes_before_what_is_in_front(registry: FakeRegistry) -> None:
    registry.add_avro(1, "bytes")
    guid = registry.add_avro(2, NATIVE)
    assert read(registry, avro(NATIVE, EVENT), [("__value_schema_id", by_guid(guid, b""))]) == [EVENT]
    with pytest.raises(EventError, match="no schema in the header __value_schema_id"):
        read(registry, by_id(2, avro(NATIVE, EVENT)), [("__value_schema_id", b"\x01half")])


def test_every_type_of_avro_becomes_what_json_has(registry: FakeRegistry) -> None:
    types: dict[str, Any] = {
        "price": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
        "day": {"type": "int", "logicalType": "date"},
        "at": {"type": "long", "logicalType": "timestamp-micros"},
        "local": {"type": "long", "logicalType": "local-timestamp-millis"},
        "colour": {"type": "enum", "name": "C", "symbols": ["RED", "BLUE"]},
        "raw": "bytes",
        "code": {"type": "fixed", "name": "F", "size": 2},
        "id": {"type": "string", "logicalType": "uuid"},
        "many": {"type": "array", "items": "float"},
        "inner": {"type": "record", "name": "I", "fields": [{"name": "x", "type": "long"}]},
        "nothing": ["null", "long"],
    }
    fields = [{"name": name, "type": type_} for name, type_ in types.items()]
    schema = {"type": "record", "name": "R", "fields": [*fields, {"name": "prediction", "type": "boolean"}]}
    moment = datetime(2026, 1, 1, 10, 30, tzinfo=UTC)
    value = {
        "price": Decimal("12.50"), "day": date(2026, 1, 2),
        "at": moment, "local": moment.replace(tzinfo=None),
        "colour": "BLUE", "raw": b"\xff\xfe", "code": b"ab", "id": "8d0c3ac1-c5f2-4a6f-9f3c-0a6c2c1f2b11",
        "many": [1.5, 2.5], "inner": {"x": 2**40}, "nothing": None, "prediction": True,
    }  # fmt: skip
    registry.add_avro(1, schema)
    [event] = read(registry, by_id(1, avro(schema, value)), fields={"event_id": "id"}, model="m")
    assert event == {
        "event_id": "8d0c3ac1-c5f2-4a6f-9f3c-0a6c2c1f2b11",
        "model": "m",
        "timestamp": 1,
        "prediction": True,
        "features": {
            "price": 12.5, "day": "2026-01-02T00:00:00Z", "at": "2026-01-01T10:30:00+00:00",
            "local": "2026-01-01T10:30:00+00:00", "colour": "BLUE", "raw": None, "code": "ab",
            "many": [1.5, 2.5], "inner": {"x": 2**40}, "nothing": None,
        },
    }  # fmt: skip


@pytest.mark.parametrize("top", ["org.f.Features", ["null", "org.f.Features"]])
def test_avro_with_references(registry: FakeRegistry, top: Any) -> None:
    inner = {"type": "record", "name": "org.g.Inner", "fields": [{"name": "y", "type": "long"}]}
    outer = {
        "type": "record",
        "name": "org.f.Features",
        "fields": [{"name": "prediction", "type": "int"}, {"name": "i", "type": "org.g.Inner"}],
    }
    registry.add_avro(1, inner)
    registry.add_avro(2, outer, [{"name": "org.g.Inner", "subject": "inner", "version": 1}])
    registry.versions |= {("inner", 1): 1, ("outer", 4): 2}
    registry.add_avro(
        3,
        top,
        [
            {"name": "org.g.Inner", "subject": "inner", "version": 1},
            {"name": "org.f.Features", "subject": "outer", "version": 4},
        ],
    )
    branch = b"\x02" if isinstance(top, list) else b""
    value = branch + avro(outer, {"prediction": 3, "i": {"y": 4}}, inner)
    [event] = read(registry, by_id(3, value), model="m")
    assert (event["prediction"], event["i"]) == (3, {"y": 4})


def test_fields_of_the_stream_hold_although_a_name_looks_native(registry: FakeRegistry) -> None:
    fields = [{"name": "customer", "type": "long"}, {"name": "prediction", "type": "int"}]
    schema = {"type": "record", "name": "R", "fields": [*fields, {"name": "age", "type": "int"}]}
    registry.add_avro(1, schema)
    value = by_id(1, avro(schema, {"customer": 7, "prediction": 1, "age": 40}))
    [event] = read(registry, value, fields={"event_id": "customer"}, model="m")
    assert event == {
        "event_id": "7", "model": "m", "timestamp": 1, "prediction": 1, "features": {"age": 40}
    }  # fmt: skip


def test_other_formats_inside(registry: FakeRegistry) -> None:
    registry.add(1, '{"type": "object"}', "JSON")
    data = {key: EVENT[key] for key in ("model", "prediction")}
    envelope = {"specversion": "1.0", "id": "i", "source": "/", "type": "t", "data": data}
    value = by_id(1, json.dumps(envelope).encode())
    assert read(registry, value) == [{**data, "event_id": "i", "timestamp": 1}]
    with pytest.raises(EventError, match="Input data was truncated"):
        read(registry, value[:-1])


def proto(registry: FakeRegistry) -> Any:
    """Register a file with an import and a nested message; returns the class of that message."""
    inner = proto_file("types/inner.proto", "t")
    proto_fields(inner.message_type.add(name="Features"), ("age", "int64"), ("city", "string"))
    kinds = inner.message_type[0].enum_type.add(name="Kind")
    for number, name in enumerate(("UNKNOWN", "GOOD")):
        kinds.value.add(name=name, number=number)
    kind = inner.message_type[0].field.add(name="kind", number=3, label=1, type=14)
    kind.type_name = ".t.Features.Kind"

    known = ("google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto", "confluent/meta.proto")
    file = proto_file("events.proto", "p", "types/inner.proto", *known)
    file.message_type.add(name="First")
    second = file.message_type.add(name="Second")
    event = second.nested_type.add(name="Event")
    proto_fields(
        event,
        ("event_id", "string"),
        ("timestamp", ".google.protobuf.Timestamp"),
        ("prediction", "int64"),
        ("score", "double", "optional"),
        ("features", ".t.Features"),
        ("error", "string"),
        ("latency_ms", ".google.protobuf.DoubleValue"),
        ("list", "int32", "repeated"),
    )
    registry.add_protobuf(1, inner)
    registry.versions["inner", 1] = 1
    registry.add_protobuf(2, file, [{"name": "types/inner.proto", "subject": "inner", "version": 1}])
    pool = DescriptorPool()
    for one in known[:2]:
        from google.protobuf import timestamp_pb2, wrappers_pb2

        module = timestamp_pb2 if "timestamp" in one else wrappers_pb2
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file.dependency.remove("confluent/meta.proto")
    pool.Add(inner)
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("p.Second.Event"))


INDEXES = b"\x04\x02\x00"  # two of them: 1, 0


def test_protobuf(registry: FakeRegistry) -> None:
    message = proto(registry)(event_id="e", score=0.0)
    message.timestamp.FromJsonString("2026-01-01T00:00:00Z")
    message.features.age, message.features.kind = 2**40, 1
    message.latency_ms.value = 4.5
    [event] = read(registry, by_id(2, INDEXES + message.SerializeToString()), model="m")
    assert event == {
        "event_id": "e",
        "model": "m",
        "timestamp": "2026-01-01T00:00:00Z",
        "prediction": 0,
        "score": 0.0,
        "features": {"age": 2**40, "kind": "GOOD"},
        "latency_ms": 4.5,
    }
    assert registry.asked.count("/schemas/ids/2?format=serialized") == 1


def test_protobuf_with_its_place_in_the_header(registry: FakeRegistry) -> None:
    kind = proto(registry)
    guid = next(one["guid"] for id_, one in registry.schemas.items() if id_ == 2)
    header = b"\x01" + bytes.fromhex(guid.replace("-", "")) + INDEXES
    value = kind(event_id="e", prediction=5).SerializeToString()
    [event] = read(registry, value, [("__value_schema_id", header)], model="m")
    assert (event["event_id"], event["prediction"]) == ("e", 5)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "message indexes of Protobuf are missing or broken"),
        (b"\xff" * 9, "message indexes of Protobuf are missing or broken"),
        (b"\x01", "-1 message indexes"),
        (b"\x80\x7d", "8000 message indexes"),
        (b"\x02\x0a", "the Protobuf schema has no message 5"),
        (b"\x02\x01", "the Protobuf schema has no message -1"),
        (INDEXES + b"\x0a\x7f", "does not follow its Protobuf schema"),
        (INDEXES + b"\x0a\x02\xff\xff", "does not follow its Protobuf schema"),
    ],
)
def test_protobuf_that_cannot_be_read(registry: FakeRegistry, payload: bytes, reason: str) -> None:
    proto(registry)
    with pytest.raises(EventError, match=reason):
        read(registry, by_id(2, payload))


@pytest.mark.parametrize(
    ("schema", "payload", "reason"),
    [
        ("long", b"", "does not follow its Avro schema"),
        ("long", b"\x02\x02", "1 bytes are left over"),
        ("string", b"\xfe\xff\xff\xff\xff\xff\xff\x7f", "does not follow its Avro schema"),
        (["null", "long"], b"\x06", "does not follow its Avro schema"),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
            b"\x80\x89\x7a" + b"\x7f" * 1_000_000,
            r"a decimal of 1000000 bytes \(at most 100 are allowed\)",
        ),
        ("unknown.Type", b"\x02", "the Avro schema cannot be used"),
        ({"type": "record"}, b"\x02", "the Avro schema cannot be used"),
        (5, b"\x02", "the Avro schema cannot be used"),
        ({"type": "array", "items": "null"}, b"\xfe\xff\xff\xff\x7f\x00", "values that take no bytes"),
        (
            {"type": "array", "items": {"type": "record", "name": "E", "fields": []}},
            b"\xfe\xff\xff\xff\x7f\x00",
            "values that take no bytes",
        ),
        (
            {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]},
            b"\x02" * 200_000 + b"\x00",
            "N holds itself, which is not read",
        ),
    ],
)
def test_avro_that_cannot_be_read(registry: FakeRegistry, schema: Any, payload: bytes, reason: str) -> None:
    registry.add_avro(1, schema)
    with pytest.raises(EventError, match=reason):
        read(registry, by_id(1, payload))


def test_what_is_said_of_an_early_end_is_always_the_same(registry: FakeRegistry) -> None:
    """What fastavro says has the address of an object in it."""
    registry.add_avro(1, "double")
    with pytest.raises(EventError, match=r"\(EOFError: it ends too early\)$"):
        read(registry, by_id(1, b"\x00"))


def test_maps_of_protobuf_whose_values_are_called_otherwise(registry: FakeRegistry) -> None:
    file = proto_file("m.proto", "p")
    event = file.message_type.add(name="E")
    entry = event.nested_type.add(name="FeaturesEntry")
    entry.options.map_entry = True
    proto_fields(entry, ("key", "string"), ("valwe", "double"))
    proto_fields(event, ("event_id", "string"), ("features", ".p.E.FeaturesEntry", "repeated"))
    registry.add_protobuf(1, file)
    schema = RegistryClient(registry.url, httpx.HTTPTransport(trust_env=False)).schema(1)
    payload = b"\x00\x12\x0c\x0a\x01a\x11" + bytes(6) + b"\xf8\x3f"
    assert document_of(schema, payload) == {"features": {"a": 1.5}}


def test_schemas_that_are_none(registry: FakeRegistry) -> None:
    registry.add(1, "{", "AVRO")
    registry.add(2, "message A {}", "PROTOBUF", serialised="message A {}")
    registry.add_protobuf(3, proto_file("a.proto", "a", "not/there.proto"))
    for id_, reason in ((1, "Avro"), (2, "Protobuf"), (3, "Protobuf")):
        with pytest.raises(EventError, match=f"the {reason} schema cannot be used"):
            read(registry, by_id(id_, b"\x00"))


def test_without_a_registry_it_is_said_what_is_missing() -> None:
    found = build("auto").decode([by_id(7, b"x")], lambda _: Message(by_id(7, b"x")))
    assert found.problems == [
        (0, "registry: a schema registry is needed to read this message (set registry.url)")
    ]


def test_a_registry_that_is_away_is_no_dead_letter(registry: FakeRegistry) -> None:
    registry.status = 503
    decoder = build("auto", Reading(registry=RegistryClient(registry.url, httpx.HTTPTransport())))
    for decode in (decoder.decode, decoder.decode_labels):
        with pytest.raises(Unavailable, match="schema registry: answered 503"):
            decode([by_id(7, b"x")])


def test_explain_event_asks_the_registry_too(
    registry: FakeRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.add_avro(7, NATIVE)
    file, config = tmp_path / "message", tmp_path / "driftline.yaml"
    file.write_bytes(by_id(7, avro(NATIVE, EVENT)))
    config.write_text(
        "kafka: {bootstrap_servers: x}\ndatabase_url: sqlite:///d.db\n"
        f"registry: {{url: '{registry.url}'}}\n"
        "streams: [{topic: p, kind: predictions, format: registry}]\n"
    )
    arguments = ["explain-event", str(file), "-c", str(config), "--topic", "p", "--json"]
    assert cli.run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["format"], found["events"]) == ("registry/json", [EVENT])
    registry.status = 503
    assert cli.run(arguments) == 3
    assert capsys.readouterr().err == "schema registry: answered 503\n"


@pytest.mark.parametrize("deep", ["[" * 5_000, '{"type":' * 3_000])
def test_a_schema_that_is_nested_without_end_is_refused(deep):
    with pytest.raises(EventError, match="the Avro schema cannot be used"):
        document_of(Schema("AVRO", deep), b"\x00")
