"""A bounded sample of the rows of a slice or a window, for what single columns cannot tell.

Counts of single columns say nothing of how columns go together, or of which rows a change of the predictions
comes with. A sample of whole rows does. A row is in it if its key, a hash of the event's id, lies below a
threshold that depends on the other rows alone: the sample is a uniform one, and the same however rows were
batched, split over workers, or merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.batch import Batch, Categories, Lists, concatenate
from schemas.column import ColumnSpec
from schemas.errors import ProfileError

MOST_ROWS = 4_096  # of a window
EVERY_KEY = 2**64 - 1
LIST_NUMBERS = 128  # for each row that a sample may have
_MOST_PARTS = 32  # kept side by side before they are put together
_FEW = 64  # values that are kept together

Keys = NDArray[np.uint64]


class _Codes(msgspec.Struct, array_like=True):
    values: list[str]
    codes: bytes


class _Vectors(msgspec.Struct, array_like=True):
    lengths: bytes
    values: bytes


class SampleState(msgspec.Struct, array_like=True):
    """What is stored of a sample."""

    most: int
    threshold: int
    keys: bytes
    event_ms: bytes
    numeric: list[ColumnSpec]
    numbers: bytes
    status: bytes
    categorical: list[ColumnSpec]
    categories: list[_Codes]
    vectors: list[ColumnSpec]
    vector_status: list[bytes]
    segments: dict[str, _Codes]
    lists: dict[str, _Vectors] = {}
    list_thresholds: dict[str, int] = {}


class Sample:
    """Rows whose keys lie lowest.

    Parameters
    ----------
    most : int
        Most rows; 0 keeps none.

    Attributes
    ----------
    threshold : int
        The sample holds every row with a key below it, and no other.
    list_thresholds : dict of str to int
        Lists of numbers take much room: those of rows with a key of this or more are left out.

    Notes
    -----
    The threshold is the key number ``most + 1`` of all rows, counted from the lowest, as soon as there are so
    many. Each part of the rows has a threshold at least as high, so that the lowest of them and the rows
    below it are enough to find that of the whole. Rows with the same key are all in the sample, or none.

    Guarantees
    ----------
    Any split of the rows and any order of adding and merging gives the same rows. Memory is that of 32 parts
    of up to `most` rows.

    Examples
    --------
    >>> rows = Batch(np.arange(4), (), np.zeros((0, 4)), np.zeros((0, 4), np.uint8),
    ...              keys=np.array([7, 1, 9, 4], np.uint64))
    >>> sample = Sample(2)
    >>> sample.add(rows)
    >>> sample.batch.event_ms.tolist(), sample.threshold
    ([1, 3], 7)
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.threshold = EVERY_KEY if most else 0
        self.list_thresholds: dict[str, int] = {}
        self._parts: list[Batch] = []

    def add(self, batch: Batch, start: int = 0, stop: int | None = None) -> None:
        """Add consecutive rows of a batch; rows without keys are left out."""
        if batch.keys is None or not self.threshold:
            return
        keys = batch.keys[start:stop]
        below = np.flatnonzero(keys < np.uint64(self.threshold))
        if len(below) > self.most:
            self._lower(np.partition(keys[below], self.most)[self.most])
            below = below[keys[below] < np.uint64(self.threshold)]
        if len(below):
            self._keep(_alone(batch.take(below + start)))

    def merge(self, *others: Sample) -> None:
        """Add the rows of other samples.

        Raises
        ------
        ProfileError
            If another one holds fewer rows than this one may: it is no sample for that.
        """
        for other in others:
            if other.most < self.most and other.threshold != EVERY_KEY:
                msg = f"a sample of at most {other.most} rows is none of at most {self.most}"
                raise ProfileError(msg)
            self._unite(other)

    def _unite(self, other: Sample) -> None:
        self.threshold = min(self.threshold, other.threshold)
        for name, key in other.list_thresholds.items():
            self.list_thresholds[name] = min(self.list_thresholds.get(name, EVERY_KEY), key)
        for part in other._parts:
            self._keep(part)

    def _keep(self, rows: Batch) -> None:
        self._parts.append(rows)
        if len(self._parts) > _MOST_PARTS:
            self._settle()

    def _lower(self, key: np.uint64) -> None:
        self.threshold = min(self.threshold, int(key))

    def _settle(self) -> None:
        """Put the parts together, and cut them to size, in the order of keys."""
        if not self._parts:
            return
        whole = concatenate(self._parts)
        keys = _keys(whole)
        if len(keys) > self.most:
            self._lower(np.partition(keys, self.most)[self.most])
        rows = np.flatnonzero(keys < np.uint64(self.threshold))
        order = np.argsort(keys[rows], kind="stable")
        if (np.diff(keys[rows][order]) == 0).any():
            # Rows with the same key in an order that hardly depends on how they came; no sum depends on it.
            order = np.lexsort((*whole.numbers[:, rows], whole.event_ms[rows], keys[rows]))
        self._parts = [self._with_fewer_lists(whole.take(rows[order]))] if len(rows) else []
        # Beyond the rows' own threshold it does not matter.
        self.list_thresholds = {n: key for n, key in self.list_thresholds.items() if key < self.threshold}

    def _with_fewer_lists(self, rows: Batch) -> Batch:
        """Leave out lists beyond the room that there is for them; rows come by key."""
        kept, keys = {}, _keys(rows)
        for name, lists in rows.lists.items():
            values = lists.array()
            lengths = values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
            beyond = np.flatnonzero(np.cumsum(lengths, dtype=np.int64) > LIST_NUMBERS * self.most)
            if len(beyond):
                lowest = min(self.list_thresholds.get(name, EVERY_KEY), int(keys[beyond[0]]))
                self.list_thresholds[name] = lowest
            there = keys < np.uint64(self.list_thresholds.get(name, EVERY_KEY))
            kept[name] = Lists(pc.if_else(pa.array(there), values, pa.scalar(None, values.type)))
        return replace(rows, lists=kept)

    def lists(self, name: str) -> tuple[Batch, pa.ListArray] | None:
        """Rows whose lists of a column were all kept, and the lists; None without any."""
        batch = self.batch
        if batch is None or name not in batch.lists:
            return None
        rows = np.flatnonzero(_keys(batch) < np.uint64(self.list_thresholds.get(name, EVERY_KEY)))
        picked = batch.take(rows)
        return picked, picked.lists[name].array()

    @property
    def batch(self) -> Batch | None:
        """The rows, by key; None without any."""
        self._settle()
        return self._parts[0] if self._parts else None

    @property
    def rows(self) -> int:
        """Number of rows."""
        batch = self.batch
        return 0 if batch is None else len(batch)

    @classmethod
    def below(cls, rows: Batch, most: int, threshold: int, list_thresholds: Mapping[str, int]) -> Sample:
        """Build the sample of rows that are known to hold all below some thresholds; see `union`."""
        new = cls(most)
        new.threshold, new.list_thresholds = threshold, dict(list_thresholds)
        new._keep(_alone(rows))
        new._settle()
        return new

    def state(self) -> SampleState:
        """Return everything as plain values and bytes."""
        batch = self.batch
        if batch is None:
            return SampleState(self.most, self.threshold, b"", b"", [], b"", b"", [], [], [], [], {})
        return SampleState(
            self.most,
            self.threshold,
            _keys(batch).astype("<u8").tobytes(),
            batch.event_ms.astype("<i8").tobytes(),
            list(batch.numeric),
            batch.numbers.astype("<f8").tobytes(),
            batch.status.tobytes(),
            list(batch.categorical),
            [_coded(categories) for categories in batch.categories],
            [spec for spec, _ in batch.vectors],
            [status.tobytes() for _, status in batch.vectors],
            {name: _coded(categories) for name, categories in (batch.segments or {}).items()},
            {name: _listed(lists.array()) for name, lists in batch.lists.items()},
            self.list_thresholds,
        )

    @classmethod
    def from_state(cls, state: SampleState) -> Sample:
        """Build a sample from what `state` returned.

        Raises
        ------
        ProfileError
            If the parts do not fit together.
        """
        thresholds = (state.threshold, *state.list_thresholds.values())
        if state.most < 0 or not all(0 <= threshold <= EVERY_KEY for threshold in thresholds):
            msg = f"damaged sample of rows: most {state.most}, threshold {state.threshold}"
            raise ProfileError(msg)
        new = cls(state.most)
        new.threshold, new.list_thresholds = state.threshold, dict(state.list_thresholds)
        try:
            keys = np.frombuffer(state.keys, "<u8").astype(np.uint64)
            rows = len(keys)
            batch = Batch(
                event_ms=np.frombuffer(state.event_ms, "<i8").reshape(rows).astype(np.int64),
                numeric=tuple(state.numeric),
                numbers=np.frombuffer(state.numbers, "<f8").reshape(len(state.numeric), rows).astype(float),
                status=np.frombuffer(state.status, "u1").reshape(len(state.numeric), rows).copy(),
                categorical=tuple(state.categorical),
                categories=tuple(
                    _decoded(coded, rows)
                    for _, coded in zip(state.categorical, state.categories, strict=True)
                ),
                vectors=tuple(
                    (spec, np.frombuffer(status, "u1").reshape(rows).copy())
                    for spec, status in zip(state.vectors, state.vector_status, strict=True)
                ),
                segments={name: _decoded(coded, rows) for name, coded in state.segments.items()} or None,
                keys=keys,
                lists={name: _unlisted(vectors, rows) for name, vectors in state.lists.items()},
            )
        except (ValueError, pa.ArrowException) as problem:
            msg = f"damaged sample of rows: {problem}"
            raise ProfileError(msg) from problem
        new._parts = [batch] if rows else []
        return new


def union(samples: Iterable[Sample], most: int = MOST_ROWS) -> Sample:
    """Make a uniform sample of all rows of several slices out of those of each.

    Parameters
    ----------
    samples : iterable of Sample
        Each of other rows.
    most : int
        Most rows of the result.

    Notes
    -----
    Only rows below the lowest threshold are in it: of slices with many rows and with few the same share. The
    result depends on the samples, and may not be merged with others of the same slices.
    """
    whole = Sample(most)
    for sample in samples:
        sample._settle()
        whole._unite(sample)
    whole._settle()
    return whole


def _keys(batch: Batch) -> Keys:
    if batch.keys is None:
        msg = "rows of a sample need keys"
        raise ProfileError(msg)
    return batch.keys


def _alone(rows: Batch) -> Batch:
    """Let go of the lists of other rows; numbers as they are stored, in 32 bits."""
    if not rows.lists:
        return rows
    halved = pa.list_(pa.float32())
    kept = {
        name: Lists(lists.array().cast(halved, safe=False).cast(pa.list_(pa.float64())))
        for name, lists in rows.lists.items()
    }
    return replace(rows, lists=kept)


def _listed(values: pa.ListArray) -> _Vectors:
    lengths = values.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
    flat = values.flatten().to_numpy(zero_copy_only=False)
    return _Vectors(lengths.astype("<i4").tobytes(), flat.astype("<f4").tobytes())


def _unlisted(vectors: _Vectors, rows: int) -> Lists:
    lengths = np.frombuffer(vectors.lengths, "<i4")
    flat = np.frombuffer(vectors.values, "<f4").astype(np.float64)
    if len(lengths) != rows or np.maximum(lengths, 0).sum() != len(flat):
        msg = f"lists of {len(lengths)} rows with {len(flat)} numbers ({rows} rows are expected)"
        raise ValueError(msg)
    offsets = np.concatenate(([0], np.cumsum(np.maximum(lengths, 0)))).astype(np.int32)
    found = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, mask=np.isnan(flat)))
    return Lists(pc.if_else(pa.array(lengths >= 0), found, pa.scalar(None, found.type)))


def _coded(categories: Categories) -> _Codes:
    """Names and codes; names that do not occur are left out where there are many."""
    codes, values = categories.codes, categories.values
    if len(values) > _FEW:
        used = np.unique(codes[codes >= 0])
        table = np.full(len(values) + 2, -2, np.int32)
        table[used], table[-1] = np.arange(len(used)), -1  # codes -1 and -2 pick the last two entries
        codes, values = table[codes], values.take(pa.array(used))
    return _Codes(values.to_pylist(), codes.astype("<i4").tobytes())


def _decoded(coded: _Codes, rows: int) -> Categories:
    codes = np.frombuffer(coded.codes, "<i4").astype(np.int32)
    if len(codes) != rows or codes.max(initial=-1) >= len(coded.values) or codes.min(initial=-1) < -2:
        msg = f"codes of {len(codes)} rows for {len(coded.values)} values ({rows} rows are expected)"
        raise ValueError(msg)
    return Categories(codes, pa.array(coded.values, pa.string()))
