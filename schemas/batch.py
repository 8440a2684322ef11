"""A columnar batch: many events of one model version, decoded, one array a column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.column import ColumnSpec

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
    event_ms : int64 array [n]
        Event time, epoch milliseconds.
    segments : dict of str to Categories
        Values of the columns or tags that the configuration names as segments.
    """

    event_ms: NDArray[np.int64]
    numeric: tuple[ColumnSpec, ...]
    numbers: NDArray[np.float64]
    status: NDArray[np.uint8]
    categorical: tuple[ColumnSpec, ...] = ()
    categories: tuple[Categories, ...] = ()
    vectors: tuple[tuple[ColumnSpec, NDArray[np.uint8]], ...] = ()
    segments: dict[str, Categories] | None = None

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
            numbers=self.numbers[:, rows],
            status=self.status[:, rows],
            categorical=self.categorical,
            categories=tuple(Categories(c.codes[rows], c.values) for c in self.categories),
            vectors=tuple((spec, status[rows]) for spec, status in self.vectors),
            segments=None
            if self.segments is None
            else {name: Categories(c.codes[rows], c.values) for name, c in self.segments.items()},
        )
