"""Protobuf that is read many messages at a time: the same comes out as one by one, whatever is in them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from monitor.decode import protobuf_columns
from monitor.decode.catalog import every
from monitor.decode.message import Message
from monitor.decode.protobuf_columns import layouts
from monitor.decode.reading import Reading
from monitor.decode.registry import KnownSchemas, Schema
from monitor.decode.translated import Translated
from tests.monitor.test_formats_in_columns import both, damaged, same

TEXTS = st.text(max_size=4)
KINDS: dict[str, tuple[int, st.SearchStrategy[Any]]] = {
    "double": (Field.TYPE_DOUBLE, st.floats()),
    "float": (Field.TYPE_FLOAT, st.floats(width=32)),
    "int32": (Field.TYPE_INT32, st.integers(-(2**31), 2**31 - 1)),
    "int64": (Field.TYPE_SINT64, st.integers(-(2**63), 2**63 - 1)),
    "uint32": (Field.TYPE_UINT32, st.integers(0, 2**32 - 1)),
    "uint64": (Field.TYPE_UINT64, st.integers(0, 2**64 - 1) | st.integers(0, 9)),
    "bool": (Field.TYPE_BOOL, st.booleans()),
    "string": (Field.TYPE_STRING, TEXTS),
    "bytes": (Field.TYPE_BYTES, st.binary(max_size=3)),
    "enum": (Field.TYPE_ENUM, st.integers(0, 2)),
}
SIMPLE = tuple(name for name in KINDS if name not in ("bytes", "enum"))
STAMPS = st.tuples(st.integers(-5, 2**38), st.integers(-5, 2**30))


@st.composite
def fields(draw: st.DrawFn, message: Any, names: list[str], kinds: tuple[str, ...]) -> dict[str, Any]:
    """Add fields to a message; returns what their values may be, None for one that is not set."""
    found = {}
    for name in names:
        chosen = draw(st.sampled_from(kinds))
        kind, values = KINDS[chosen]
        field = message.field.add(
            name=name, number=len(message.field) + 1, type=kind, label=Field.LABEL_OPTIONAL
        )
        if kind == Field.TYPE_ENUM:
            field.type_name = ".p.Colour"
        if draw(st.integers(0, 19)) == 0:
            field.label, values = Field.LABEL_REPEATED, st.lists(values, max_size=2)
        elif draw(st.booleans()):
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{name}")
        found[name] = st.none() | values
    return found


@st.composite
def protobuf(draw: st.DrawFn) -> tuple[Schema, list[bytes]]:
    """A file with a message of events, and messages that follow it, or do not quite."""
    file = FileDescriptorProto(name="e.proto", package="p", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    colour = file.enum_type.add(name="Colour")
    for number, name in enumerate(("RED", "GREEN")):
        colour.value.add(name=name, number=number)
    event, inner = file.message_type.add(name="E"), file.message_type.add(name="Features")
    known: dict[str, Any] = {}
    for name, kind in (("event_id", "string"), ("model", "string"), ("prediction", "int64")):
        kinds = (kind,) if draw(st.integers(0, 5)) else SIMPLE
        known |= draw(fields(event, [name], kinds))
    others = st.sets(
        st.sampled_from(["version", "score", "error", "latency_ms", "label", "role", "x", "Clear"])
    )
    known |= draw(fields(event, sorted(draw(others)), SIMPLE if draw(st.booleans()) else tuple(KINDS)))
    stamp = draw(st.sampled_from(["", "instant", "int64", "string"]))
    if stamp == "instant":
        event.field.add(
            name="timestamp", number=50, type=Field.TYPE_MESSAGE, label=Field.LABEL_OPTIONAL,
            type_name=".google.protobuf.Timestamp",
        )  # fmt: skip
        known["timestamp"] = st.none() | STAMPS
    elif stamp:
        known |= draw(fields(event, ["timestamp"], (stamp,)))
    names = [f"x{at}" for at in range(draw(st.integers(0, 4)))]
    features = draw(fields(inner, names, SIMPLE if draw(st.integers(0, 3)) else tuple(KINDS)))
    event.field.add(
        name="features",
        number=60,
        type=Field.TYPE_MESSAGE,
        label=Field.LABEL_OPTIONAL,
        type_name=".p.Features",
    )
    pool = DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    made = GetMessageClass(pool.FindMessageTypeByName("p.E"))
    values = st.tuples(st.fixed_dictionaries(known), st.none() | st.fixed_dictionaries(features))
    messages = []
    for own, its in draw(st.lists(values, min_size=1, max_size=12)):
        told = {name: value for name, value in own.items() if value is not None}
        moment = told.pop("timestamp") if isinstance(told.get("timestamp"), tuple) else None
        if its is not None:
            told["features"] = {name: value for name, value in its.items() if value is not None}
        message: Any = made(**told)
        if moment is not None:
            message.timestamp.seconds, message.timestamp.nanos = moment
        place = draw(st.sampled_from([b"\x00", b"\x00", b"\x02\x00", b"\x02\x02", b"\x02\x08"]))
        messages.append(b"\0\0\0\0\7" + place + message.SerializeToString())
    schema = Schema("PROTOBUF", base64.b64encode(file.SerializeToString(deterministic=True)).decode())
    return schema, draw(damaged(messages))


@given(made=protobuf(), options=st.sampled_from([{}, {"fields": {"prediction": "x"}}, {"version": "3"}]))
def test_the_same_comes_out(made: tuple[Schema, list[bytes]], options: dict[str, Any]) -> None:
    schema, values = made
    same(*both("registry", Reading(model="m", registry=KnownSchemas({7: schema}), **options), values))


# --- what is read at once, which no comparison would show -------------------------------------------------


def simple(syntax: str = "proto3") -> Schema:
    """A file with an event of an id and one feature, which is a text."""
    file = FileDescriptorProto(name="e.proto", package="p", syntax=syntax)
    event, inner = file.message_type.add(name="E"), file.message_type.add(name="Features")
    for message, name, kind in (
        (event, "event_id", Field.TYPE_STRING), (event, "prediction", Field.TYPE_INT64),
        (inner, "c", Field.TYPE_STRING),
    ):  # fmt: skip
        message.field.add(name=name, number=len(message.field) + 1, type=kind, label=Field.LABEL_OPTIONAL)
    event.field.add(
        name="features",
        number=3,
        type=Field.TYPE_MESSAGE,
        label=Field.LABEL_OPTIONAL,
        type_name=".p.Features",
    )
    return Schema("PROTOBUF", base64.b64encode(file.SerializeToString()).decode())


GOOD = b"\x0a\x01a\x10\x01\x1a\x03\x0a\x01x"
EMPTY = b"\x0a\x01b\x10\x01"


def test_messages_of_a_file_are_read_together() -> None:
    [(layout, its)] = layouts(simple(), {3: b"\x00" + GOOD, 8: b"\x00" + EMPTY, 9: b"", 10: b"\x02\x0c"})
    assert list(its) == [3, 8]
    rows, columns = layout.read(list(its.values()))
    assert rows.tolist() == [0, 1]
    assert {path: column.to_pylist() for path, column in columns.items()} == {
        ("event_id",): ["a", "b"], ("prediction",): [1, 1], ("features", "c"): ["x", None]
    }  # fmt: skip


@pytest.mark.parametrize("bad", [b"\x0a\x7f", b"\x0a\x01c\x10\x01\x1a\x04\x0a\x02\xff\xff"])
@pytest.mark.parametrize("syntax", ["proto2", "proto3"])
def test_one_that_cannot_be_read_does_not_hold_up_the_others(
    bad: bytes, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts that are none are let through by the older syntax, and come as bytes."""
    schema, payloads = simple(syntax), [GOOD, bad, EMPTY]
    [(layout, its)] = layouts(schema, {at: b"\x00" + payload for at, payload in enumerate(payloads)})
    rows, columns = layout.read(list(its.values()))
    assert rows.tolist() == [0, 2]
    assert columns["event_id",].to_pylist() == ["a", "b"]
    values = [b"\0\0\0\0\7\0" + payload for payload in payloads]
    reading = Reading(model="m", registry=KnownSchemas({7: schema}))
    same(*both("registry", reading, values))
    read: list[int] = []
    formats = tuple(one for one in every() if one.name == "registry")
    decoder = Translated(formats, reading)
    original = decoder.read

    def noted(message: Message, kind: Any) -> Any:
        read.append(values.index(message.value))
        return original(message, kind)

    monkeypatch.setattr(decoder, "read", noted)
    decoder.decode(values)
    assert read == [1]


def test_a_file_has_a_limited_number_of_messages_that_are_read_together() -> None:
    payloads = {at: bytes([2, 2 * at]) + GOOD for at in range(protobuf_columns._MOST_PLACES + 5)}
    assert len(layouts(simple(), payloads)) <= protobuf_columns._MOST_PLACES
