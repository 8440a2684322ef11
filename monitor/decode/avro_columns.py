"""Many Avro values of one schema at once, field by field, as columns.

Where a field begins depends on the lengths of all before it, so every value has a place of its own; numpy
moves all places on together. Records of numbers, truth values, texts and enumerations, each of which may also
be null, are read; everything else in a schema, and every value that is not as it should be, is left to the
reader of `monitor.decode.registry_avro`.

References
----------
.. [1] Apache Avro, "Specification", version 1.12: binary encoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitor.decode.registry import Schema
from monitor.decode.registry_avro import parsed_schema
from schemas.errors import EventError

Rows = NDArray[np.int64]
_FIXED = {"double": "<f8", "float": "<f4", "boolean": "u1"}
_PRIMITIVE = frozenset({*_FIXED, "int", "long", "string", "null"})
_INSTANTS = {"timestamp-millis": pa.timestamp("ms", "UTC"), "timestamp-micros": pa.timestamp("us", "UTC")}
_LONGEST_VARINT = 10
_LARGEST = 1 << 30  # bytes of all values: Arrow counts texts with 32 bits
_MOST_SCHEMAS = 1_000
_INT = 2**31


@dataclass(frozen=True)
class Kind:
    """What a field holds.

    Parameters
    ----------
    name : str
        Of a primitive type, or ``enum``.
    symbols : tuple of str
        Of an enumeration.
    null_at : int, optional
        Branch of the union that is null; None if it is no union.
    instant : Arrow type, optional
        Of a number that stands for an instant.
    """

    name: str
    symbols: tuple[str, ...] = ()
    null_at: int | None = None
    instant: pa.DataType | None = None


@dataclass(frozen=True)
class Layout:
    """Fields of a record in their order, those of a record inside of it with the names of both."""

    fields: tuple[tuple[tuple[str, ...], Kind], ...]

    def read(self, payloads: Sequence[bytes]) -> tuple[NDArray[np.int64], dict[tuple[str, ...], pa.Array]]:
        """Read values.

        Returns
        -------
        rows : int64 array
            Which of them could be read.
        columns : dict of path to Arrow array
            Their fields.
        """
        if sum(map(len, payloads)) > _LARGEST:
            return np.zeros(0, np.int64), {}
        places = _Places(payloads, 8 * len(self.fields))
        columns = dict(places.columns(self.fields))
        right = ~places.wrong & (places.at == places.end)
        rows = np.flatnonzero(right)
        if len(rows) < len(payloads):
            mask = pa.array(right)
            columns = {path: column.filter(mask) for path, column in columns.items()}
        return rows, columns


@lru_cache(maxsize=_MOST_SCHEMAS)
def layout_of(schema: Schema) -> Layout | None:
    """Fields of a schema; None if it is none of a record that can be read at once.

    Examples
    --------
    >>> text = '{"type": "record", "name": "R", "fields": [{"name": "x", "type": "double"}]}'
    >>> rows, columns = layout_of(Schema("AVRO", text)).read([bytes(8), b"short"])
    >>> rows.tolist(), columns[("x",)].to_pylist()
    ([0], [0.0])
    """
    try:
        top = parsed_schema(schema)["fields"][0]["type"]
    except EventError:
        return None  # who reads messages one by one says what is wrong with it
    fields = _fields(top, ()) if isinstance(top, dict) and top["type"] == "record" else None
    return None if fields is None else Layout(tuple(fields))


def _fields(record: Any, above: tuple[str, ...]) -> list[tuple[tuple[str, ...], Kind]] | None:
    found: list[tuple[tuple[str, ...], Kind]] = []
    for field in record["fields"]:
        path, type_ = (*above, field["name"]), field["type"]
        if isinstance(type_, dict) and type_["type"] == "record":
            inner = _fields(type_, path) if path == ("features",) else None
            if inner is None:
                return None
            found += inner
            continue
        kind = _kind(type_)
        if kind is None or (kind.instant is not None and path != ("timestamp",)):
            return None
        found.append((path, kind))
    return found


def _kind(type_: Any) -> Kind | None:
    if isinstance(type_, list):
        others = [one for one in type_ if one != "null"]
        inner = _kind(others[0]) if len(type_) == 2 and len(others) == 1 else None
        if inner is None or inner.null_at is not None or inner.name == "null":
            return None
        return Kind(inner.name, inner.symbols, type_.index("null"), inner.instant)
    if isinstance(type_, str):
        return Kind(type_) if type_ in _PRIMITIVE else None
    if type_["type"] == "enum":
        return Kind("enum", tuple(type_["symbols"]))
    if "logicalType" in type_:
        instant = _INSTANTS.get(type_["logicalType"]) if type_["type"] == "long" else None
        return None if instant is None else Kind("long", instant=instant)
    return Kind(type_["type"]) if type_["type"] in _PRIMITIVE else None


class _Places:
    """Where in each value the next field begins; a value that goes wrong stays at its end.

    Parameters
    ----------
    payloads : sequence of bytes
    spare : int
        Bytes behind the last one that may be looked at.
    """

    def __init__(self, payloads: Sequence[bytes], spare: int) -> None:
        data = b"".join([*payloads, bytes(spare + _LONGEST_VARINT)])
        self._data = np.frombuffer(data, np.uint8)
        self._buffer = pa.py_buffer(data)
        lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
        self.end = np.cumsum(lengths)
        self.at = self.end - lengths
        self.wrong = np.zeros(len(payloads), bool)

    def columns(self, fields: Sequence[tuple[tuple[str, ...], Kind]]) -> Mapping[tuple[str, ...], pa.Array]:
        """Read fields, those of a fixed size that follow each other together."""
        found: dict[tuple[str, ...], pa.Array] = {}
        every = np.arange(len(self.at))
        first = 0
        while first < len(fields):
            last = first
            while last < len(fields) and _is_fixed(fields[last][1]):
                last += 1
            if last > first:
                run = fields[first:last]
                columns = self._fixed([kind.name for _, kind in run], every)
                found |= zip([path for path, _ in run], columns, strict=True)
                first = last
            else:
                path, kind = fields[first]
                found[path] = (
                    self._nullable(kind, every) if kind.null_at is not None else self._one(kind, every)
                )
                first += 1
        return found

    def _nullable(self, kind: Kind, rows: Rows) -> pa.Array:
        branch = self._varint(rows)
        self._refuse(rows, (branch != 0) & (branch != 1))
        there = np.flatnonzero(branch == 1 - (kind.null_at or 0))
        column = self._one(kind, rows[there])
        if len(there) == len(rows):
            return column
        places = np.zeros(len(rows), np.int64)
        places[there] = np.arange(len(there))
        missing = np.ones(len(rows), bool)
        missing[there] = False
        return column.take(pa.array(places, mask=missing))

    def _one(self, kind: Kind, rows: Rows) -> pa.Array:
        if kind.name in _FIXED:
            return self._fixed([kind.name], rows)[0]
        if kind.name == "string":
            return self._texts(rows)
        if kind.name == "null":
            return pa.nulls(len(rows))
        values = self._varint(rows)
        if kind.name == "enum":
            self._refuse(rows, (values < 0) | (values >= len(kind.symbols)))
            codes = np.clip(values, 0, len(kind.symbols) - 1)
            return pa.array(kind.symbols, pa.string()).take(pa.array(codes))
        if kind.name == "int":
            self._refuse(rows, (values < -_INT) | (values >= _INT))
        column = pa.array(values)
        return column if kind.instant is None else column.cast(kind.instant)

    def _fixed(self, names: Sequence[str], rows: Rows) -> list[pa.Array]:
        """Read fields whose size does not depend on their values."""
        layout = np.dtype([(str(at), _FIXED[name]) for at, name in enumerate(names)])
        windows = np.lib.stride_tricks.sliding_window_view(self._data, layout.itemsize)
        records = windows[self.at[rows]].view(layout)[:, 0]
        self._move(rows, np.int64(layout.itemsize))
        found = []
        for at, name in enumerate(names):
            values = records[str(at)]
            if name == "boolean":
                self._refuse(rows, values > 1)
                found.append(pa.array(values == 1))
            else:
                found.append(pa.array(values.astype(np.float64)))
        return found

    def _texts(self, rows: Rows) -> pa.Array:
        """Read texts: of every second piece of all bytes, as places only ever go on."""
        length = self._varint(rows)
        self._refuse(rows, (length < 0) | (length > self.end[rows] - self.at[rows]))
        length = np.where(self.wrong[rows], 0, length)
        offsets = np.empty(2 * len(rows), np.int32)
        offsets[::2], offsets[1::2] = self.at[rows], self.at[rows] + length
        self._move(rows, length)
        if not len(rows):
            return pa.array([], pa.string())
        pieces = pa.Array.from_buffers(
            pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), self._buffer]
        )
        texts = pieces.take(pa.array(np.arange(0, len(offsets), 2)))
        try:
            return texts.cast(pa.string())
        except pa.ArrowInvalid:
            decoded = [_text(value) for value in texts.to_pylist()]
            self._refuse(rows, np.array([text is None for text in decoded]))
            return pa.array([text or "" for text in decoded], pa.string())

    def _varint(self, rows: Rows) -> NDArray[np.int64]:
        """Read numbers in zigzag coding."""
        at = self.at[rows]
        byte = self._data[at]
        value = (byte & 0x7F).astype(np.uint64)
        length = np.ones(len(rows), np.int64)
        more = np.flatnonzero(byte >= 0x80)
        for step in range(1, _LONGEST_VARINT):
            if not len(more):
                break
            byte = self._data[at[more] + step]
            value[more] |= (byte & 0x7F).astype(np.uint64) << np.uint64(7 * step)
            length[more] += 1
            if step == _LONGEST_VARINT - 1:
                self._refuse(rows[more], byte > 1)  # more than 64 bits
            more = more[byte >= 0x80]
        self._move(rows, length)
        found: NDArray[np.int64] = (value >> np.uint64(1)).astype(np.int64)
        return np.where(value & np.uint64(1), ~found, found)

    def _move(self, rows: Rows, by: NDArray[np.int64] | np.int64) -> None:
        at = self.at[rows] + by
        end = self.end[rows]
        self.wrong[rows] |= at > end
        self.at[rows] = np.where(self.wrong[rows], end, at)

    def _refuse(self, rows: Rows, which: NDArray[np.bool_]) -> None:
        if which.any():
            at = rows[which]
            self.wrong[at] = True
            self.at[at] = self.end[at]


def _is_fixed(kind: Kind) -> bool:
    return kind.name in _FIXED and kind.null_at is None


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
