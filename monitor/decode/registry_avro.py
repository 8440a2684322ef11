"""Avro by a schema of a registry."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from functools import lru_cache
from typing import Any

import fastavro
import msgspec
from fastavro.read import LOGICAL_READERS
from fastavro.schema import SchemaParseException, UnknownType

from monitor.decode.flat import plain
from monitor.decode.registry import Schema
from schemas.errors import EventError

_UNREADABLE = (
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    RecursionError,
    struct.error,
)
_MOST_SCHEMAS = 1_000
_LONGEST_DECIMAL = 100


def _decimal(data: bytes, writer_schema: Any, _reader_schema: Any = None) -> float:
    """Read a decimal as a number; that of fastavro takes minutes for a megabyte."""
    if len(data) > _LONGEST_DECIMAL:
        msg = f"a decimal of {len(data)} bytes (at most {_LONGEST_DECIMAL} are allowed)"
        raise ValueError(msg)
    unscaled = int.from_bytes(data, "big", signed=True)
    return float(Fraction(unscaled, 10 ** writer_schema.get("scale", 0)))


LOGICAL_READERS.update({"bytes-decimal": _decimal, "fixed-decimal": _decimal})


def document_of(schema: Schema, payload: bytes) -> Any:
    r"""Read an Avro value without a header.

    Raises
    ------
    EventError
        If the bytes do not follow the schema, or the schema cannot be used.

    Examples
    --------
    >>> text = '{"type": "record", "name": "R", "fields": [{"name": "x", "type": "long"}]}'
    >>> document_of(Schema("AVRO", text), b"\x54")
    {'x': 42}
    """
    parsed = parsed_schema(schema)
    stream = io.BytesIO(payload)
    try:
        read: Any = fastavro.schemaless_reader(stream, parsed, None)
        document = plain(read["value"])
    except _UNREADABLE as error:
        # What fastavro says of an end that comes too early has the address of an object in it.
        said = "it ends too early" if isinstance(error, EOFError) else str(error)[:200]
        msg = f"registry: does not follow its Avro schema ({type(error).__name__}: {said})"
        raise EventError(msg) from error
    left = len(payload) - stream.tell()
    if left:
        msg = f"registry: does not follow its Avro schema ({left} bytes are left over)"
        raise EventError(msg)
    return document


@lru_cache(maxsize=_MOST_SCHEMAS)
def parsed_schema(schema: Schema) -> Any:
    """Make a schema ready, as that of the only field of a record, which is written just the same.

    Only a record can carry the types that it refers to.
    """
    named: dict[str, Any] = {}
    try:
        _add_references(schema, named, set())
        top = {"type": "record", "name": "Driftline_", "fields": [{"name": "value", "type": _json(schema)}]}
        parsed: Any = fastavro.parse_schema(top, named)
        _check(parsed, named, (), set())
    except (msgspec.DecodeError, SchemaParseException, UnknownType, *_UNREADABLE) as error:
        msg = f"registry: the Avro schema cannot be used ({type(error).__name__}: {str(error)[:200]})"
        raise EventError(msg) from error
    return parsed


def _json(schema: Schema) -> Any:
    return msgspec.json.decode(schema.text)


def _add_references(schema: Schema, named: dict[str, Any], seen: set[str]) -> None:
    """Parse what a schema refers to, the innermost first."""
    for reference in schema.references:
        if reference.name not in seen:
            seen.add(reference.name)
            _add_references(reference.schema, named, seen)
            if reference.name not in named:
                fastavro.parse_schema(_json(reference.schema), named)


def _check(node: Any, named: dict[str, Any], above: tuple[str, ...], checked: set[str]) -> None:
    """Refuse schemas by which a small message could take all of the stack or the memory.

    Raises
    ------
    ValueError
        If a record holds itself, or a list holds things that take no bytes.
    """
    if isinstance(node, list):
        for branch in node:
            _check(branch, named, above, checked)
    elif isinstance(node, str):
        _check(named.get(node), named, above, checked)
    elif node is None:
        return
    elif "fields" in node:
        _check_record(node, named, above, checked)
    else:
        if "items" in node and _is_weightless(node["items"], named):
            msg = "lists of values that take no bytes are not read"
            raise ValueError(msg)
        for inner in (node.get("items"), node.get("values"), node["type"]):
            _check(inner, named, above, checked)


def _check_record(
    node: dict[str, Any], named: dict[str, Any], above: tuple[str, ...], checked: set[str]
) -> None:
    name = node["name"]
    if name in above:
        msg = f"{name} holds itself, which is not read"
        raise ValueError(msg)
    if name not in checked:
        for field in node["fields"]:
            _check(field["type"], named, (*above, name), checked)
        checked.add(name)


def _is_weightless(node: Any, named: dict[str, Any], above: tuple[str, ...] = ()) -> bool:
    """Whether a value of a type may take no bytes."""
    if isinstance(node, str):
        return node == "null" or (node in named and _is_weightless(named[node], named, above))
    if isinstance(node, list):
        return False  # a union begins with the number of the branch
    if "fields" in node:
        inside = (*above, node["name"])
        return node["name"] not in above and all(
            _is_weightless(field["type"], named, inside) for field in node["fields"]
        )
    if node["type"] == "fixed":
        return bool(node["size"] == 0)
    return _is_weightless(node["type"], named, above)
