"""A table, wherever it comes from: columns with one type each, read in parts that fit into memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from monitor.frames.names import KnownKinds
from schemas.errors import UsageError

MOST_ROWS = 65_536
MOST_VALUES = 4_000_000  # read together
_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Table:
    """One row an event.

    Parameters
    ----------
    name : str
        For messages: the file, or what the frame is called.
    schema : pa.Schema
        Columns, with nested ones flattened to dotted names. Types hold for the whole table.
    parts : callable
        Reads the table from its beginning; may be called any number of times.
    has_types : bool
        Whether the table says itself what numbers and what texts are; CSV does not.
    """

    name: str
    schema: pa.Schema
    parts: Callable[[], Iterator[pa.Table]]
    has_types: bool = True

    def wrong(self, what: str) -> UsageError:
        """Make the error that says what is wrong with the table."""
        return UsageError(f"{self.name}: {what}")


def open_table(path: str | Path, kinds: KnownKinds) -> Table:
    """Open a CSV or Parquet file; which of them it is, its first bytes say.

    Parameters
    ----------
    path : str or Path
        CSV is UTF-8 with commas and a line of names, and may be compressed (``.gz``, ``.bz2``, ``.zst``).
    kinds : KnownKinds
        Decides how a column of a CSV file is read that could be numbers or texts.

    Raises
    ------
    UsageError
        If the file cannot be read, has no columns, or a name twice.
    """
    from monitor.frames import csv_file, parquet_file

    try:
        with Path(path).open("rb") as file:
            start = file.read(len(_PARQUET))
        table = parquet_file.read(path) if start == _PARQUET else csv_file.read(path, kinds)
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror or error} (a CSV or Parquet file is needed)"
        raise UsageError(msg) from error
    except pa.ArrowException as error:
        msg = f"{path}: {str(error).splitlines()[0]}"
        raise UsageError(msg) from error
    return checked(table)


def checked(table: Table) -> Table:
    """Return a table whose columns have names of their own.

    Raises
    ------
    UsageError
        If it has no columns, or a name twice.
    """
    twice = [name for name, number in Counter(table.schema.names).items() if number > 1]
    if twice:
        msg = f"column {twice[0]!r} is there twice (names of columns must differ)"
        raise table.wrong(msg)
    if not table.schema.names:
        msg = "has no columns"
        raise table.wrong(msg)
    return table


def rows_together(columns: int) -> int:
    """Rows of a table with that many columns that are read at once."""
    return max(256, min(MOST_ROWS, MOST_VALUES // max(columns, 1)))


def flattened(table: pa.Table) -> pa.Table:
    """Turn nested columns into columns with dotted names."""
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table
