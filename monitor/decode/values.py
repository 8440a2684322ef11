"""Values of one field of many events, without a Python object for each until somebody asks for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, overload

import numpy as np
import pyarrow as pa

Values = Sequence[Any]
"""A list, or one of the two below: scalars as JSON has them, None for missing."""


@dataclass(frozen=True)
class Repeated(Sequence[Any]):
    """The same value for every event.

    Examples
    --------
    >>> same = Repeated("m", 3)
    >>> list(same), same[-1], len(same[1:]), same.count("m"), same.count(None)
    (['m', 'm', 'm'], 'm', 2, 3, 0)
    """

    value: Any
    size: int

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Any]:
        return repeat(self.value, self.size)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> Repeated: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return self.take(range(self.size)[at])
        if not -self.size <= at < self.size:
            raise IndexError(at)
        return self.value

    def count(self, value: Any) -> int:
        """How many events have a value."""
        return self.size if self.value == value else 0

    def take(self, at: Sequence[int]) -> Repeated:
        """Pick events."""
        return Repeated(self.value, len(at))


@dataclass(frozen=True, eq=False)
class ArrowValues(Sequence[Any]):
    """A column of Arrow.

    Parameters
    ----------
    column : Arrow array [n]
        Of type int64, float64, string or bool.

    Examples
    --------
    >>> values = ArrowValues(pa.array([1, None, 3]))
    >>> list(values), values[2], list(values[1:]), list(values.take([2, 0])), values.count(None)
    ([1, None, 3], 3, [None, 3], [3, 1], 1)
    """

    column: pa.Array

    def __len__(self) -> int:
        return len(self.column)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.listed())

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> ArrowValues: ...
    def __getitem__(self, at: int | slice) -> Any:
        return ArrowValues(self.column[at]) if isinstance(at, slice) else self.column[at].as_py()

    def count(self, value: Any) -> int:
        """How many events have a value."""
        return int(self.column.null_count) if value is None else self.listed().count(value)

    def take(self, at: Sequence[int]) -> ArrowValues:
        """Pick events, in the given order."""
        return ArrowValues(self.column.take(pa.array(np.asarray(at, np.int64))))

    def listed(self) -> list[Any]:
        """An object for each; numpy makes them faster than Arrow where it can."""
        if self.column.null_count and self.column.type != pa.string():
            listed: list[Any] = self.column.to_pylist()
            return listed
        return list(self.column.to_numpy(zero_copy_only=False).tolist())


class ValueParts:
    """Values of events that came at several times, as they came.

    Examples
    --------
    >>> parts = ValueParts()
    >>> parts.extend(Repeated(None, 2))
    >>> parts.extend([7])
    >>> parts.extend([8])
    >>> len(parts), list(parts.whole())
    (4, [None, None, 7, 8])
    """

    def __init__(self, values: Values = ()) -> None:
        self._parts: list[Any] = [values] if len(values) else []
        self._owns_last = False  # whether the last part is a list of our own, which may grow

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def extend(self, values: Values) -> None:
        """Append values of further events."""
        if self._owns_last and isinstance(values, list):
            self._parts[-1].extend(values)
            return
        self._owns_last = isinstance(values, list)
        self._parts.append(list(values) if self._owns_last else values)

    def whole(self) -> Values:
        """All of them, in columns if all came in columns of one type."""
        if len(self._parts) != 1:
            self._parts, self._owns_last = [_joined(self._parts)], False
        found: Values = self._parts[0]
        return found


def _joined(parts: Sequence[Values]) -> Values:
    same = [part for part in parts if isinstance(part, Repeated)]
    if parts and len(same) == len(parts):
        value = same[0].value
        if all(type(part.value) is type(value) and part.value == value for part in same):
            return Repeated(value, sum(map(len, parts)))
    columns = [part.column for part in parts if isinstance(part, ArrowValues)]
    if parts and len(columns) == len(parts) and len({column.type for column in columns}) == 1:
        return ArrowValues(pa.concat_arrays(columns))
    return list(chain.from_iterable(parts))


def taken(values: Values, at: Sequence[int]) -> Values:
    """Pick values, in the given order."""
    return values.take(at) if isinstance(values, Repeated | ArrowValues) else [values[row] for row in at]


def are_all_missing(values: Values) -> bool:
    """Whether no event has a value."""
    return values.count(None) == len(values)


def first_of(values: Values) -> Any:
    """Return the first value that is there; None if there is none."""
    if isinstance(values, Repeated):
        return values.value if len(values) else None
    if isinstance(values, ArrowValues):
        there = np.flatnonzero(values.column.is_valid().to_numpy(zero_copy_only=False))
        return values[int(there[0])] if len(there) else None
    return next((value for value in values if value is not None), None)
