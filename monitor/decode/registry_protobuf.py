"""Protobuf by a schema of a registry, which tells it as a serialised ``FileDescriptorProto``."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    json_format,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from monitor.decode.flat import plain
from monitor.decode.registry import Schema
from schemas.errors import EventError

_WITH_THE_LIBRARY = {
    module.DESCRIPTOR.name: module.DESCRIPTOR.serialized_pb
    for module in (
        any_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )
}
# Confluent's options of fields say nothing about the bytes, but files that use them import this one.
_EMPTY = {"confluent/meta.proto": descriptor_pb2.FileDescriptorProto(name="confluent/meta.proto")}
_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_DEEPEST = 16  # messages declared inside each other
_LONGEST_VARINT = 5
_VALUE = 2  # number of the field of a map's entries that holds the value
_MOST_SCHEMAS = 1_000


def document_of(schema: Schema, payload: bytes) -> Any:
    """Read the place of a message in its file, and the message.

    Raises
    ------
    EventError
        If the bytes do not follow the schema, or the schema cannot be used.

    Notes
    -----
    Fields are called as in the ``.proto`` file. A field that does not track its presence counts as 0 or
    false if it was not set; texts, bytes, lists and maps are left out then.
    """
    place, at = place_of(payload)
    message = message_class(schema, place)()
    try:
        message.ParseFromString(payload[at:])
        return _document(message)
    except (DecodeError, json_format.Error, ValueError, TypeError, LookupError, RecursionError) as error:
        msg = f"registry: does not follow its Protobuf schema ({str(error)[:200]})"
        raise EventError(msg) from error


def place_of(payload: bytes) -> tuple[tuple[int, ...], int]:
    """Read which message of the file it is, from the outside to the inside, and where the message begins.

    Raises
    ------
    EventError
        If the bytes do not say.
    """
    count, at = _varint(payload, 0)
    if not 0 <= count <= _DEEPEST:
        msg = f"registry: {count} message indexes (0 to {_DEEPEST} are allowed)"
        raise EventError(msg)
    place = []
    for _ in range(count):
        index, at = _varint(payload, at)
        place.append(index)
    return tuple(place) or (0,), at


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    """Read a zigzag number, and where the next byte is."""
    value = 0
    for shift, byte in enumerate(payload[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at + shift + 1
    msg = "registry: the message indexes of Protobuf are missing or broken"
    raise EventError(msg)


@lru_cache(maxsize=_MOST_SCHEMAS)
def message_class(schema: Schema, place: tuple[int, ...]) -> type[Message]:
    """Return the class of a message of a schema.

    Raises
    ------
    EventError
        If there is none at that place, or the schema cannot be used.
    """
    pool, file = _pool(schema)
    names = [file.package] if file.package else []
    level: Any = file.message_type
    for index in place:
        if not 0 <= index < len(level):
            msg = f"registry: the Protobuf schema has no message {'.'.join(map(str, place))}"
            raise EventError(msg)
        names.append(level[index].name)
        level = level[index].nested_type
    return GetMessageClass(pool.FindMessageTypeByName(".".join(names)))


@lru_cache(maxsize=_MOST_SCHEMAS)
def _pool(schema: Schema) -> tuple[DescriptorPool, descriptor_pb2.FileDescriptorProto]:
    pool = DescriptorPool()
    try:
        file = _read(schema, "")
        _add(pool, file, schema, set())
        pool.FindFileByName(file.name)
    except (DecodeError, TypeError, ValueError, LookupError) as error:
        reason = str(error.args[0] if error.args else error)[:200]
        msg = f"registry: the Protobuf schema cannot be used ({type(error).__name__}: {reason})"
        raise EventError(msg) from error
    return pool, file


def _read(schema: Schema, name: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    file.ParseFromString(base64.b64decode(schema.text, validate=True))
    file.name = name or "schema.proto"
    return file


def _add(
    pool: DescriptorPool, file: descriptor_pb2.FileDescriptorProto, schema: Schema, added: set[str]
) -> None:
    """Add a file after all that it imports."""
    for reference in schema.references:
        if reference.name not in added:
            added.add(reference.name)
            _add(pool, _read(reference.schema, reference.name), reference.schema, added)
    for name in file.dependency:
        if name not in added and (name in _WITH_THE_LIBRARY or name in _EMPTY):
            added.add(name)
            pool.AddSerializedFile(_WITH_THE_LIBRARY.get(name) or _EMPTY[name].SerializeToString())
    pool.AddSerializedFile(file.SerializeToString())


def _document(message: Message) -> Any:
    name = message.DESCRIPTOR.full_name
    if name in _WRAPPERS:
        return plain(getattr(message, "value"))  # noqa: B009 - every wrapper has it, and types do not know
    if name.startswith("google.protobuf."):
        return json_format.MessageToDict(message)
    found = {}
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name):
            continue
        value = _value(field, getattr(message, field.name))
        if field.has_presence or value not in ("", [], {}):
            found[field.name] = value
    return found


def _value(field: Any, value: Any) -> Any:
    if not field.is_repeated:
        return _single(field, value)
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        kind = inner.fields_by_number[_VALUE]
        return {str(key): _single(kind, item) for key, item in value.items()}
    return [_single(field, item) for item in value]


def _single(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return _document(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    return plain(value)
