"""The side of the table: the rows that have a key of their own, in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.mismatch import Values
from detectors.mismatch.values import concatenate, fingerprints, missing
from monitor.skew.batch import Batch, Columns


@dataclass(frozen=True)
class Training:
    """Rows of a training table by their keys.

    Parameters
    ----------
    keys : Arrow string array [n]
        Each once, none null.
    columns : mapping of str to Values [n]
    entities : Arrow string array [n] or None
        Whom each row is about.
    rows : int
        All rows of the table.
    without_key : int
        Rows in which a part of the key is missing.
    repeated : int
        Rows that say once more what another of their key says; that one counts.
    ambiguous : int
        Rows whose keys stand for rows that differ; none of them counts.
    """

    keys: pa.Array
    columns: Columns
    entities: pa.Array | None
    rows: int
    without_key: int
    repeated: int
    ambiguous: int


def read_training(batches: Iterable[Batch]) -> Training:
    """Read all rows, and leave out those that their key does not tell apart."""
    parts = list(batches)
    rows = sum(map(len, parts))
    every = [part.columns(np.arange(len(part))) for part in parts]
    columns = together(every, [len(part) for part in parts])
    keys = pa.concat_arrays([part.keys for part in parts]) if parts else pa.array([], pa.string())
    is_keyed = keys.is_valid().to_numpy(zero_copy_only=False)
    first, is_clear = _firsts(keys, fingerprints(dict(columns), rows))
    alone = np.flatnonzero(is_keyed & is_clear & (first == np.arange(rows)))
    entities = [part.entities for part in parts if part.entities is not None]
    return Training(
        keys.take(pa.array(alone)),
        columns if len(alone) == rows else {name: values.take(alone) for name, values in columns.items()},
        pa.concat_arrays(entities).take(pa.array(alone)) if entities else None,
        rows,
        without_key=int((~is_keyed).sum()),
        repeated=int((is_keyed & is_clear).sum()) - len(alone),
        ambiguous=int((is_keyed & ~is_clear).sum()),
    )


def together(parts: list[dict[str, Values]], rows: list[int]) -> dict[str, Values]:
    """Put columns of several parts together; a column that a part does not have is missing in its rows."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: concatenate([part.get(name) or missing(n) for part, n in zip(parts, rows, strict=True)])
        for name in names
    }


def _firsts(keys: pa.Array, prints: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """First row of the key of each row, and whether all rows of the key are equal."""
    codes = keys.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    _, firsts, places = np.unique(codes, return_index=True, return_inverse=True)
    first = firsts[places]
    clear = np.ones(len(firsts), bool)
    clear[places[prints != prints[first]]] = False
    return first, clear[places]
