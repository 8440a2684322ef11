"""Values with the key of a schema in front or in a header, which a schema registry keeps.

References
----------
.. [1] Confluent, "Formats, Serializers, and Deserializers": wire format.
"""

from __future__ import annotations

import base64
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitor.decode.flat import flat_event
from monitor.decode.formats.native import Native
from monitor.decode.message import Event, Message
from monitor.decode.reading import ROLES, AnyFormat, Example, Reading
from monitor.decode.records import Records
from monitor.decode.registry import Key, KnownSchemas, Schema, SchemaRegistry, document_of
from schemas.errors import EventError

HEADER = "__value_schema_id"
_BY_ID, _BY_GUID = 0, 1  # the first byte
_NATIVE_FIELDS = frozenset({*ROLES, "features", "tags", "role"})


class Registry:
    """Takes the value out by its schema: Avro, Protobuf or JSON Schema."""

    name: ClassVar[str] = "registry"
    order: ClassVar[int] = 15

    def matches(self, message: Message) -> bool:
        """Whether there is a key in the header or in front of the value."""
        if message.is_read and not isinstance(message.read, EventError):
            return False  # somebody has taken the value out already
        return _header(message) is not None or _split(message.value) is not None

    def unwrap(self, message: Message, reading: Reading) -> list[tuple[Message, Event]]:
        """Return the value as Python objects."""
        if reading.registry is None:
            msg = "registry: a schema registry is needed to read this message (set registry.url)"
            raise EventError(msg)
        header = _header(message)
        found = _split(message.value if header is None else header)
        if found is None:
            where = "in front of the value" if header is None else f"in the header {HEADER}"
            msg = f"registry: no schema {where} (byte 0 and 4 bytes, or byte 1 and 16 bytes, are allowed)"
            raise EventError(msg)
        key, rest = found
        payload = rest if header is None else rest + message.value
        document = document_of(reading.registry.schema(key), payload)
        return [(message.holding(_in_native_form(message.holding(document), reading)), {})]

    def records(self, messages: Mapping[int, Message], reading: Reading) -> list[Records]:
        """Avro and Protobuf in native form, all values of a schema at once."""
        if reading.registry is None:
            return []
        groups: defaultdict[Key, dict[int, bytes]] = defaultdict(dict)
        for at, message in messages.items():
            header = _header(message) if message.headers else None
            found = _split(message.value if header is None else header)
            if found is not None and (not message.headers or _is_alone(message)):
                groups[found[0]][at] = found[1] if header is None else found[1] + message.value
        return [
            records
            for key, payloads in groups.items()
            for records in _together(reading.registry, key, payloads, reading)
        ]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Avro in native form and of one's own making, JSON, and Protobuf with the key in a header."""
        return (_avro(), _avro_of_ones_own(), _json(), _protobuf(), _avro_of_records())


def _header(message: Message) -> bytes | None:
    return next((value for name, value in reversed(message.headers) if name == HEADER and value), None)


def _split(data: bytes) -> tuple[Key, bytes] | None:
    """Take the key off; None if there is none."""
    if data[:1] == bytes([_BY_ID]) and len(data) >= 5:
        return int.from_bytes(data[1:5], "big"), data[5:]
    if data[:1] == bytes([_BY_GUID]) and len(data) >= 17:
        return UUID(bytes=data[1:17]), data[17:]
    return None


def _in_native_form(message: Message, reading: Reading) -> Any:
    """Sort the fields of a record that looks native, but whose fields the stream names otherwise."""
    document = message.object_
    named = {name for role, name in reading.fields.items() if name != role}
    if not named & document.keys():
        return message.document
    if not isinstance(_first(message), Native):
        return message.document
    features = document.get("features")
    rest = {name: value for name, value in document.items() if name != "features"}
    event = flat_event(rest, reading, {role: role for role in ROLES})
    return {**event, "features": features} if isinstance(features, dict) else event


def _first(message: Message) -> AnyFormat | None:
    """The format that a message is in, as ``auto`` would say."""
    from monitor.decode.catalog import every  # the catalog imports this module

    return next((one for one in every() if one.matches(message)), None)


def _is_alone(message: Message) -> bool:
    """Whether no header says that the value is in yet another format."""
    if all(name == HEADER for name, _ in message.headers):
        return True
    return isinstance(_first(message.holding({"event_id": "", "features": {}})), Native)


def _together(
    registry: SchemaRegistry, key: Key, payloads: Mapping[int, bytes], reading: Reading
) -> Iterator[Records]:
    """Values of one schema, as far as all of their fields are those of native events."""
    from monitor.decode import avro_columns, protobuf_columns  # only streams with a registry load these

    try:
        schema = registry.schema(key)
    except EventError:
        return  # said of each message, when they are read one by one
    if schema.kind == "AVRO":
        layout = avro_columns.layout_of(schema)
        if layout is not None and _is_native([path for path, _ in layout.fields], reading):
            yield _records(payloads, *layout.read(list(payloads.values())))
    elif schema.kind == "PROTOBUF":
        for kind, its in protobuf_columns.layouts(schema, payloads):
            if _is_native([field.path for field in kind.fields], reading):
                yield _records(its, *kind.read(list(its.values())))


def _is_native(paths: Sequence[tuple[str, ...]], reading: Reading) -> bool:
    """Whether fields are those of native events, and the stream names none of them otherwise."""
    names = {path[0] for path in paths}
    named = {name for role, name in reading.fields.items() if name != role}
    return not named & names and names <= _NATIVE_FIELDS and ("features",) not in paths


def _records(
    positions: Collection[int], rows: NDArray[np.int64], columns: Mapping[tuple[str, ...], pa.Array]
) -> Records:
    return Records(
        message=np.fromiter(positions, np.int64, len(positions))[rows],
        fields={path[0]: column for path, column in columns.items() if len(path) == 1},
        features={path[1]: column for path, column in columns.items() if len(path) > 1},
    )


# --- examples ---------------------------------------------------------------------------------------------

_EVENT: Event = {"event_id": "f-1", "model": "m", "timestamp": 5, "prediction": 1, "features": {"a": 1.5}}
_GUID = UUID("89791762-2336-4186-9674-299b90a802e2")


def _reading(key: Key, schema: Schema, **options: Any) -> Reading:
    return Reading(registry=KnownSchemas({key: schema}), **options)


def _record(**fields: Any) -> Schema:
    listed = [{"name": name, "type": type_} for name, type_ in fields.items()]
    return Schema("AVRO", msgspec.json.encode({"type": "record", "name": "E", "fields": listed}).decode())


def _avro() -> Example:
    features = {"type": "map", "values": "double"}
    schema = _record(event_id="string", model="string", timestamp="long", prediction="int", features=features)
    value = b"\x06f-1" + b"\x02m" + b"\x0a" + b"\x02" + b"\x02\x02a" + struct.pack("<d", 1.5) + b"\x00"
    return Example(Message(b"\x00\x00\x00\x00\x07" + value), (_EVENT,), reading=_reading(7, schema))


def _avro_of_ones_own() -> Example:
    """Its ``prediction`` alone would make it a native event without an id."""
    stamp = {"type": "long", "logicalType": "timestamp-millis"}
    schema = _record(customer="long", at=stamp, prediction=["null", "double"], age="int", city="string")
    value = b"\x0e" + b"\x80\xa0\xd5\xed\xee\x66" + b"\x02" + struct.pack("<d", 0.25) + b"\x50" + b"\x06Ulm"
    event = {
        "event_id": "7",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "prediction": 0.25,
        "features": {"age": 40, "city": "Ulm"},
    }
    reading = _reading(300, schema, fields={"event_id": "customer", "timestamp": "at"})
    return Example(Message(b"\x00\x00\x00\x01\x2c" + value), (event,), reading=reading)


def _avro_of_records() -> Example:
    """Features as a record, and everything else of types that are read many at a time."""
    features = [{"name": "a", "type": "double"}, {"name": "b", "type": ["null", "string"]}]
    inner = {"type": "record", "name": "Features", "fields": features}
    stamp = {"type": "long", "logicalType": "timestamp-millis"}
    schema = _record(event_id="string", model="string", timestamp=stamp, prediction="int", features=inner)
    value = (
        b"\x06f-1" + b"\x02m" + b"\x80\xa0\xd5\xed\xee\x66" + b"\x02" + struct.pack("<d", 1.5) + b"\x02\x02x"
    )
    event = {**_EVENT, "timestamp": "2026-01-01T00:00:00+00:00", "features": {"a": 1.5, "b": "x"}}
    return Example(Message(b"\x00\x00\x00\x00\x08" + value), (event,), reading=_reading(8, schema))


def _json() -> Example:
    label = {"event_id": "f-1", "model": "m", "timestamp": 9, "label": "late"}
    value = b"\x01" + _GUID.bytes + msgspec.json.encode(label)
    return Example(Message(value), (label,), "labels", _reading(_GUID, Schema("JSON", '{"type": "object"}')))


def _protobuf() -> Example:
    """Message 1 of a file: ``message E {string event_id = 1; …; map<string, double> features = 5;}``."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    file = FileDescriptorProto(name="e.proto", package="p", syntax="proto3")
    file.message_type.add(name="Other")
    message = file.message_type.add(name="E")
    kinds = {"event_id": Field.TYPE_STRING, "model": Field.TYPE_STRING, "timestamp": Field.TYPE_INT64}
    for number, (name, kind) in enumerate({**kinds, "prediction": Field.TYPE_INT32}.items(), 1):
        message.field.add(name=name, number=number, type=kind, label=Field.LABEL_OPTIONAL)
    entry = message.nested_type.add(name="FeaturesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=Field.TYPE_DOUBLE, label=Field.LABEL_OPTIONAL)
    message.field.add(
        name="features",
        number=5,
        type=Field.TYPE_MESSAGE,
        label=Field.LABEL_REPEATED,
        type_name=".p.E.FeaturesEntry",
    )
    schema = Schema("PROTOBUF", base64.b64encode(file.SerializeToString(deterministic=True)).decode())
    feature = b"\x0a\x01a\x11" + struct.pack("<d", 1.5)
    value = b"\x0a\x03f-1" + b"\x12\x01m" + b"\x18\x05" + b"\x20\x01" + b"\x2a\x0c" + feature
    header = b"\x01" + _GUID.bytes + b"\x02\x02"  # one index: 1
    return Example(Message(value, [(HEADER, header)]), (_EVENT,), reading=_reading(_GUID, schema))
