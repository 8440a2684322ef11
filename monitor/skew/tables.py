"""Tables as sides of a comparison: files and pandas frames, one row an event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.mismatch import Values
from monitor.frames.names import MODEL, TIMESTAMP, VERSION, feature_path
from monitor.frames.table import Table
from monitor.frames.times import WrongInstant, event_times
from monitor.skew.batch import NO_TIME, Batch, Wanted
from monitor.skew.columns import of_arrow, of_series, text_of, text_of_series
from monitor.skew.keys import joined
from schemas.column import feature_name
from schemas.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 20


def batches_of(table: Table, wanted: Wanted) -> Iterator[Batch]:
    """Read a table in parts.

    Raises
    ------
    UsageError
        If a column of the key is not there, or a column or an instant cannot be read.
    """
    rows = 0
    try:
        for part in table.parts():
            yield _batch(_Part(table.name, part, rows), wanted)
            rows += part.num_rows
    except pa.ArrowException as error:
        raise table.wrong(str(error).splitlines()[0]) from error
    except OSError as error:
        msg = f"cannot be read: {error.strerror or error}"
        raise table.wrong(msg) from error


def batch_of_frame(frame: pd.DataFrame, wanted: Wanted, name: str) -> Batch:
    """Read a pandas frame, which is not changed; see `batches_of`.

    Parameters
    ----------
    frame : pandas.DataFrame
        An index with a name counts as a column.
    wanted : Wanted
    name : str
        What messages call the frame.
    """
    there = set(map(str, frame.columns))
    named = [level for level in frame.index.names if level is not None and str(level) not in there]
    return _batch(_Frame(name, frame.reset_index(named) if named else frame), wanted)


def check_columns(name: str, columns: list[str], wanted: Wanted) -> None:
    """Make sure that a table has what makes the key.

    Raises
    ------
    UsageError
        If it does not.
    """
    entity = () if wanted.entity is None else (wanted.entity,)
    for option, needed in (("--key", wanted.key), ("--entity", entity)):
        for column in needed:
            if column not in columns:
                listed = ", ".join(columns[:_SHOWN]) + (", …" if len(columns) > _SHOWN else "")
                msg = f"{name}: there is no column {column!r} ({option} names columns; there are: {listed})"
                raise UsageError(msg)


class _Columns(Protocol):
    """Columns of some rows."""

    @property
    def name(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def names(self) -> list[str]: ...
    def __len__(self) -> int: ...
    def text(self, column: str) -> pa.Array: ...
    def array(self, column: str) -> pa.Array: ...
    def values(self, column: str, rows: NDArray[np.int64]) -> Values: ...


@dataclass(frozen=True)
class _Part:
    """A part of a table whose columns have one type each; `first` is the number of its first row."""

    name: str
    part: pa.Table
    first: int

    @property
    def names(self) -> list[str]:
        return list(self.part.schema.names)

    def __len__(self) -> int:
        return int(self.part.num_rows)

    def text(self, column: str) -> pa.Array:
        return text_of(self.part.column(column))

    def array(self, column: str) -> pa.Array:
        return self.part.column(column).combine_chunks()

    def values(self, column: str, rows: NDArray[np.int64]) -> Values:
        return of_arrow(self.part.column(column).take(pa.array(rows)))


@dataclass(frozen=True)
class _Frame:
    """A pandas frame, whose columns of objects may hold values of several types."""

    name: str
    frame: pd.DataFrame
    first: int = 0

    @property
    def names(self) -> list[str]:
        return [str(label) for label in self.frame.columns]

    def __len__(self) -> int:
        return len(self.frame)

    def _series(self, column: str) -> pd.Series:
        return self.frame.iloc[:, self.names.index(column)]

    def text(self, column: str) -> pa.Array:
        return text_of_series(self._series(column))

    def array(self, column: str) -> pa.Array:
        return pa.array(self._series(column), from_pandas=True)

    def values(self, column: str, rows: NDArray[np.int64]) -> Values:
        return of_series(self._series(column).iloc[rows])


def _batch(columns: _Columns, wanted: Wanted) -> Batch:
    check_columns(columns.name, columns.names, wanted)
    rows = _picked(columns, wanted)
    at = pa.array(rows)
    features = {
        feature_name(path): name
        for name in columns.names
        if name not in wanted.key and (path := feature_path(name)) is not None
    }

    def read(chosen: NDArray[np.int64]) -> dict[str, Values]:
        return {name: _values(columns, column, rows[chosen]) for name, column in features.items()}

    has_times = TIMESTAMP in columns.names
    times = _instants(columns, TIMESTAMP) if has_times else np.full(len(columns), NO_TIME)
    parts = [_part(columns, name, wanted).take(at) for name in wanted.key]
    entities = None if wanted.entity is None else columns.text(wanted.entity).take(at)
    return Batch(joined(parts), times[rows], read, entities)


def _part(columns: _Columns, name: str, wanted: Wanted) -> pa.Array:
    if name in wanted.instants:
        return pa.array(_instants(columns, name)).cast(pa.string())
    return columns.text(name)


def _values(columns: _Columns, name: str, rows: NDArray[np.int64]) -> Values:
    try:
        return columns.values(name, rows)
    except ValueError as error:
        msg = f"{columns.name}: {name}: {error}"
        raise UsageError(msg) from None


def _instants(columns: _Columns, name: str) -> NDArray[np.int64]:
    try:
        return event_times(columns.array(name))
    except WrongInstant as error:
        msg = f"{columns.name}: row {columns.first + error.row + 1}: {name}: {error.what}"
        raise UsageError(msg) from None


def _picked(columns: _Columns, wanted: Wanted) -> NDArray[np.int64]:
    """Rows of the wanted model and version, where the table says what each is of."""
    mine = np.ones(len(columns), bool)
    for name, value in ((MODEL, wanted.model), (VERSION, wanted.version)):
        if value is not None and name in columns.names:
            mine &= pc.equal(columns.text(name), value).fill_null(False).to_numpy(zero_copy_only=False)
    return np.flatnonzero(mine)
