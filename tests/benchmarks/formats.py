"""The events of `tests.benchmarks.stream` in other formats, and the schemas by which they are written."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from tests.benchmarks.stream import NUMBERS, OBJECTS, Shape, feature_objects

AVRO_ID, PROTOBUF_ID = 1, 2
ROWS = 1_000  # of a record batch
TEXTS = 5
NAMES = (*(f"n{i:02d}" for i in range(NUMBERS)), *(f"c{i}" for i in range(TEXTS)))


@dataclass(frozen=True)
class Drawn:
    """One event before it is written; the same as `tests.benchmarks.stream.events` makes."""

    number: int
    at_ms: int
    pick: int


def drawn(shape: Shape, first_ms: int) -> Iterator[Drawn]:
    """Events of one model in order of time."""
    generator = np.random.default_rng(2)
    generator.integers(0, shape.models, shape.events)
    per_ms = shape.per_s // 1000
    for number, pick in enumerate(generator.integers(0, OBJECTS, shape.events).tolist()):
        yield Drawn(number, first_ms + number // per_ms, pick)


@cache
def features() -> list[dict[str, Any]]:
    """Features, by the number that events draw."""
    return [msgspec.json.decode(one) for one in feature_objects()]


# --- Avro -------------------------------------------------------------------------------------------------


def avro_schema() -> str:
    """Events in native form; some numbers are whole, but all are written as doubles."""
    inner = [{"name": name, "type": "double" if name[0] == "n" else "string"} for name in NAMES]
    kinds = {"event_id": "string", "model": "string", "version": "string", "timestamp": "long"}
    fields: list[dict[str, Any]] = [{"name": name, "type": kind} for name, kind in kinds.items()]
    fields.append({"name": "features", "type": {"type": "record", "name": "Features", "fields": inner}})
    fields += [{"name": "prediction", "type": "int"}, {"name": "score", "type": "double"}]
    return json.dumps({"type": "record", "name": "Event", "fields": fields})


def avro(shape: Shape, first_ms: int) -> Iterator[tuple[bytes, int]]:
    """Events with the id of their schema in front."""
    written = [
        struct.pack(f"<{NUMBERS}d", *(one[name] for name in NAMES[:NUMBERS]))
        + b"".join(_text(one[name]) for name in NAMES[NUMBERS:])
        for one in features()
    ]
    head = struct.pack(">bI", 0, AVRO_ID)
    middle = _text("m000") + _text("1")
    for one in drawn(shape, first_ms):
        tail = _long(one.pick & 1) + struct.pack("<d", one.pick % 1000 / 1000)
        yield (
            head + _text(f"e-{one.number:09d}") + middle + _long(one.at_ms) + written[one.pick] + tail,
            one.at_ms,
        )


def _text(text: str) -> bytes:
    return _long(len(text)) + text.encode()


def _long(value: int) -> bytes:
    return _varint(value << 1)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


# --- Protobuf ---------------------------------------------------------------------------------------------


def protobuf_file() -> FileDescriptorProto:
    """A message ``Event`` with a message ``Features``."""
    file = FileDescriptorProto(name="schema.proto", package="bench", syntax="proto3")
    event, inner = file.message_type.add(name="Event"), file.message_type.add(name="Features")
    kinds = {
        "event_id": Field.TYPE_STRING, "model": Field.TYPE_STRING, "version": Field.TYPE_STRING,
        "timestamp": Field.TYPE_INT64, "prediction": Field.TYPE_INT32, "score": Field.TYPE_DOUBLE,
    }  # fmt: skip
    for number, (name, kind) in enumerate(kinds.items(), 1):
        event.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL)
    event.field.add(
        name="features",
        number=7,
        type=Field.TYPE_MESSAGE,
        label=Field.LABEL_OPTIONAL,
        type_name=".bench.Features",
    )
    for number, name in enumerate(NAMES, 1):
        kind = Field.TYPE_DOUBLE if name[0] == "n" else Field.TYPE_STRING
        inner.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL)
    return file


def protobuf_schema() -> str:
    """The file as a registry tells it."""
    return base64.b64encode(protobuf_file().SerializeToString()).decode()


def protobuf(shape: Shape, first_ms: int) -> Iterator[tuple[bytes, int]]:
    """Events with the id of their schema and the place of the message in front."""
    pool = DescriptorPool()
    pool.AddSerializedFile(protobuf_file().SerializeToString())
    event, inner = (
        GetMessageClass(pool.FindMessageTypeByName(f"bench.{name}")) for name in ("Event", "Features")
    )
    written = [_framed(inner(**one).SerializeToString()) for one in features()]
    head = struct.pack(">bIb", 0, PROTOBUF_ID, 0)
    for one in drawn(shape, first_ms):
        fields: dict[str, Any] = {
            "event_id": f"e-{one.number:09d}", "model": "m000", "version": "1", "timestamp": one.at_ms,
            "prediction": one.pick & 1, "score": one.pick % 1000 / 1000,
        }  # fmt: skip
        # Messages that stand behind each other are one message with the fields of both.
        yield head + event(**fields).SerializeToString() + written[one.pick], one.at_ms


def _framed(message: bytes) -> bytes:
    return bytes([7 << 3 | 2]) + _varint(len(message)) + message


# --- Arrow ------------------------------------------------------------------------------------------------


def arrow(shape: Shape, first_ms: int) -> Iterator[tuple[bytes, int]]:
    """Record batches of `ROWS` events, each a stream with its schema."""
    inner = pa.Table.from_pylist(features()).select(NAMES).combine_chunks().to_batches()[0]
    block: list[Drawn] = []
    for one in drawn(shape, first_ms):
        block.append(one)
        if len(block) == ROWS or one.number == shape.events - 1:
            yield _stream(block, inner), one.at_ms
            block = []


def _stream(block: list[Drawn], inner: pa.RecordBatch) -> bytes:
    picks = np.array([one.pick for one in block])
    taken = inner.take(pa.array(picks))
    batch = pa.RecordBatch.from_pydict(
        {
            "event_id": [f"e-{one.number:09d}" for one in block],
            "model": ["m000"] * len(block),
            "version": ["1"] * len(block),
            "timestamp": pa.array([one.at_ms for one in block], pa.timestamp("ms", "UTC")),
            "features": pa.StructArray.from_arrays(taken.columns, NAMES),
            "prediction": pa.array(picks & 1, pa.int32()),
            "score": picks % 1000 / 1000,
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


WRITERS: dict[str, Callable[[Shape, int], Iterator[tuple[bytes, int]]]] = {
    "avro": avro,
    "protobuf": protobuf,
    "arrow": arrow,
}
