"""A columnar batch: many events of one model version, decoded, one array a column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.arrived import Arrived
from schemas.column import ColumnSpec, Kind
from schemas.origins import Origins

OK, MISSING, INVALID = 0, 1, 2
CODE_MISSING, CODE_INVALID = -1, -2


@dataclass(frozen=True)
class Categories:
    """Values of one categorical column.

    Parameters
    ----------
    codes : int32 array [n]
        Index into `values`; ``CODE_MISSING`` and ``CODE_INVALID`` for the others.
    values : Arrow string array
        Distinct values; need not all occur.
    """

    codes: NDArray[np.int32]
    values: pa.Array


@dataclass(frozen=True)
class Lists:
    """Lists of numbers of one column; rows are picked without copying them.

    Parameters
    ----------
    values : Arrow array of lists of float64
    rows : int64 array [n] or None
        Place in `values` of each row, negative for one without a list; None: all, in order.
    """

    values: pa.ListArray
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.values) if self.rows is None else len(self.rows)

    def take(self, rows: NDArray[np.intp]) -> Lists:
        """Pick rows, in the given order."""
        return Lists(self.values, np.asarray(rows) if self.rows is None else self.rows[rows])

    def array(self) -> pa.ListArray:
        """Return the lists of the rows alone; null where there is none."""
        if self.rows is None:
            return self.values
        return self.values.take(pa.array(self.rows, pa.int64(), mask=self.rows < 0))

    def alone(self) -> Lists:
        """Return the same lists without holding on to those of other rows."""
        return self if self.rows is None else Lists(self.array())


@dataclass(frozen=True)
class Batch:
    """Events of one model version in columns.

    Parameters
    ----------
    numeric : tuple of ColumnSpec
        Columns of `numbers`, in its order.
    numbers : float64 array [columns, n]
        Finite values; 0 where `status` is not ``OK``.
    status : uint8 array [columns, n]
        ``OK``, ``MISSING`` or ``INVALID``.
    categorical : tuple of ColumnSpec
        Columns of `categories`, in its order.
    categories : tuple of Categories
        One for each categorical column.
    vectors : tuple of (ColumnSpec, uint8 array [n])
        Columns of lists, with their status.
    lists : dict of str to Lists
        The lists themselves, of columns where they are known.
    event_ms : int64 array [n]
        Event time, epoch milliseconds.
    segments : dict of str to Categories
        Values of the columns or tags that the configuration names as segments.
    keys : uint64 array [n], optional
        A number for each event that looks random and depends on its id alone; rows are sampled by it.
    origins : Origins, optional
        Where the rows came from.
    arrived : Arrived, optional
        How they arrived.
    """

    event_ms: NDArray[np.int64]
    numeric: tuple[ColumnSpec, ...]
    numbers: NDArray[np.float64]
    status: NDArray[np.uint8]
    categorical: tuple[ColumnSpec, ...] = ()
    categories: tuple[Categories, ...] = ()
    vectors: tuple[tuple[ColumnSpec, NDArray[np.uint8]], ...] = ()
    segments: dict[str, Categories] | None = None
    keys: NDArray[np.uint64] | None = None
    lists: dict[str, Lists] = field(default_factory=dict)
    origins: Origins | None = None
    arrived: Arrived | None = None

    def __len__(self) -> int:
        return len(self.event_ms)

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """All columns, numeric ones first."""
        return self.numeric + self.categorical + tuple(spec for spec, _ in self.vectors)

    def take(self, rows: NDArray[np.intp]) -> Batch:
        """Pick rows, in the given order."""
        return Batch(
            event_ms=self.event_ms[rows],
            numeric=self.numeric,
            numbers=np.take(self.numbers, rows, axis=1),  # an index would turn rows into columns in memory
            status=np.take(self.status, rows, axis=1),
            categorical=self.categorical,
            categories=tuple(Categories(c.codes[rows], c.values) for c in self.categories),
            vectors=tuple((spec, status[rows]) for spec, status in self.vectors),
            segments=None
            if self.segments is None
            else {name: Categories(c.codes[rows], c.values) for name, c in self.segments.items()},
            keys=None if self.keys is None else self.keys[rows],
            lists={name: lists.take(rows) for name, lists in self.lists.items()},
            origins=None if self.origins is None else self.origins.take(rows),
            arrived=None if self.arrived is None else self.arrived.take(rows),
        )


def concatenate(batches: Sequence[Batch]) -> Batch:
    """Put batches of one model version together, in their order.

    Parameters
    ----------
    batches : sequence of Batch
        At least one. A column that a batch does not have is missing in its rows. A name that stands for
        columns of several kinds stays several columns, see `with_kinds`. Only batches that all have keys give
        a batch with keys. Where the rows came from, and how, is not known afterwards.

    Examples
    --------
    >>> x, y = (ColumnSpec(name, Kind.NUMERIC) for name in "xy")
    >>> one, none = np.ones((1, 2)), np.zeros((1, 2), np.uint8)
    >>> joined = concatenate([Batch(np.arange(2), (x,), one, none), Batch(np.arange(2), (y,), one, none)])
    >>> [spec.name for spec in joined.numeric], joined.numbers.tolist(), joined.status.tolist()
    (['x', 'y'], [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]], [[0, 0, 1, 1], [1, 1, 0, 0]])
    """
    if len(batches) == 1:
        return batches[0]
    ends = np.cumsum([len(batch) for batch in batches])
    places = [slice(int(end) - len(batch), int(end)) for batch, end in zip(batches, ends, strict=True)]
    numeric = _by_name(batch.numeric for batch in batches)
    numbers, status = np.zeros((len(numeric), ends[-1])), np.full((len(numeric), ends[-1]), MISSING, np.uint8)
    row = {name: i for i, name in enumerate(numeric)}
    for batch, place in zip(batches, places, strict=True):
        mine = [row[spec.name] for spec in batch.numeric]
        numbers[mine, place], status[mine, place] = batch.numbers, batch.status
    categorical = _by_name(batch.categorical for batch in batches)
    coded = [
        {spec.name: found for spec, found in zip(batch.categorical, batch.categories, strict=True)}
        for batch in batches
    ]
    vectors = _by_name((spec for spec, _ in batch.vectors) for batch in batches)
    states = [{spec.name: state for spec, state in batch.vectors} for batch in batches]
    return Batch(
        event_ms=np.concatenate([batch.event_ms for batch in batches]),
        numeric=tuple(numeric.values()),
        numbers=numbers,
        status=status,
        categorical=tuple(categorical.values()),
        categories=tuple(_joined_column(name, coded, batches) for name in categorical),
        vectors=tuple((spec, _joined_states(name, states, batches)) for name, spec in vectors.items()),
        segments={
            name: _joined_column(name, [batch.segments or {} for batch in batches], batches)
            for name in dict.fromkeys(name for batch in batches for name in batch.segments or {})
        }
        or None,
        keys=_joined_keys(batches),
        lists=_joined_lists(batches),
    )


def with_kinds(batch: Batch, kinds: Mapping[str, Kind]) -> Batch:
    """Settle on one kind for names that stand for columns of several kinds.

    Parameters
    ----------
    batch : Batch
    kinds : mapping of str to Kind
        What each name is; values of another kind are invalid. Names that it does not have stay as they are.
    """
    names = Counter(spec.name for spec in batch.columns)
    several = {name for name, times in names.items() if times > 1 and name in kinds}
    if not several:
        return batch
    there = {name: np.zeros(len(batch), bool) for name in several}
    for spec, state in _states(batch):
        if spec.name in several and spec.kind is not kinds[spec.name]:
            there[spec.name] |= state != MISSING

    def is_kept(spec: ColumnSpec) -> bool:
        return spec.name not in several or spec.kind is kinds[spec.name]

    def settled(spec: ColumnSpec, state: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if spec.name not in several:
            return state
        return np.where((state == MISSING) & there[spec.name], np.uint8(INVALID), state)

    rows = [i for i, spec in enumerate(batch.numeric) if is_kept(spec)]
    status = [settled(batch.numeric[i], batch.status[i]) for i in rows]
    categories = []
    for spec, found in zip(batch.categorical, batch.categories, strict=True):
        if is_kept(spec):
            wrong = (found.codes == CODE_MISSING) & there.get(spec.name, False)
            codes = np.where(wrong, CODE_INVALID, found.codes).astype(np.int32)
            categories.append(Categories(codes, found.values))
    return replace(
        batch,
        numeric=tuple(batch.numeric[i] for i in rows),
        numbers=batch.numbers[rows],
        status=np.array(status, np.uint8).reshape(len(rows), len(batch)),
        categorical=tuple(spec for spec in batch.categorical if is_kept(spec)),
        categories=tuple(categories),
        vectors=tuple((spec, settled(spec, state)) for spec, state in batch.vectors if is_kept(spec)),
    )


def _states(batch: Batch) -> Iterator[tuple[ColumnSpec, NDArray[np.uint8]]]:
    """Status of every column."""
    yield from zip(batch.numeric, batch.status, strict=True)
    for spec, found in zip(batch.categorical, batch.categories, strict=True):
        codes = found.codes
        state = np.where(codes >= 0, OK, np.where(codes == CODE_MISSING, MISSING, INVALID))
        yield spec, state.astype(np.uint8)
    yield from batch.vectors


def _by_name(columns: Iterable[Iterable[ColumnSpec]]) -> dict[str, ColumnSpec]:
    """Columns by name, in the order of names: it does not matter which batch comes first."""
    found: dict[str, ColumnSpec] = {}
    for specs in columns:
        for spec in specs:
            found.setdefault(spec.name, spec)
    return dict(sorted(found.items()))


def _joined_column(
    name: str, columns: Sequence[Mapping[str, Categories]], batches: Sequence[Batch]
) -> Categories:
    nothing = pa.array([], pa.string())
    return _joined(
        [
            known.get(name) or Categories(np.full(len(batch), CODE_MISSING, np.int32), nothing)
            for known, batch in zip(columns, batches, strict=True)
        ]
    )


def _joined_states(
    name: str, states: Sequence[Mapping[str, NDArray[np.uint8]]], batches: Sequence[Batch]
) -> NDArray[np.uint8]:
    absent = (np.full(len(batch), MISSING, np.uint8) for batch in batches)
    return np.concatenate([known.get(name, none) for known, none in zip(states, absent, strict=True)])


def _joined(parts: Sequence[Categories]) -> Categories:
    """Put categories together, on one dictionary of the values that occur."""
    used = [np.unique(part.codes[part.codes >= 0]) for part in parts]
    values = pa.concat_arrays([part.values.take(pa.array(at)) for part, at in zip(parts, used, strict=True)])
    encoded = values.dictionary_encode()
    places = encoded.indices.to_numpy().astype(np.int32)
    codes, first = [], 0
    for part, at in zip(parts, used, strict=True):
        table = np.full(len(part.values) + 2, CODE_INVALID, np.int32)
        table[at] = places[first : first + len(at)]
        table[-1] = CODE_MISSING  # codes -1 and -2 pick the last two entries
        codes.append(table[part.codes])
        first += len(at)
    return Categories(np.concatenate(codes), encoded.dictionary)


def _joined_lists(batches: Sequence[Batch]) -> dict[str, Lists]:
    names = dict.fromkeys(name for batch in batches for name in batch.lists)
    nothing = pa.array([], pa.list_(pa.float64()))
    found = {}
    for name in names:
        parts = [batch.lists.get(name, Lists(nothing, np.full(len(batch), -1))) for batch in batches]
        found[name] = Lists(pa.concat_arrays([part.array() for part in parts]))
    return found


def _joined_keys(batches: Sequence[Batch]) -> NDArray[np.uint64] | None:
    keys = [batch.keys for batch in batches if batch.keys is not None]
    return np.concatenate(keys) if len(keys) == len(batches) else None
