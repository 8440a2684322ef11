"""Samples of the rows of a table: the same rows as a stream of them would have kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.sample import EVERY_KEY, LIST_NUMBERS, MOST_ROWS, Sample
from detectors.tensor import IntArray
from schemas.batch import Batch, Lists, concatenate

_PENDING_ROWS = 262_144  # added before rows are sorted out again


class TableSamples:
    """Picks rows of a table in any order: of every slice, then of every window, those with the lowest keys.

    Parameters
    ----------
    slice_ms : int
        Length of a slice.
    slice_rows : int
        Most rows of one; 0 picks none.
    every_ms : int
        How often a window begins; it divides the windows' length.

    Guarantees
    ----------
    Memory is that of 4,097 rows for each `every_ms` with rows, or of ``slice_rows + 1`` for each slice if
    that is less, and of 262,144 more.
    """

    def __init__(self, slice_ms: int, slice_rows: int, every_ms: int) -> None:
        self._slice_ms, self._slice_rows, self._every_ms = slice_ms, slice_rows, every_ms
        self._kept: list[Batch] = []
        self._pending = 0

    def add(self, batch: Batch) -> None:
        """Take in rows."""
        if not self._slice_rows or not len(batch):
            return
        self._kept.append(batch)
        self._pending += len(batch)
        if self._pending >= _PENDING_ROWS:
            self._sort_out()

    def windows(self, starts: IntArray, length_ms: int) -> dict[int, Sample]:
        """Sample of each window.

        Parameters
        ----------
        starts : IntArray
            First instants of windows, ascending.
        length_ms : int
        """
        nothing = {start: Sample(MOST_ROWS if self._slice_rows else 0) for start in starts.tolist()}
        whole = self._sort_out()
        if whole is None or whole.keys is None:
            return nothing
        keys, slices = whole.keys, whole.event_ms // self._slice_ms
        firsts = np.flatnonzero(np.diff(slices, prepend=slices[0] - 1))
        ranks = _ranks(slices)
        limits = np.full(len(firsts), EVERY_KEY, np.uint64)
        beyond = np.flatnonzero(ranks == self._slice_rows)
        limits[np.searchsorted(firsts, beyond, side="right") - 1] = keys[beyond]
        lists = {name: self._list_limits(whole.lists[name], firsts, ranks, keys) for name in whole.lists}
        edges = np.append(firsts, len(slices))
        begins = slices[firsts] * self._slice_ms
        for start in starts.tolist():
            first, last = np.searchsorted(begins, (start, start + length_ms)).tolist()
            if first == last:
                continue
            limit = limits[first:last].min()
            rows = np.arange(edges[first], edges[last])
            rows = rows[keys[rows] < limit]
            of_lists = {name: int(found[first:last].min()) for name, found in lists.items()}
            of_lists = {name: key for name, key in of_lists.items() if key != EVERY_KEY}
            nothing[start] = Sample.below(whole.take(rows), MOST_ROWS, int(limit), of_lists)
        return nothing

    def _list_limits(
        self, lists: Lists, firsts: NDArray[np.int64], ranks: NDArray[np.int64], keys: NDArray[np.uint64]
    ) -> NDArray[np.uint64]:
        """Key of the first row of each slice that there is no room for the list of."""
        lengths = lists.array().value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        lengths[ranks >= self._slice_rows] = 0
        total = np.cumsum(lengths)
        place = np.searchsorted(firsts, np.arange(len(keys)), side="right") - 1
        before = (total - lengths)[firsts]
        beyond = np.flatnonzero(total - before[place] > LIST_NUMBERS * self._slice_rows)
        limits = np.full(len(firsts), EVERY_KEY, np.uint64)
        np.minimum.at(limits, place[beyond], keys[beyond])
        return limits

    def _sort_out(self) -> Batch | None:
        """Keep, in the order of slices and keys, what may still be picked."""
        if not self._kept:
            return None
        whole, self._pending = concatenate(self._kept), 0
        keys = whole.keys if whole.keys is not None else np.full(len(whole), EVERY_KEY, np.uint64)
        slices = whole.event_ms // self._slice_ms
        order = np.lexsort((keys, slices))
        order = order[_ranks(slices[order]) <= self._slice_rows]
        panes = whole.event_ms[order] // self._every_ms
        by_pane = np.lexsort((keys[order], panes))
        low = np.zeros(len(order), bool)
        low[by_pane] = _ranks(panes[by_pane]) <= MOST_ROWS
        self._kept = [whole.take(order[low])]
        return self._kept[0]


def _ranks(groups: IntArray) -> NDArray[np.int64]:
    """Number of each row within its group, counted from 0; rows of a group are next to each other."""
    places = np.arange(len(groups))
    firsts = np.diff(groups, prepend=groups[:1] - 1) != 0
    return np.asarray(places - np.maximum.accumulate(np.where(firsts, places, 0)))
