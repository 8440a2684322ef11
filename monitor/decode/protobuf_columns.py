"""Many Protobuf messages of one schema at once, field by field, as columns.

The library (upb, in C) reads the messages; each field is then taken out of all of them together. Messages of
numbers, truth values, texts and instants are read, and those in a message ``features``; everything else in a
schema, and every message that is not as it should be, is left to the reader of
`monitor.decode.registry_protobuf`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter, methodcaller
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from monitor.decode.json import LATEST_MS
from monitor.decode.registry import Schema
from monitor.decode.registry_protobuf import message_class, place_of
from schemas.errors import EventError

Path = tuple[str, ...]
_TYPES = {
    FieldDescriptor.CPPTYPE_DOUBLE: pa.float64(),
    FieldDescriptor.CPPTYPE_FLOAT: pa.float64(),
    FieldDescriptor.CPPTYPE_INT32: pa.int64(),
    FieldDescriptor.CPPTYPE_INT64: pa.int64(),
    FieldDescriptor.CPPTYPE_UINT32: pa.int64(),
    FieldDescriptor.CPPTYPE_UINT64: pa.uint64(),
    FieldDescriptor.CPPTYPE_BOOL: pa.bool_(),
    FieldDescriptor.CPPTYPE_STRING: pa.string(),
}
_INSTANT = pa.timestamp("us", "UTC")
_FEATURES = "features"
_MOST_LAYOUTS = 1_000
_MOST_PLACES = 8  # messages of a file that are read together in a fetch, each on its own


@dataclass(frozen=True)
class Field:
    """A field that is read, and the type of its column; one that tracks no presence is always there."""

    path: Path
    type: pa.DataType
    tracks_presence: bool


@dataclass(frozen=True)
class Layout:
    """Fields of a message, and those of the message ``features`` in it."""

    kind: type[Message]
    fields: tuple[Field, ...]

    def read(self, payloads: Sequence[bytes]) -> tuple[NDArray[np.int64], dict[Path, pa.Array]]:
        """Read messages.

        Returns
        -------
        rows : int64 array
            Which of them could be read.
        columns : dict of path to Arrow array
            Their fields.
        """
        messages, rows = _parsed(self.kind, payloads)
        right = np.ones(len(rows), bool)
        made = self._columns(messages, right)
        columns = {field.path: column for field, column in zip(self.fields, made, strict=True)}
        if not right.all():
            mask = pa.array(right)
            columns = {path: column.filter(mask) for path, column in columns.items()}
        return rows[right], columns

    def _columns(self, messages: list[Message], right: NDArray[np.bool_]) -> Iterator[pa.Array]:
        """Columns of all fields; notes in `right` which messages hold what cannot be told."""
        has_features = any(len(field.path) > 1 for field in self.fields)
        inner = list(map(attrgetter(_FEATURES), messages)) if has_features else []
        is_there = _is_there(_FEATURES, messages) if has_features else None
        for field in self.fields:
            if len(field.path) == 1:
                yield _column(field, messages, right)
                continue
            column = _column(field, inner, right)
            yield column if is_there is None else pc.if_else(is_there, column, pa.scalar(None, column.type))


def layouts(schema: Schema, payloads: Mapping[int, bytes]) -> list[tuple[Layout, dict[int, bytes]]]:
    """Sort messages by their place in the file of a schema.

    Parameters
    ----------
    schema : Schema
    payloads : mapping of int to bytes
        Places and messages, by position.

    Returns
    -------
    list of (Layout, dict of int to bytes)
        Messages of each kind that can be read at once, without their places.
    """
    groups: defaultdict[bytes, dict[int, bytes]] = defaultdict(dict)
    for at, payload in payloads.items():
        front = next((known for known in groups if payload.startswith(known)), None)
        if front is None:
            try:
                front = payload[: place_of(payload)[1]]
            except EventError:
                continue  # said of the message when it is read on its own
            if len(groups) >= _MOST_PLACES:
                continue
        groups[front][at] = payload[len(front) :]
    found = ((_layout(schema, place_of(front)[0]), its) for front, its in groups.items())
    return [(layout, its) for layout, its in found if layout is not None]


@lru_cache(maxsize=_MOST_LAYOUTS)
def _layout(schema: Schema, place: tuple[int, ...]) -> Layout | None:
    """Fields of a message; None if it does not exist or has others than those that are read."""
    try:
        kind = message_class(schema, place)
    except EventError:
        return None  # the same
    fields: list[Field] = []
    for field in kind.DESCRIPTOR.fields:
        found = _features(field) if field.name == _FEATURES else _simple(field, ())
        if found is None:
            return None
        fields += found
    return Layout(kind, tuple(fields))


def _features(field: Any) -> list[Field] | None:
    inner: Descriptor | None = field.message_type
    if inner is None or field.is_repeated or inner.full_name.startswith("google.protobuf."):
        return None
    found = [_simple(one, (_FEATURES,)) for one in inner.fields]
    return None if None in found else [one for several in found for one in several or []]


def _simple(field: Any, above: Path) -> list[Field] | None:
    if field.is_repeated or field.type == FieldDescriptor.TYPE_BYTES or hasattr(Message, field.name):
        return None  # a name that messages have for something else cannot be asked for
    path = (*above, field.name)
    if not above and field.message_type is not None:
        is_instant = field.message_type.full_name == "google.protobuf.Timestamp" and field.name == "timestamp"
        return [Field(path, _INSTANT, tracks_presence=True)] if is_instant else None
    kind = _TYPES.get(field.cpp_type)
    return None if kind is None else [Field(path, kind, tracks_presence=field.has_presence)]


def _parsed(kind: type[Message], payloads: Sequence[bytes]) -> tuple[list[Message], NDArray[np.int64]]:
    """Messages that can be read, and which they are."""
    try:
        return list(map(kind.FromString, payloads)), np.arange(len(payloads))
    except DecodeError:
        pass  # one of them at least: now one by one
    messages, rows = [], []
    for row, payload in enumerate(payloads):
        try:
            messages.append(kind.FromString(payload))
        except DecodeError:
            continue  # said of the message when it is read on its own
        rows.append(row)
    return messages, np.array(rows, np.int64)


def _column(field: Field, messages: Sequence[Message], right: NDArray[np.bool_]) -> pa.Array:
    name = field.path[-1]
    values = list(map(attrgetter(name), messages))
    special = {_INSTANT: _instants, pa.string(): _texts}.get(field.type)
    column = pa.array(values, field.type) if special is None else special(values, right)
    if field.tracks_presence:
        return pc.if_else(_is_there(name, messages), column, pa.scalar(None, column.type))
    if field.type == pa.string():  # a text that was not set
        return pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
    return column


def _is_there(name: str, messages: Sequence[Message]) -> pa.Array:
    return pa.array(list(map(methodcaller("HasField", name), messages)), pa.bool_())


def _instants(values: Sequence[Any], right: NDArray[np.bool_]) -> pa.Array:
    seconds = np.fromiter(map(attrgetter("seconds"), values), np.int64, len(values))
    nanos = np.fromiter(map(attrgetter("nanos"), values), np.int64, len(values))
    fits = (seconds >= 0) & (seconds < LATEST_MS // 1_000) & (nanos >= 0) & (nanos < 1_000_000_000)
    right &= fits
    micros = np.where(fits, seconds, 0) * 1_000_000 + np.where(fits, nanos, 0) // 1_000
    return pa.array(micros).cast(_INSTANT)


def _texts(values: Sequence[Any], right: NDArray[np.bool_]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except pa.ArrowInvalid:
        # Files of older syntax allow texts that are not UTF-8, which come as bytes.
        is_text = np.array([type(value) is str for value in values])
        right &= is_text
        return pa.array(np.where(is_text, np.array(values, object), ""), pa.string())
