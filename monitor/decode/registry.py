"""Schemas that are kept outside the messages, by a schema registry, and what bytes say by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from uuid import UUID

from monitor.decode.message import Message
from schemas.errors import EventError

Key = int | UUID
"""What a schema is called in a message: an id of the registry, or a GUID that is the same everywhere."""


@dataclass(frozen=True)
class Schema:
    """A schema with everything that it refers to.

    Parameters
    ----------
    kind : str
    text : str
        JSON, or for Protobuf a serialised ``FileDescriptorProto`` in base64.
    references : tuple of Reference
    """

    kind: Literal["AVRO", "PROTOBUF", "JSON"]
    text: str
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class Reference:
    """A schema that another one uses.

    Parameters
    ----------
    name : str
        What the other calls it: the name of a type in Avro, of a file in Protobuf.
    schema : Schema
    """

    name: str
    schema: Schema


class SchemaRegistry(Protocol):
    """Keeps schemas. What a key stands for never changes."""

    def schema(self, key: Key) -> Schema:
        """Return a schema.

        Raises
        ------
        EventError
            If there is none of this key.
        Unavailable
            If the registry cannot be asked now; says nothing about the message.
        """
        ...


@dataclass(frozen=True)
class KnownSchemas:
    """A registry in memory.

    Examples
    --------
    >>> KnownSchemas({7: Schema("AVRO", '"long"')}).schema(7).kind
    'AVRO'
    """

    known: Mapping[Key, Schema]

    def schema(self, key: Key) -> Schema:
        """Return a schema.

        Raises
        ------
        EventError
            If there is none of this key.
        """
        if key not in self.known:
            raise unknown(key)
        return self.known[key]


def unknown(key: Key) -> EventError:
    """Make the error for a key that no schema has."""
    return EventError(f"registry: the schema registry knows no schema {key}")


def document_of(schema: Schema, payload: bytes) -> Any:
    """Read what follows the key of a schema.

    Parameters
    ----------
    schema : Schema
    payload : bytes
        For Protobuf it begins with the place of the message in its file.

    Returns
    -------
    object
        As JSON would have it.

    Raises
    ------
    EventError
        If the bytes do not follow the schema, or the schema cannot be used.
    """
    from monitor.decode import registry_avro, registry_protobuf  # only streams with a registry load these

    if schema.kind == "AVRO":
        return registry_avro.document_of(schema, payload)
    if schema.kind == "PROTOBUF":
        return registry_protobuf.document_of(schema, payload)
    return Message(payload).document
