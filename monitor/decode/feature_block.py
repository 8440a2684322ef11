"""Features that came in columns, and what they are with the columns that a model version has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, overload

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitor.decode.columns import Snapshot
from monitor.decode.plain_columns import INTEGER, NUMBER
from schemas.column import feature_name


@dataclass(frozen=True, eq=False)
class FeatureBlock:
    """Features of several events.

    Parameters
    ----------
    columns : mapping of str to Arrow array
        By name; as `plain_column` gives them, all of the same length.
    """

    columns: Mapping[str, pa.Array]

    def raws(self, rows: NDArray[np.int64]) -> list[bytes]:
        """Write rows as JSON objects."""
        at = pa.array(rows)
        values = [column.take(at).to_pylist() for column in self.columns.values()]
        if not values:
            return [b"{}"] * len(rows)
        return [
            msgspec.json.encode(dict(zip(self.columns, row, strict=True)))
            for row in zip(*values, strict=True)
        ]

    def table(self, rows: NDArray[np.int64], snapshot: Snapshot) -> pa.Table | None:
        """Rows as they would have been read from JSON; None if something in them has to be looked at alone.

        Parameters
        ----------
        rows : int64 array
        snapshot : Snapshot
        """
        fast = {column.spec.name for column in snapshot.fast}
        at = None if _counts_up(rows) else pa.array(rows)
        found: dict[str, pa.Array] = {}
        for name, whole in self.columns.items():
            column = whole.slice(int(rows[0]), len(rows)) if at is None else whole.take(at)
            if column.null_count == len(column):
                continue
            known = snapshot.columns.get(feature_name((name,)))
            if known is None:
                if snapshot.full:
                    continue
                return None
            if known.spec.name not in fast or known.spec.path != (name,):
                return None
            if column.type != known.type:
                if (column.type, known.type) != (INTEGER, NUMBER):
                    return None
                column = pc.cast(column, NUMBER, safe=False)
            found[name] = column
        if not found:
            found[""] = pa.nulls(len(rows))
        return pa.Table.from_pydict(found)


Cell = tuple[FeatureBlock, int]
"""Features of one event in a block."""


@dataclass(frozen=True, eq=False)
class Cells(Sequence[Cell]):
    """Features of several events, without an object for each.

    Parameters
    ----------
    block : FeatureBlock
    rows : int64 array [n]
        Of the block.

    Examples
    --------
    >>> cells = Cells(FeatureBlock({}), np.arange(5))
    >>> cells.take([3, 1]).rows.tolist(), cells[2:4].rows.tolist(), cells[4][1]
    ([3, 1], [2, 3], 4)
    """

    block: FeatureBlock
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Cell]:
        return zip(repeat(self.block), self.rows.tolist(), strict=False)

    @overload
    def __getitem__(self, at: int) -> Cell: ...
    @overload
    def __getitem__(self, at: slice) -> Cells: ...
    def __getitem__(self, at: int | slice) -> Cell | Cells:
        if isinstance(at, slice):
            return Cells(self.block, self.rows[at])
        return self.block, int(self.rows[at])

    def take(self, at: Sequence[int]) -> Cells:
        """Pick events, in the given order."""
        return Cells(self.block, self.rows[np.asarray(at, np.int64)])


class FeatureParts:
    """Features of events as they came: in columns, as JSON, or both.

    Examples
    --------
    >>> parts = FeatureParts()
    >>> parts.extend([b"{}"])
    >>> parts.extend(Cells(FeatureBlock({}), np.arange(2)))
    >>> len(parts), parts.cells, len(parts.listed())
    (3, None, 3)
    """

    def __init__(self) -> None:
        self._parts: list[Any] = []

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self._parts)

    def extend(self, features: Sequence[Any]) -> None:
        """Append features of events."""
        if isinstance(features, Cells) or not self._parts or isinstance(self._parts[-1], Cells):
            self._parts.append(features if isinstance(features, Cells) else list(features))
        else:
            self._parts[-1].extend(features)

    @property
    def cells(self) -> list[Cells] | None:
        """All of them, if all are in columns."""
        return self._parts if all(isinstance(part, Cells) for part in self._parts) else None

    def listed(self) -> list[Any]:
        """One by one."""
        if len(self._parts) == 1 and isinstance(self._parts[0], list):
            return self._parts[0]
        return list(chain.from_iterable(self._parts))


def blocks_of(cells: Sequence[Cell]) -> Iterator[tuple[FeatureBlock, NDArray[np.int64], NDArray[np.int64]]]:
    """Blocks that cells are of, with the positions of their cells, and the rows that these stand for."""
    if not len(cells):
        return
    blocks, rows = zip(*cells, strict=True)
    at = np.array(rows, np.int64)
    distinct = list(dict.fromkeys(blocks))
    if len(distinct) == 1:
        yield distinct[0], np.arange(len(at)), at
        return
    number = {block: place for place, block in enumerate(distinct)}
    of = np.fromiter(map(number.__getitem__, blocks), np.int64, len(blocks))
    for place, block in enumerate(distinct):
        mine = np.flatnonzero(of == place)
        yield block, mine, at[mine]


def _counts_up(rows: NDArray[np.int64]) -> bool:
    return bool(len(rows) and (np.diff(rows) == 1).all())
