"""Groups of rows that are counted apart: all rows, and those of each value of a segment column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from detectors.binning import Binning
from detectors.hashing import hash_strings
from schemas.batch import CODE_MISSING, Categories

SEGMENT_VALUES = 200
GroupNumbers: TypeAlias = tuple[NDArray[np.int32], ...]
"""For each segment column the number of the group that each row is in."""


class Groups:
    """Groups by number: all rows, then segment values in the order in which they came.

    Parameters
    ----------
    labels : sequence of str
        ``""`` (all rows), ``"origin=EWR"``, …

    Guarantees
    ----------
    At most 200 values of a segment column become groups; further ones are ``(other)`` together.
    """

    def __init__(self, labels: Sequence[str] = ("",)) -> None:
        self.labels = list(labels)
        self._index = {label: i for i, label in enumerate(self.labels)}
        self._values = Counter(label.split("=", 1)[0] for label in self.labels if label)

    def number(self, column: str, name: str) -> int:
        """Number of the group of a segment value; a new one while there is room for it."""
        label = f"{column}={name}"
        found = self._index.get(label)
        if found is None and self._values.get(column, 0) >= SEGMENT_VALUES:
            label = f"{column}=(other)"
            found = self._index.get(label)
        if found is None:
            found = self._index[label] = len(self.labels)
            self.labels.append(label)
            self._values[column] = self._values.get(column, 0) + 1
        return found

    def of_rows(
        self, segments: Mapping[str, Categories] | None, rows: slice | NDArray[np.intp]
    ) -> GroupNumbers:
        """Groups of some rows of a batch; values that are new become groups."""
        found = []
        for column, categories in (segments or {}).items():
            used, position = np.unique(categories.codes[rows], return_inverse=True)
            names = [_segment_name(categories, code) for code in used.tolist()]
            found.append(np.array([self.number(column, name) for name in names], np.int32)[position])
        return tuple(found)

    def moved(self, labels: Sequence[str]) -> NDArray[np.int32] | None:
        """Number here of each of other groups, None if they are the same; new ones become groups."""
        if labels == self.labels:
            return None
        return np.array([self.number(*label.split("=", 1)) if label else 0 for label in labels], np.int32)

    def places(self, labels: Sequence[str]) -> NDArray[np.int32]:
        """Group here that rows of other groups belong to, without new ones.

        Values that have none are among the rest of their column; where that has none either, the place is
        one behind the last group.
        """
        spare = len(self.labels)
        return np.array([self._place(label, spare) for label in labels], np.int32)

    def _place(self, label: str, spare: int) -> int:
        if not label:
            return 0
        return self._index.get(label, self._index.get(f"{label.split('=', 1)[0]}=(other)", spare))


def binned_groups(
    binning: Binning,
    segments: Mapping[str, Categories] | None,
    rows: int,
    hashes_of: Callable[[Categories], NDArray[np.uint64]] | None = None,
) -> list[tuple[int, NDArray[np.int64]]]:
    """Groups of rows by the segments of a reference.

    Parameters
    ----------
    binning : Binning
    segments : mapping of str to Categories or None
        Values of the rows; a segment that is not there is missing in all of them.
    rows : int
    hashes_of : callable, optional
        Hashes of the values of a segment, where they are known.

    Returns
    -------
    list of (int, int64 array [n])
        For each segment column the number of its groups, and the group of each row, counted from 0.
    """
    found = []
    for segment in binning.segments:
        size = len(segment.names) + 2
        categories = (segments or {}).get(segment.column)
        if categories is None:
            group = np.full(rows, size - 1, np.int64)
        else:
            hashes = hash_strings(categories.values) if hashes_of is None else hashes_of(categories)
            group = lookup(segment.groups(hashes), categories.codes, size - 1, size - 2)
        found.append((size, group))
    return found


def numbered(groups: Sequence[tuple[int, NDArray[np.int64]]]) -> GroupNumbers:
    """Number the groups of all segment columns through, behind that of all rows."""
    found, first = [], 1
    for size, group in groups:
        found.append((group + first).astype(np.int32))
        first += size
    return tuple(found)


def count_rows(groups: GroupNumbers, rows: int, width: int) -> NDArray[np.int64]:
    """Number of rows in each group, of `rows` in all; ``int64 [width]``."""
    counted = np.zeros(width, np.int64)
    for group in groups:
        counted += np.bincount(group, minlength=width)
    counted[0] += rows
    return counted


def lookup(
    table: NDArray[np.intp], codes: NDArray[np.int32], missing: int, invalid: int
) -> NDArray[np.int64]:
    """What a table has for each code, and for codes of missing and of invalid values."""
    # Codes -1 and -2 pick the last two entries.
    return np.concatenate((table, [invalid, missing]))[codes]


def _segment_name(categories: Categories, code: int) -> str:
    """Name of a segment value; one that looks like a group of ours is none of its own."""
    if code == CODE_MISSING:
        return "(missing)"
    name = "(other)" if code < 0 else str(categories.values[code].as_py())
    return "(other)" if name == "(missing)" else name
