"""From a table to batches, as the stream makes them of the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.hashing import hash_numbers, hash_strings
from monitor.config.settings import ModelSettings
from monitor.decode.batch import MOST_CLASSES, Events, Outputs, make_batch
from monitor.decode.columns import is_storable
from monitor.decode.features import Features
from monitor.decode.values import Repeated, ValueParts
from monitor.frames.names import (
    EVENT_ID,
    MODEL,
    SCORE_PREFIX,
    TAG_PREFIX,
    TIMESTAMP,
    VERSION,
    KnownKinds,
    feature_path,
    is_number_field,
)
from monitor.frames.table import Table
from monitor.frames.times import WrongInstant, event_times
from monitor.frames.values import (
    categories,
    has_fractions,
    is_number,
    kind_of,
    lists,
    numbers,
    plain,
    presence,
)
from schemas.batch import Batch, Categories, Lists
from schemas.column import ERROR, LATENCY, PREDICTION, SCORE, ColumnSpec, Kind, Source, feature_name

_SOURCES = {PREDICTION: Source.PREDICTION, SCORE: Source.SCORE, LATENCY: Source.LATENCY, ERROR: Source.ERROR}


@dataclass(frozen=True)
class Layout:
    """What is read of a table.

    Parameters
    ----------
    features, outputs : dict of str to ColumnSpec
        By the name of the table's column.
    tags : tuple of str
        Segments that are tags, without the prefix.
    ignored : tuple of str
        Features beyond `max_columns`, or with a name that databases cannot keep.
    has_times : bool
        Whether there is a column ``timestamp``.
    """

    features: dict[str, ColumnSpec]
    outputs: dict[str, ColumnSpec]
    tags: tuple[str, ...]
    ignored: tuple[str, ...]
    has_times: bool


def layout_of(table: Table, settings: ModelSettings, kinds: KnownKinds) -> Layout:
    """Find out what the columns of a table are.

    Raises
    ------
    UsageError
        If a column holds values that cannot be watched, or a score or latency that is no number.
    """
    features: dict[str, ColumnSpec] = {}
    outputs: dict[str, ColumnSpec] = {}
    ignored: list[str] = []
    for field in table.schema:
        path = feature_path(field.name)
        if path is None:
            spec = _output(table, field, kinds)
            if spec is not None:
                outputs[field.name] = spec
        elif len(features) >= settings.max_columns or not is_storable(feature_name(path)):
            ignored.append(field.name)
        elif (kind := _kind(table, field, kinds)) is not None:
            name = feature_name(path)
            features[field.name] = kinds.spec(name) or ColumnSpec(name, kind, Source.FEATURE, path)
    classes = sorted(name for name in outputs if name.startswith(SCORE_PREFIX))
    for name in classes[MOST_CLASSES:]:
        del outputs[name]
    there = set(table.schema.names)
    watched = {spec.name for spec in features.values()}
    tags = (name for name in settings.segments if f"{TAG_PREFIX}{name}" in there and name not in watched)
    return Layout(features, outputs, tuple(tags), tuple(ignored), TIMESTAMP in there)


def _output(table: Table, field: pa.Field, kinds: KnownKinds) -> ColumnSpec | None:
    """Column of an output; None for what is not one or has no values."""
    name = field.name
    source = Source.SCORE if name.startswith(SCORE_PREFIX) else _SOURCES.get(name)
    if source is None:
        return None
    kind = _kind(table, field, kinds)
    if kind is None:
        return None
    if name == PREDICTION and kinds.of(name) is None:
        # Whole numbers are classes, as in the stream.
        kind = Kind.NUMERIC if has_fractions(field.type) else Kind.CATEGORICAL
    elif is_number_field(name):
        if not is_number(field.type):
            msg = f"{name}: values of type {field.type} (numbers are allowed)"
            raise table.wrong(msg)
        kind = Kind.NUMERIC
    elif name == ERROR:
        kind = Kind.CATEGORICAL
    return ColumnSpec(name, kind, source)


def _kind(table: Table, field: pa.Field, kinds: KnownKinds) -> Kind | None:
    try:
        found = kind_of(field.type)
    except ValueError as error:
        msg = f"{field.name}: {error}"
        raise table.wrong(msg) from None
    return found if found is None else kinds.of(field.name) or found


class Batches:
    """The rows of one model version of a table, in batches.

    Parameters
    ----------
    table : Table
    settings : ModelSettings
        Kinds of columns, segments, most columns.
    specs : mapping of str to ColumnSpec, optional
        Columns that the stream has registered; their kinds win.
    model, version : str, optional
        Where the table has a column of that name, other rows are left out.

    Raises
    ------
    UsageError
        If a column cannot be read.
    """

    def __init__(
        self,
        table: Table,
        settings: ModelSettings,
        specs: Mapping[str, ColumnSpec] | None = None,
        *,
        model: str | None = None,
        version: str | None = None,
    ) -> None:
        self.table = table
        self.layout = layout_of(table, settings, KnownKinds(settings, specs or {}))
        self._segments = settings.segments
        wanted = {MODEL: model, VERSION: version}
        self._only = {
            name: value for name, value in wanted.items() if value is not None and name in table.schema.names
        }

    def __iter__(self) -> Iterator[Batch]:
        """Read the table from its beginning.

        Yields
        ------
        Batch
            Not empty. Columns without a value in the batch are left out. Without a column ``timestamp``, all
            events are at 0.

        Raises
        ------
        UsageError
            If the file is damaged, or a timestamp is missing or wrong.
        """
        rows = 0
        try:
            for part in self.table.parts():
                times, keys = self._times(part, rows), _keys(part, rows)
                rows += part.num_rows
                picked = self._picked(part)
                if picked is not None:
                    mine = picked.to_numpy(zero_copy_only=False)
                    part, times, keys = part.filter(picked), times[mine], keys[mine]
                if part.num_rows:
                    yield self._batch(part, times, keys)
        except pa.ArrowException as error:
            raise self.table.wrong(str(error).splitlines()[0]) from error
        except OSError as error:
            msg = f"cannot be read: {error.strerror or error}"
            raise self.table.wrong(msg) from error

    def _times(self, part: pa.Table, rows: int) -> NDArray[np.int64]:
        if not self.layout.has_times:
            return np.zeros(part.num_rows, np.int64)
        try:
            return event_times(part.column(TIMESTAMP).combine_chunks())
        except WrongInstant as error:
            msg = f"row {rows + error.row + 1}: {TIMESTAMP}: {error.what}"
            raise self.table.wrong(msg) from None

    def _picked(self, part: pa.Table) -> pa.Array | None:
        """Rows of the wanted model and version; None for all."""
        picked = None
        for name, value in self._only.items():
            found = categories(plain(part.column(name)))
            same = np.append(pc.equal(found.values, value).to_numpy(zero_copy_only=False), [False, False])
            mask = pa.array(same[found.codes])
            picked = mask if picked is None else pc.and_(picked, mask)
        return picked

    def _batch(self, part: pa.Table, times: NDArray[np.int64], keys: NDArray[np.uint64]) -> Batch:
        read = _Read.of(part, self.layout.features)
        # Without outputs and tags, which are lists of Python values there: those come in columns here.
        nothing = Repeated(None, part.num_rows)
        events = Events(event_ms=[times], tags=ValueParts(nothing), keys=[keys])
        events.features.extend(nothing)
        made = make_batch(events, np.arange(part.num_rows), read.features(), Outputs(), self._segments)
        outputs = _Read.of(part, self.layout.outputs)
        segments = made.segments
        if segments is not None:
            tagged = {
                name: categories(plain(part.column(f"{TAG_PREFIX}{name}"))) for name in self.layout.tags
            }
            segments = {**segments, **tagged}
        return replace(
            made,
            numeric=made.numeric + tuple(outputs.numeric),
            numbers=np.vstack([made.numbers, *outputs.numbers]),
            status=np.vstack([made.status, *outputs.status]),
            categorical=made.categorical + tuple(outputs.categorical),
            categories=made.categories + tuple(outputs.categories),
            vectors=made.vectors + tuple(outputs.vectors),
            lists=made.lists | outputs.lists,
            segments=segments,
        )


def _keys(part: pa.Table, rows: int) -> NDArray[np.uint64]:
    """Keys that rows are sampled by: hashes of the event ids, as in the stream, else of the rows' numbers."""
    if EVENT_ID not in part.schema.names:
        return hash_numbers(np.arange(rows, rows + part.num_rows, dtype=np.float64))
    ids = plain(part.column(EVENT_ID))
    keys = hash_strings(ids.cast(pa.string()))
    missing = ids.is_null().to_numpy(zero_copy_only=False)
    if missing.any():
        keys[missing] = hash_numbers(np.arange(rows, rows + part.num_rows, dtype=np.float64)[missing])
    return keys


class _Read:
    """Columns of one part of a table, by kind."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.numeric: list[ColumnSpec] = []
        self.numbers: list[NDArray[np.float64]] = []
        self.status: list[NDArray[np.uint8]] = []
        self.categorical: list[ColumnSpec] = []
        self.categories: list[Categories] = []
        self.vectors: list[tuple[ColumnSpec, NDArray[np.uint8]]] = []
        self.lists: dict[str, Lists] = {}

    @classmethod
    def of(cls, part: pa.Table, specs: Mapping[str, ColumnSpec]) -> _Read:
        read = cls(part.num_rows)
        for name, spec in specs.items():
            column = plain(part.column(name))
            if column.null_count < len(column):
                read._add(spec, column)
        return read

    def _add(self, spec: ColumnSpec, column: pa.Array) -> None:
        if spec.kind is Kind.NUMERIC:
            values, status = numbers(column)
            self.numeric.append(spec)
            self.numbers.append(values)
            self.status.append(status)
        elif spec.kind is Kind.CATEGORICAL:
            self.categorical.append(spec)
            self.categories.append(categories(column))
        else:
            self.vectors.append((spec, presence(column)))
            self.lists[spec.name] = lists(column)

    def features(self) -> Features:
        """The same as the decoder of features returns it."""
        none = (0, self._rows)
        return Features(
            tuple(self.numeric),
            np.vstack(self.numbers) if self.numbers else np.zeros(none),
            np.vstack(self.status) if self.status else np.zeros(none, np.uint8),
            tuple(self.categorical),
            tuple(self.categories),
            tuple(self.vectors),
            self.lists,
        )
