"""Exact counts without knowing the range beforehand: a mergeable histogram on dyadic cells.

Before a column has a reference nobody knows where its bins should lie. Its values are then counted on cells
of the real line that every process derives from the data alone, without talking to the others:

* a float is mapped to a 64-bit integer *key* that keeps the order of the floats; a category to its 64-bit
  hash;
* a *cell* is a key without its lowest `shift` bits. Cells of a larger shift are unions of cells of a smaller
  one;
* the shift is the smallest at which all rows together occupy at most ``LIMIT`` cells.

Because the number of occupied cells only falls as the shift grows, merging two histograms (at the larger
shift, then on to the smallest that fits) gives exactly what counting all rows at once gives, in any order and
for any split. A reference later takes its bin edges from cell boundaries, so the counts move onto its bins
without loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from schemas.batch import INVALID, OK

Keys = NDArray[np.int64]
Counts = NDArray[np.int64]

LIMIT = 1024
_SIGN = np.int64(0x7FFF_FFFF_FFFF_FFFF)


def float_keys(values: NDArray[np.float64]) -> Keys:
    """Map finite floats to integers of the same order.

    Examples
    --------
    >>> float_keys(np.array([-1.5, -0.0, 0.0, 2.0])).tolist()
    [-4609434218613702657, 0, 0, 4611686018427387904]
    """
    bits = (values + 0.0).view(np.int64)  # adding 0.0 turns -0.0 into 0.0
    return bits ^ ((bits >> np.int64(63)) & _SIGN)


def keys_to_floats(keys: Keys) -> NDArray[np.float64]:
    """Turn keys back into floats; the inverse of `float_keys`."""
    return (keys ^ ((keys >> np.int64(63)) & _SIGN)).view(np.float64)


def _bit_length(x: NDArray[np.uint64]) -> NDArray[np.int64]:
    high, low = x >> np.uint64(32), x & np.uint64(0xFFFF_FFFF)
    top = np.frexp(high.astype(np.float64))[1]
    return np.where(high > 0, 32 + top, np.frexp(low.astype(np.float64))[1]).astype(np.int64)


def _needed_shift(cells: Keys, limit: int) -> int:
    """Smallest further shift at which sorted distinct cells become at most `limit`."""
    if len(cells) <= limit:
        return 0
    lengths = _bit_length((cells[1:] ^ cells[:-1]).view(np.uint64))
    # Two neighbours fall into one cell once the shift reaches the bit length of their difference.
    # splits[d] = neighbours still apart below d
    splits = np.bincount(lengths, minlength=65)[::-1].cumsum()[::-1]
    return int(np.argmax(splits[1:] + 1 <= limit)) if (splits[1:] + 1 <= limit).any() else 63


def _run_lengths(ordered: Keys) -> tuple[Keys, Counts]:
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return ordered[starts], np.diff(np.append(starts, len(ordered)))


def _firsts(ordered: Keys) -> NDArray[np.bool_]:
    """Mark the first of equal neighbours in each row."""
    new = np.ones(ordered.shape, bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=new[:, 1:])
    return new


def _all_run_lengths(new: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Counts, list[int]]:
    """Flat positions of the marks, distance to the next, and where each row's marks begin and end."""
    at = np.flatnonzero(new)
    rows, n = new.shape
    return at, np.diff(np.append(at, rows * n)), np.searchsorted(at, np.arange(rows + 1) * n).tolist()


def _fitted(cell: Keys, count: Counts) -> tuple[Keys, Counts, int]:
    """Sorted distinct cells at the smallest further shift at which they fit, their counts, and that shift."""
    more = _needed_shift(cell, LIMIT)
    if more:
        cell = cell >> np.int64(more)
        starts = np.flatnonzero(np.concatenate(([True], cell[1:] != cell[:-1])))
        cell, count = cell[starts], np.add.reduceat(count, starts)
    return cell, count, more


@dataclass
class Cells:
    """Counts of one column on dyadic cells, for all rows (group 0) and each segment value (further groups).

    Parameters
    ----------
    shift : int
        Number of low key bits that cells leave out.
    group : int32 array [entries]
    cell : int64 array [entries]
    count : int64 array [entries]
        Entries are sorted by (group, cell) and distinct.
    invalid : int64 array [groups]
        Rows of each group whose value is of the wrong type or not finite. Missing values are not kept: they
        are the rows of a group that are neither counted nor invalid.
    """

    shift: int
    group: NDArray[np.int32]
    cell: Keys
    count: Counts
    invalid: Counts

    @classmethod
    def empty(cls) -> Cells:
        """Return a histogram of nothing."""
        none = np.zeros(0, np.int64)
        return cls(0, np.zeros(0, np.int32), none, none, np.zeros(1, np.int64))

    @classmethod
    def count_keys(
        cls,
        keys: Keys,
        status: NDArray[np.uint8],
        groups: tuple[NDArray[np.int32], ...],
        size: int,
        floor: int = 0,
    ) -> Cells:
        """Count rows.

        Parameters
        ----------
        keys : int64 array [n]
            Ignored where `status` is not 0.
        status : uint8 array [n]
            ``OK``, ``MISSING`` or ``INVALID`` of ``schemas.batch``.
        groups : tuple of int32 arrays [n]
            For each segment column the group (1 …) that a row belongs to.
        size : int
            Number of groups.
        floor : int
            A shift that is known to be needed, to save work.
        """
        valid = status == OK
        every = bool(valid.all())
        order = np.argsort(keys) if every else np.flatnonzero(valid)[np.argsort(keys[valid])]
        cell, count = _run_lengths(keys[order] >> np.int64(floor)) if len(order) else (keys[:0], keys[:0])
        cell, count, more = _fitted(cell, count)
        parts = [(np.zeros(len(cell), np.int32), cell, count)]
        invalid = np.zeros(size, np.int64)
        invalid[0] = np.count_nonzero(status == INVALID)
        rank = np.empty(len(keys), np.int64)
        rank[order] = np.repeat(np.arange(len(cell)), count)
        for group in groups:
            if invalid[0]:
                invalid += np.bincount(group[status == INVALID], minlength=size)
            packed = group.astype(np.int64) * max(len(cell), 1) + rank
            pairs, pair_count = (
                _run_lengths(np.sort(packed if every else packed[valid])) if len(order) else (cell, count)
            )
            parts.append(
                ((pairs // max(len(cell), 1)).astype(np.int32), cell[pairs % max(len(cell), 1)], pair_count)
            )
        return cls(floor + more, *_join(parts), invalid)

    @classmethod
    def count_matrix(
        cls, keys: Keys, groups: tuple[NDArray[np.int32], ...], size: int, floors: list[int]
    ) -> list[Cells]:
        """Count rows of many columns at once, none of which is missing or invalid; see `count_keys`.

        Parameters
        ----------
        keys : int64 array [columns, n]
            n is at least 1.
        groups, size
            As for `count_keys`.
        floors : list of int
            For each column a shift that is known to be needed.
        """
        n = keys.shape[1]
        if any(floors):
            keys = keys >> np.array(floors, np.int64)[:, None]
        order = np.argsort(keys, axis=1) if groups else None
        ordered = np.sort(keys, axis=1) if order is None else np.take_along_axis(keys, order, axis=1)
        new = _firsts(ordered)
        shifts = list(floors)
        for i in np.flatnonzero(new.sum(axis=1) > LIMIT).tolist():
            more = _needed_shift(ordered[i, new[i]], LIMIT)
            shifts[i] += more
            ordered[i] >>= np.int64(more)
            np.not_equal(ordered[i, 1:], ordered[i, :-1], out=new[i, 1:])
        at, count, bounds = _all_run_lengths(new)
        cell = ordered.ravel()[at]
        group = np.zeros(len(cell), np.int32)
        if order is not None:
            # The same once more, of rank among the cells and group: all rows first, as group 0.
            rank = np.cumsum(new, axis=1) - 1
            pairs = np.concatenate([rank, *(x.astype(np.int64)[order] * n + rank for x in groups)], axis=1)
            pairs.sort(axis=1)
            first = np.array(bounds[:-1])
            at, count, bounds = _all_run_lengths(_firsts(pairs))
            pair = pairs.ravel()[at]
            group = (pair // n).astype(np.int32)
            cell = cell[pair % n + np.repeat(first, np.diff(bounds))]
        return [
            cls(shift, group[a:b], cell[a:b], count[a:b], np.zeros(size, np.int64))
            for shift, (a, b) in zip(shifts, pairwise(bounds), strict=True)
        ]

    def coarsened(self, shift: int) -> Cells:
        """Return the same counts at a larger shift."""
        if shift <= self.shift:
            return self
        cell = self.cell >> np.int64(min(shift - self.shift, 63))
        return Cells(shift, *_reduce(self.group, cell, self.count), self.invalid)

    def merge(self, *others: tuple[Cells, NDArray[np.int32] | None]) -> Cells:
        """Add histograms.

        Parameters
        ----------
        *others : tuple of Cells and (int32 array or None)
            Each with the number, among the groups of `self`, of each of its groups; None: the same numbers.
        """
        parts = [(self, np.arange(len(self.invalid), dtype=np.int32))]
        parts += [
            (c, np.arange(len(c.invalid), dtype=np.int32) if moved is None else moved) for c, moved in others
        ]
        shift = max(part.shift for part, _ in parts)
        group, cell, count = _reduce(
            np.concatenate([moved[part.group] for part, moved in parts]),
            np.concatenate([part.cell >> np.int64(min(shift - part.shift, 63)) for part, _ in parts]),
            np.concatenate([part.count for part, _ in parts]),
        )
        invalid = np.zeros(max(int(moved.max(initial=0)) + 1 for _, moved in parts), np.int64)
        for part, moved in parts:
            np.add.at(invalid, moved[: len(part.invalid)], part.invalid)
        merged = Cells(shift, group, cell, count, invalid)
        return merged.coarsened(shift + _needed_shift(cell[group == 0], LIMIT))

    def of_group(self, group: int) -> tuple[Keys, Counts]:
        """Lowest key and count of each occupied cell of one group, in order."""
        first, last = np.searchsorted(self.group, [group, group + 1])
        return self.cell[first:last] << np.int64(self.shift), self.count[first:last]

    @property
    def total(self) -> int:
        """Number of values, without missing and invalid ones."""
        return int(self.count[self.group == 0].sum())


def _join(
    parts: list[tuple[NDArray[np.int32], Keys, Counts]],
) -> tuple[NDArray[np.int32], Keys, Counts]:
    if len(parts) == 1:
        return parts[0]
    return _reduce(*(np.concatenate([part[i] for part in parts]) for i in range(3)))


def _reduce(group: NDArray[np.int32], cell: Keys, count: Counts) -> tuple[NDArray[np.int32], Keys, Counts]:
    """Sort entries by (group, cell) and add up equal ones."""
    if not len(group):
        return group.astype(np.int32), cell, count
    lowest, width = int(cell.min()), int(cell.max()) - int(cell.min()) + 1
    if (int(group.max()) + 1) * width < 1 << 62:
        order = np.argsort(group.astype(np.int64) * np.int64(width) + (cell - np.int64(lowest)))
    else:
        order = np.lexsort((cell, group))
    group, cell, count = group[order], cell[order], count[order]
    new = np.concatenate(([True], (group[1:] != group[:-1]) | (cell[1:] != cell[:-1])))
    starts = np.flatnonzero(new)
    return group[starts].astype(np.int32), cell[starts], np.add.reduceat(count, starts)
