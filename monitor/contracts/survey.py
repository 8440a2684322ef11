"""What the values of a table's columns look like: kinds, ranges, few values, missing ones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from monitor.contracts.contract import CATEGORICAL, NUMERIC
from monitor.frames.table import Table
from monitor.frames.times import is_temporal
from monitor.frames.values import is_number, kind_of, plain
from schemas.column import Kind

FEW = 50
"""Most values of a column that are listed."""


@dataclass
class Seen:
    """What was seen of a column.

    Parameters
    ----------
    name : str
    kind : str or None
        ``numeric`` or ``categorical``; None if nothing tells, or values are lists.
    rows, missing : int
    low, high : number or None
        Smallest and largest number.
    values : dict
        Distinct values, at most ``FEW + 1`` of them.
    what : str or None
        What values are, where no option of a contract says it.
    """

    name: str
    kind: str | None
    rows: int = 0
    missing: int = 0
    low: int | float | None = None
    high: int | float | None = None
    values: dict[Any, None] = field(default_factory=dict)
    what: str | None = None

    @property
    def missing_share(self) -> float:
        """Share of rows without a value."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def has_few_values(self) -> bool:
        """Whether `values` holds all of them."""
        return 0 < len(self.values) <= FEW

    def look(self, column: pa.ChunkedArray) -> None:
        """Take in more values."""
        array = plain(column)
        self.rows += len(array)
        self.missing += array.null_count
        if self.what is not None or self.kind is None:
            return
        if self.kind == NUMERIC:
            self._range(array)
        if len(self.values) <= FEW:
            distinct = pc.unique(array.drop_null())[: FEW + 1]
            self.values.update(dict.fromkeys(distinct.to_pylist()))

    def _range(self, array: pa.Array) -> None:
        if not is_number(array.type):
            return
        numbers = array.filter(pc.is_finite(array)) if pa.types.is_floating(array.type) else array
        found = pc.min_max(numbers).as_py()
        if found["min"] is not None:
            self.low = found["min"] if self.low is None else min(self.low, found["min"])
            self.high = found["max"] if self.high is None else max(self.high, found["max"])


def survey(table: Table) -> dict[str, Seen]:
    """Look at every column of a table, reading it once.

    Raises
    ------
    UsageError
        If it has no rows, or cannot be read.
    """
    seen = {name: _begun(name, table.schema.field(name).type) for name in table.schema.names}
    rows = 0
    try:
        for part in table.parts():
            rows += part.num_rows
            for name, one in seen.items():
                one.look(part.column(name))
    except pa.ArrowException as error:
        raise table.wrong(str(error).splitlines()[0]) from error
    if not rows:
        msg = "has no rows (nothing can be inferred)"
        raise table.wrong(msg)
    return seen


def widened(low: float, high: float) -> tuple[int | float, int | float]:
    """A range with a tenth of its width more on each side, in round numbers.

    Examples
    --------
    >>> widened(1, 853), widened(0, 0.93), widened(5, 5)
    ((-90, 940), (-0.1, 1.03), (4.5, 5.5))
    """
    width = (high - low) or abs(high) or 1.0
    if not math.isfinite(width):
        return low, high
    step = 10.0 ** math.floor(math.log10(width) - 1)
    down, up = low - width / 10, high + width / 10
    return _round(math.floor(down / step), step), _round(math.ceil(up / step), step)


def _round(steps: int, step: float) -> int | float:
    number = float(f"{steps * step:.12g}")
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def _begun(name: str, kind: pa.DataType) -> Seen:
    try:
        found = kind_of(kind)
    except ValueError:
        return Seen(name, None, what=f"values of type {kind}, which cannot be watched")
    if found is Kind.VECTOR:
        return Seen(name, None, what="lists")
    if is_temporal(kind):
        return Seen(name, None, what="instants")
    if found is None:
        return Seen(name, None, what="no values at all")
    return Seen(name, NUMERIC if found is Kind.NUMERIC else CATEGORICAL)


def named(seen: Iterable[str], names: Iterable[str]) -> str | None:
    """First of some names that a column has, whatever its case."""
    by_lower = {name.lower(): name for name in seen}
    return next((by_lower[name] for name in names if name in by_lower), None)
