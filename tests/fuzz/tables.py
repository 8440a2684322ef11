"""Tables of Arrow with columns of any type, for the reader of record batches."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from monitor.decode.reading import ROLES

_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_NEVER = 2**62  # seconds since 1970: later than any calendar goes
_COLUMNS: tuple[tuple[Any, tuple[Any, ...]], ...] = (
    (pa.string(), ("a", "", "\0", "x" * 200)),
    (pa.large_string(), ("a", "")),
    (pa.string_view(), ("a", "b" * 40)),
    (pa.binary(), (b"a", b"\xff")),
    (pa.binary(3), (b"abc",)),
    (pa.int8(), (0, -128)),
    (pa.int64(), (0, 2**63 - 1, 1_767_225_600_000)),
    (pa.uint64(), (2**64 - 1, 1)),
    (pa.float16(), (1.5, float("nan"))),
    (pa.float32(), (0.1, float("inf"))),
    (pa.float64(), (0.25, float("nan"), -0.0)),
    (pa.bool_(), (True, False)),
    (pa.null(), (None,)),
    (pa.decimal128(38, 10), (Decimal("1.5"),)),
    (pa.decimal256(70, -5), (Decimal("1E+6"),)),
    (pa.date32(), (date(2026, 1, 1),)),
    (pa.date64(), (date(2026, 1, 1),)),
    (pa.time64("ns"), (time(1, 2, 3),)),
    (pa.duration("us"), (timedelta(seconds=5),)),
    (pa.timestamp("s"), (_MOMENT.replace(tzinfo=None),)),
    (pa.timestamp("s"), (_NEVER, 0)),
    (pa.timestamp("ns", "UTC"), (_MOMENT,)),
    (pa.timestamp("us", "Nowhere/At-All"), ()),
    (pa.dictionary(pa.int8(), pa.string()), ("a", "b")),
    (pa.dictionary(pa.int32(), pa.timestamp("us")), ()),
    (pa.list_(pa.float64()), ([1.5, None], [])),
    (pa.list_(pa.list_(pa.int32()), 2), ([[1], []],)),
    (pa.map_(pa.string(), pa.float64()), ([("k", 1.5), ("k", 2.5)], [])),
    (pa.struct({"a": pa.float64(), "b": pa.string()}), ({"a": 1.5, "b": "x"}, {"a": None, "b": None})),
    (pa.struct({"a": pa.list_(pa.struct({"b": pa.timestamp("ns")}))}), ({"a": []},)),
    (pa.list_view(pa.int32()), ([1],)),
    (pa.month_day_nano_interval(), ()),
)  # fmt: skip
_NAMES = (*ROLES, "features", "tags", "role", "x", "y", "")


def strange_stream(rng: random.Random) -> bytes:
    """Write a stream or a file with up to eight columns, named as the fields of events often are."""
    rows = rng.choice((0, 1, 2, 5))
    columns = [_column(rng, rows) for _ in range(rng.randint(1, 8))]
    names = rng.choices(_NAMES, k=len(columns)) if rng.random() < 0.2 else rng.sample(_NAMES, len(columns))
    table = pa.Table.from_arrays(columns, names)
    options = pa.ipc.IpcWriteOptions(compression=rng.choice((None, None, "zstd", "lz4")))
    write = rng.choice((pa.ipc.new_stream, pa.ipc.new_stream, pa.ipc.new_file))
    sink = pa.BufferOutputStream()
    with write(sink, table.schema, options=options) as writer:
        for _ in range(rng.choice((1, 1, 2))):
            writer.write_table(table)
    return bytes(sink.getvalue())


def unrelated_times() -> bytes:
    """Write events in native form beside a column that is no field of theirs, of instants that never come."""
    columns = {
        "event_id": ["a", "b"],
        "timestamp": pa.array([_MOMENT] * 2, pa.timestamp("us", "UTC")),
        "prediction": [0, 1],
        "features": [{"a": 1.5, "b": "x"}] * 2,
        "times": pa.array([_NEVER] * 2, pa.timestamp("s")),
    }
    return _stream(pa.table(columns))


def nameless_zone() -> bytes:
    """Write an event at an instant in a zone whose name is no text."""
    columns = {
        "event_id": ["a"],
        "timestamp": pa.array([_MOMENT], pa.timestamp("us", "Europe/Berlin")),
        "prediction": [0],
        "features": [{"a": 1.5}],
    }
    return _stream(pa.table(columns)).replace(b"Europe/Berlin", b"Europe/B\xffrlin")


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _column(rng: random.Random, rows: int) -> pa.Array:
    kind, values = rng.choice(_COLUMNS)
    if not values:
        return pa.nulls(rows, kind)
    choices = (*values, None) if rng.random() < 0.3 else values
    return pa.array([rng.choice(choices) for _ in range(rows)], kind)
