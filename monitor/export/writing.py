"""Writes portions of rows to a file, as Parquet or CSV."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from schemas.errors import Unavailable, UsageError

Rows: TypeAlias = list[dict[str, Any]]
INSTANT = pa.timestamp("ms", tz="UTC")


class Sink(Protocol):
    """Takes portions of rows."""

    def write_table(self, table: pa.Table) -> None:
        """Write one portion."""
        ...


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be meant, before anything is read.

    Raises
    ------
    UsageError
        If the ending is not known, the folder is not there, or the file is and must not be overwritten.
    """
    if path.suffix.lower() not in _SINKS:
        msg = f"{path}: the ending says how it is written (use {' or '.join(_SINKS)})"
        raise UsageError(msg)
    if not path.parent.is_dir():
        msg = f"{path}: there is no folder {path.parent} (make it first)"
        raise UsageError(msg)
    if path.exists() and not overwrite:
        msg = f"{path}: is there already (--force overwrites it)"
        raise UsageError(msg)


def write(path: Path, schema: pa.Schema, portions: Iterable[Rows], *, overwrite: bool) -> int:
    """Write rows to a file.

    Parameters
    ----------
    path : Path
        Its ending says how: ``.parquet`` or ``.csv``.
    schema : pa.Schema
        Of all rows; a file without any has it too.
    portions : iterable of list of dict
        Each is a row group of Parquet.
    overwrite : bool
        Whether the file may be there.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    UsageError
        See `check_target`.
    Unavailable
        If the file cannot be written.

    Guarantees
    ----------
    Memory is that of one portion. The file has its name once it is whole; if anything fails, it is as it was.
    """
    check_target(path, overwrite=overwrite)
    part, number = path.with_name(f".{path.name}.{os.getpid()}.part"), 0
    try:
        with _SINKS[path.suffix.lower()](part, schema) as sink:
            for rows in portions:
                sink.write_table(pa.Table.from_pylist(rows, schema=schema))
                number += len(rows)
        part.replace(path)
    except OSError as error:
        msg = f"{path}: cannot be written: {error}"
        raise Unavailable(msg) from error
    finally:
        part.unlink(missing_ok=True)
    return number


def _parquet(path: Path, schema: pa.Schema) -> AbstractContextManager[Sink]:
    sink: AbstractContextManager[Sink] = pq.ParquetWriter(path, schema, compression="zstd")
    return sink


class _Csv(AbstractContextManager[Sink]):
    """Lists are written as JSON: CSV has none."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._nested = [field.name for field in schema if pa.types.is_nested(field.type)]
        texts = [pa.field(f.name, pa.string()) if f.name in self._nested else f for f in schema]
        self._schema = pa.schema(texts)
        self._writer = pa.csv.CSVWriter(path, self._schema)

    def write_table(self, table: pa.Table) -> None:
        """Write one portion."""
        for name in self._nested:
            values = [
                None if one is None else json.dumps(one, default=_plain) for one in table[name].to_pylist()
            ]
            table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
        self._writer.write_table(table)

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    msg = f"{type(value).__name__} has no form in JSON"
    raise TypeError(msg)


_SINKS: dict[str, Callable[[Path, pa.Schema], AbstractContextManager[Sink]]] = {
    ".parquet": _parquet,
    ".csv": _Csv,
}
