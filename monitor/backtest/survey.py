"""What is in a table of events: which model versions, in which slices of event time, and up to when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.tensor import BoolArray, IntArray
from monitor.config import Configuration
from monitor.config.settings import ModelSettings
from monitor.frames import Table, frame_table, open_table
from monitor.frames.names import MODEL, TIMESTAMP, VERSION, KnownKinds
from monitor.frames.times import WrongInstant, event_times
from monitor.frames.values import categories, plain
from monitor.profiling import Key

if TYPE_CHECKING:
    import pandas as pd

    TableLike = Table | pd.DataFrame | str | Path

UNVERSIONED = "unversioned"


class Slices(NamedTuple):
    """Slices with rows of one model version, in order, and their numbers of rows."""

    starts: IntArray
    rows: IntArray


@dataclass(frozen=True)
class Survey:
    """What is in a table.

    Parameters
    ----------
    slices : mapping of key to Slices
        By model and version.
    newest_ms : int
        Time of the newest event.
    """

    slices: Mapping[Key, Slices]
    newest_ms: int

    @classmethod
    def of(cls, table: Table, configuration: Configuration, fallback: str) -> Survey:
        """Read a table once.

        Parameters
        ----------
        fallback : str
            Model of the rows of a table without a column ``model``, see `fallback_model`.

        Raises
        ------
        UsageError
            If the table cannot be read, or a row has no time or no model.
        """
        if TIMESTAMP not in table.schema.names:
            msg = f"has no column {TIMESTAMP} (a backtest needs the time of every event)"
            raise table.wrong(msg)
        found: dict[Key, list[Slices]] = {}
        newest = 0
        for part, times in parts_of(table):
            newest = max(newest, int(times.max()))
            for key, rows in _keys(table, part, fallback):
                every = configuration.for_model(key[0]).slice_ms
                starts = np.unique(times[rows] // every * every, return_counts=True)
                found.setdefault(key, []).append(Slices(*starts))
        return cls({key: _joined(parts) for key, parts in found.items()}, newest)


def opener(source: TableLike) -> Callable[[ModelSettings], Table]:
    """How to open a table with the kinds that the settings of a model fix."""

    def opened(settings: ModelSettings) -> Table:
        kinds = KnownKinds(settings, {})
        if isinstance(source, Table):
            return source
        return open_table(source, kinds) if isinstance(source, str | Path) else frame_table(source, kinds)

    return opened


def fallback_model(table: Table, configuration: Configuration, model: str | None) -> str:
    """Model of the rows of a table without a column ``model``."""
    if MODEL in table.schema.names:
        return ""
    names = [model] if model is not None else list(configuration.models)
    if len(names) != 1:
        msg = "has no column model, and the configuration does not name exactly one (give --model)"
        raise table.wrong(msg)
    return names[0]


def parts_of(table: Table) -> Iterator[tuple[pa.Table, IntArray]]:
    """Read a table with the times of its rows; parts without rows are left out.

    Raises
    ------
    UsageError
        If it cannot be read, or a time is missing or wrong.
    """
    rows = 0
    try:
        for part in table.parts():
            if part.num_rows:
                yield part, times_of(table, part, rows, TIMESTAMP)
            rows += part.num_rows
    except pa.ArrowException as error:
        raise table.wrong(str(error).splitlines()[0]) from error
    except OSError as error:
        msg = f"cannot be read: {error.strerror or error}"
        raise table.wrong(msg) from error


def times_of(table: Table, part: pa.Table, rows: int, name: str) -> IntArray:
    """Instants in a column of a part that begins after so many rows of its table."""
    try:
        return event_times(part.column(name).combine_chunks())
    except WrongInstant as error:
        msg = f"row {rows + error.row + 1}: {name}: {error.what}"
        raise table.wrong(msg) from None


def is_of(part: pa.Table, key: Key) -> BoolArray:
    """Rows of a part that are of a model version; without a column ``model`` all rows are of its model."""
    model, version = key
    mine = pc.and_(pc.equal(_models(part, model), model), pc.equal(_versions(part), version))
    return np.asarray(mine.to_numpy(zero_copy_only=False), np.bool_)


def texts_in(column: pa.ChunkedArray) -> pa.Array:
    """Names of values as categories; null for what has none."""
    values = plain(column)
    if pa.types.is_string(values.type) or pa.types.is_integer(values.type):
        return values.cast(pa.string())
    found = categories(values)
    return found.values.take(pa.array(np.maximum(found.codes, 0), mask=found.codes < 0))


def has_values(table: Table, name: str) -> bool:
    """Whether a column is there, of a type that holds values."""
    return name in table.schema.names and not pa.types.is_null(table.schema.field(name).type)


def _keys(table: Table, part: pa.Table, fallback: str) -> Iterator[tuple[Key, BoolArray]]:
    """Model versions of a part, each with its rows."""
    models, versions = _models(part, fallback), _versions(part)
    if models.null_count:
        msg = f"{MODEL} is missing in {models.null_count} rows (every event needs one)"
        raise table.wrong(msg)
    coded = [texts.dictionary_encode() for texts in (models, versions)]
    names = [texts.dictionary.to_pylist() for texts in coded]
    joint = coded[0].indices.to_numpy().astype(np.int64) * len(names[1]) + coded[1].indices.to_numpy()
    for code in np.unique(joint).tolist():
        yield (names[0][code // len(names[1])], names[1][code % len(names[1])]), joint == code


def _models(part: pa.Table, fallback: str) -> pa.Array:
    return texts_in(part.column(MODEL)) if MODEL in part.schema.names else pa.repeat(fallback, part.num_rows)


def _versions(part: pa.Table) -> pa.Array:
    if VERSION not in part.schema.names:
        return pa.repeat(UNVERSIONED, part.num_rows)
    return texts_in(part.column(VERSION)).fill_null(UNVERSIONED)


def _joined(parts: Sequence[Slices]) -> Slices:
    starts, at = np.unique(np.concatenate([part.starts for part in parts]), return_inverse=True)
    rows = np.zeros(len(starts), np.int64)
    np.add.at(rows, at, np.concatenate([part.rows for part in parts]))
    return Slices(starts, rows)
