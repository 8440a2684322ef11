"""Record batches of Apache Arrow, one row an event.

References
----------
.. [1] Apache Arrow, "Serialization and Interprocess Communication (IPC)".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from monitor.decode.arrow_limits import check_packed, refuse_if_large, shared_bytes
from monitor.decode.flat import flat_event, plain
from monitor.decode.message import Event, Message
from monitor.decode.reading import ROLES, Example, Kind, Reading
from monitor.decode.records import Records
from schemas.errors import EventError

_STREAM, _FILE = b"\xff\xff\xff\xff", b"ARROW1\x00\x00"
_MEDIA_TYPE = "application/vnd.apache.arrow."
_MOST_ROWS = 100_000
_USUAL = {role: role for role in ROLES}
_NATIVE_ONLY = ("tags", "role")
_UNREADABLE = (pa.ArrowException, OSError, MemoryError, OverflowError, UnicodeDecodeError)


class Arrow:
    """Streams and files of the interprocess format, which hold their schema."""

    name: ClassVar[str] = "arrow"
    order: ClassVar[int] = 16

    def matches(self, message: Message) -> bool:
        """Whether the value begins as such a stream or file does, or a header says so."""
        if message.is_read and not isinstance(message.read, EventError):
            return False  # somebody has taken the value out already
        return message.value.startswith((_STREAM, _FILE)) or message.content_type.startswith(_MEDIA_TYPE)

    def events(self, message: Message, reading: Reading, _kind: Kind) -> list[Event]:
        """Turn every row into an event.

        Columns are called as the fields of native events are, or as `Reading.fields` says. Features are the
        fields of a column ``features``, or all other columns.
        """
        try:
            return [event for batch in _batches(message.value) for event in _events(batch, reading)]
        except _UNREADABLE as error:
            msg = f"arrow: {' '.join(str(error).split())[:200] or type(error).__name__}"
            raise EventError(msg) from error

    def records(self, messages: Mapping[int, Message], reading: Reading) -> list[Records]:
        """Columns of all messages that have the same ones, put together."""
        groups: defaultdict[pa.Schema, list[tuple[int, pa.RecordBatch]]] = defaultdict(list)
        for at, message in messages.items():
            try:
                batches = list(_batches(message.value))
            except (EventError, *_UNREADABLE):
                continue  # said of the message when it is read on its own
            for batch in batches:
                schema = _schema_among(groups, batch.schema)
                groups[schema].append((at, batch))
        found = []
        for schema, several in groups.items():
            try:
                records = _records(schema, several, reading)
            except _UNREADABLE:
                continue  # the same
            if records is not None:
                found.append(records)
        return found

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A stream in native form, a file of somebody's own making, and labels."""
        return (_native(), _of_ones_own(), _labels())


def _schema_among(known: dict[pa.Schema, Any], schema: pa.Schema) -> pa.Schema:
    """Find the schema that is the same but for its metadata; to hash one takes longer than to compare two."""
    last = next(reversed(known), None)
    return last if last is not None and schema.equals(last) else schema.remove_metadata()


def _batches(value: bytes) -> Iterator[pa.RecordBatch]:
    """Read batches and check every buffer, so that nothing outside them is ever read."""
    data = pa.py_buffer(value)
    if value.startswith(_FILE):
        data = data.slice(len(_FILE))  # a file is a stream between a mark and a table of contents
    check_packed(data)
    rows = size = 0
    for batch in pa.ipc.open_stream(data, options=pa.ipc.IpcReadOptions(use_threads=False)):
        rows += batch.num_rows
        if rows > _MOST_ROWS:
            msg = f"arrow: more than {_MOST_ROWS} rows in one message"
            raise EventError(msg)
        batch.validate(full=True)
        size += batch.nbytes + sum(map(shared_bytes, _columns(batch)))
        refuse_if_large(size)
        yield batch


def _columns(batch: pa.RecordBatch) -> list[pa.Array]:
    try:
        return list(batch.columns)
    except KeyError as error:  # Arrow itself knows types that Python does not, such as intervals of months
        msg = "arrow: a column has a type that is not read"
        raise EventError(msg) from error


def _events(batch: pa.RecordBatch, reading: Reading) -> list[Event]:
    names = batch.schema.names
    if len(set(names)) < len(names):
        msg = "arrow: several columns have the same name"
        raise EventError(msg)
    columns = dict(zip(names, batch.columns, strict=True))
    is_nested = "features" in columns and pa.types.is_nested(columns["features"].type)
    if is_nested:
        columns["features"] = _chosen(columns["features"], reading.inputs)
    rows = _rows(columns, _needed(names, reading, is_nested=is_nested), batch.num_rows)
    return [_nested(row, reading) if is_nested else flat_event(row, reading, _USUAL) for row in rows]


def _needed(names: list[str], reading: Reading, *, is_nested: bool) -> list[str]:
    """Columns that events are made of. No other is looked at: what is in it need not be readable."""
    roles = {**_USUAL, **reading.fields}.values()
    if is_nested:
        return [name for name in names if name in {"features", *_NATIVE_ONLY, *roles}]
    return [name for name in names if not reading.inputs or name in {*reading.inputs, *roles}]


def _chosen(features: pa.Array, inputs: tuple[str, ...]) -> pa.Array:
    """Features that are to be read; all, if nobody says which."""
    kind = features.type
    if not inputs or not pa.types.is_struct(kind):
        return features
    known = [kind.field(at).name for at in range(kind.num_fields)]
    if len(set(known)) < len(known):
        return features  # says itself that it cannot be read
    fields = [features.field(name) if name in known else pa.nulls(len(features)) for name in inputs]
    return pa.StructArray.from_arrays(fields, inputs, mask=features.is_null())


def _rows(columns: Mapping[str, pa.Array], needed: list[str], n: int) -> list[dict[str, Any]]:
    if not needed:
        return [{} for _ in range(n)]
    batch = pa.RecordBatch.from_pydict({name: _readable(columns[name]) for name in needed})
    rows: list[dict[str, Any]] = batch.to_pylist(maps_as_pydicts="strict")
    return rows


def _records(
    schema: pa.Schema, batches: list[tuple[int, pa.RecordBatch]], reading: Reading
) -> Records | None:
    """Sort columns into fields and features, as `_nested` and `flat_event` do; None if that is not simple."""
    named = {**_USUAL, **reading.fields}
    reserved = {"features", *_NATIVE_ONLY}
    if len(set(schema.names)) < len(schema.names) or reserved & set(named.values()):
        return None
    table = pa.Table.from_batches([batch.replace_schema_metadata() for _, batch in batches], schema)
    columns = {name: _whole(table[name]) for name in schema.names}
    message = np.repeat([at for at, _ in batches], [batch.num_rows for _, batch in batches])
    fields = {role: columns[name] for role, name in named.items() if name in columns}
    nested = columns.get("features")
    if nested is None or not pa.types.is_nested(nested.type):
        features = {name: column for name, column in columns.items() if name not in named.values()}
        if reading.inputs:
            features = {name: columns[name] for name in reading.inputs if name in columns}
        return Records(message, fields, features, is_free=True)
    inner = [nested.type.field(at).name for at in range(nested.type.num_fields)]
    if not pa.types.is_struct(nested.type) or len(set(inner)) < len(inner):
        return None
    features = dict(zip(inner, nested.flatten(), strict=True))
    if reading.inputs:
        features = {name: features[name] for name in reading.inputs if name in features}
    fields |= {name: columns[name] for name in _NATIVE_ONLY if name in columns}
    return Records(message, fields, features, is_free=True)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    joined = column.combine_chunks()
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined


def _readable(column: pa.Array) -> pa.Array:
    """Decimals as numbers; instants in a unit that Python has, and in UTC, whatever zone is named."""
    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    if pa.types.is_timestamp(column.type):
        unit = "us" if column.type.unit == "ns" else column.type.unit
        return column.cast(pa.timestamp(unit, "UTC"), safe=False)
    return column


def _nested(row: dict[str, Any], reading: Reading) -> Event:
    """Make an event of a row whose features stand in a column of their own."""
    features = row.pop("features")
    event = flat_event(row, reading, _USUAL)
    event.pop("features", None)
    event |= {name: plain(row[name]) for name in _NATIVE_ONLY if row.get(name) is not None}
    if isinstance(features, dict):
        chosen = reading.inputs or features
        event["features"] = {name: plain(features.get(name)) for name in chosen}
    return event


# --- examples ---------------------------------------------------------------------------------------------


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _file(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _native() -> Example:
    events: tuple[Event, ...] = tuple(
        {
            "event_id": id_,
            "model": "m",
            "timestamp": f"2026-01-01T00:00:0{at}+00:00",
            "prediction": at,
            "features": {"a": 1.5, "b": "x"},
        }
        for at, id_ in enumerate(("f-1", "f-2"))
    )
    table = _with_times(pa.Table.from_pylist(list(events)), pa.timestamp("ns", "Europe/Berlin"))
    return Example(Message(_stream(table)), events)


def _of_ones_own() -> Example:
    record = {"key": 7, "name": "m", "at": 1_767_225_600.5, "y": 0.25, "age": 40, "city": "Ulm"}
    event = {
        "event_id": "7",
        "model": "m",
        "timestamp": 1_767_225_600_500,
        "prediction": 0.25,
        "features": {"age": 40, "city": "Ulm"},
    }
    fields = {"event_id": "key", "timestamp": "at", "prediction": "y", "model": "name"}
    return Example(Message(_file(pa.Table.from_pylist([record]))), (event,), reading=Reading(fields=fields))


def _labels() -> Example:
    event = {"event_id": "f-1", "model": "m", "timestamp": "2026-01-01T00:00:09+00:00", "label": "late"}
    table = _with_times(pa.Table.from_pylist([event]), pa.timestamp("s"))
    return Example(Message(_stream(table)), (event,), "labels")


def _with_times(table: pa.Table, kind: pa.DataType) -> pa.Table:
    stamps = [datetime.fromisoformat(text) for text in table["timestamp"].to_pylist()]
    times = pa.array(stamps, pa.timestamp("us", "UTC")).cast(kind)
    return table.set_column(table.schema.get_field_index("timestamp"), "timestamp", times)
