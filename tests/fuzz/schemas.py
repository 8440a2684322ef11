"""Target: schemas of a registry, which come from outside as messages do."""

from __future__ import annotations

import base64
import struct
from uuid import UUID

from monitor.decode.formats.registry import Registry
from monitor.decode.registry import KnownSchemas, Schema, document_of
from schemas.errors import EventError
from tests.fuzz.target import Target

_LENGTH = struct.Struct(">BH")  # kind, and length of the schema in bytes


def schema_target() -> Target:
    """Make the target: a kind, the length of a schema, the schema, and bytes to be read by it."""
    return Target("registry-schemas", tuple(_seeds()), _check, _LENGTH.size)


def _check(data: bytes) -> None:
    """Whatever schema and bytes are, the answer is a document or an error that says what is wrong."""
    kind, length = _LENGTH.unpack(data[: _LENGTH.size].ljust(_LENGTH.size, b"\0"))
    rest = data[_LENGTH.size :]
    text, payload = rest[:length], rest[length:]
    schema = (
        Schema("PROTOBUF", base64.b64encode(text).decode())
        if kind % 2
        else Schema("AVRO", text.decode("utf-8", "replace"))
    )
    refused = ""
    try:
        document_of(schema, payload)
    except EventError as error:
        refused = str(error)
    assert refused == "" or refused.startswith("registry: "), refused


def _seeds() -> list[bytes]:
    found = []
    for example in Registry.examples():
        registry = example.reading.registry
        assert isinstance(registry, KnownSchemas)
        for key, schema in registry.known.items():
            payload = example.message.value[17 if isinstance(key, UUID) else 5 :]
            if schema.kind != "JSON":
                is_protobuf = schema.kind == "PROTOBUF"
                text = base64.b64decode(schema.text) if is_protobuf else schema.text.encode()
                payload = b"\x02\x02" + example.message.value if is_protobuf else payload
                found.append(_LENGTH.pack(is_protobuf, len(text)) + text + payload)
    return found
