"""Looks for bytes in a whole database, also inside what is compressed or written in base64."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from ruamel.yaml import YAML
from sqlalchemy import Engine, LargeBinary, select

from monitor.store.engine import reading
from monitor.store.tables import metadata

_ZSTD = b"\x28\xb5\x2f\xfd"
_REPEATED = 1  # a block of one byte, over and over


def places(engine: Engine, *needles: bytes) -> set[str]:
    """Tables and columns that hold any of the needles."""
    found = set()
    with reading(engine) as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)):
                for column, value in zip(table.columns, row, strict=True):
                    if any(needle in data for data in _layers(column, value) for needle in needles):
                        found.add(f"{table.name}.{column.name}")
    return found


def _layers(column: Any, value: Any) -> Iterator[bytes]:
    if value is None:
        return
    data = bytes(value) if isinstance(column.type, LargeBinary) else str(value).encode()
    yield data
    if column.name == "headers":
        yield from (base64.b64decode(one) for _, one in json.loads(value) if one)
    yield from _unpacked(data)


def _unpacked(data: bytes) -> Iterator[bytes]:
    """What is compressed in there, and what is compressed in that."""
    at = data.find(_ZSTD)
    while at >= 0:
        end = _end_of_frame(data, at)
        with pa.input_stream(pa.BufferReader(data[at:end]), compression="zstd") as stream:
            inner: bytes = stream.read()
        yield inner
        yield from _unpacked(inner)
        at = data.find(_ZSTD, end)


def _end_of_frame(data: bytes, at: int) -> int:
    """First byte after a frame, by the lengths of its blocks; see RFC 8878, section 3.1.1."""
    descriptor = data[at + 4]
    is_single = descriptor >> 5 & 1
    size_bytes = (is_single, 2, 4, 8)[descriptor >> 6]
    at += 5 + (not is_single) + (0, 1, 2, 4)[descriptor & 3] + size_bytes
    is_last = 0
    while not is_last:
        block = int.from_bytes(data[at : at + 3], "little")
        is_last, kind = block & 1, block >> 1 & 3
        at += 3 + (1 if kind == _REPEATED else block >> 3)
    return at + (4 if descriptor >> 2 & 1 else 0)


def rows_of(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, in a fixed order."""
    with reading(engine) as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def write_configuration(path: Path, given: dict[str, Any]) -> str:
    """Write a configuration; returns its path."""
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(given, file)
    return str(path)
