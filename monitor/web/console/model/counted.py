"""Rows counted anew from stored slices, by window: what results do not hold, and windows of other shapes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection

from detectors.binning import CategoricalBins
from detectors.effects import EffectArrays, compare
from detectors.reference import Reference
from detectors.tensor import FloatArray, IntArray
from monitor.store.queries.slice_counts import slice_bytes, slice_total
from monitor.store.queries.slices import Span
from monitor.web.console.model.on_bins import Bins, thinned
from monitor.web.console.model.view import View
from monitor.web.console.words import ordinal
from monitor.web.context import Context

MOST_SLICES = 600  # read for one chart: a tenth of a second
MOST_COUNTED = 200_000  # slices that are counted to find out how many there are


@dataclass
class OnReference:
    """Windows on the bins of one reference.

    Parameters
    ----------
    reference : Reference
    counts : IntArray
        ``[windows, bins]``: all rows.
    """

    reference: Reference
    counts: IntArray

    def place(self, column: str) -> slice | None:
        """Where the bins of a column lie; None if the reference does not have it."""
        binning = self.reference.binning
        if column not in binning.index:
            return None
        at = binning.index[column]
        return slice(int(binning.offsets[at]), int(binning.offsets[at + 1]))

    def special(self, column: str) -> dict[str, IntArray]:
        """Rows of each window that are missing, invalid, unseen in the reference; ``[windows]`` each."""
        place = self.place(column)
        if place is None:
            return {}
        counts = self.counts[:, place]
        found = {"missing": counts[:, -2], "invalid": counts[:, -1]}
        bins = self.reference.binning.bins[self.reference.binning.index[column]]
        if isinstance(bins, CategoricalBins):
            found["unseen"] = counts[:, len(bins.top) + 1]
        return found

    def effects(self, counts: IntArray) -> EffectArrays:
        """Effect sizes of some counts ``[…, bins]`` against the reference; columns as in its binning."""
        binning = self.reference.binning
        return compare(
            binning.tensor(self.reference.counts[0]), binning.tensor(counts), binning.layout,
            self.reference.deviations,
        )  # fmt: skip


@dataclass
class Counted:
    """Rows of a range by windows.

    Parameters
    ----------
    starts : list of int
        Of the windows with rows, ascending.
    rows : IntArray
        ``[windows]``: rows that were counted.
    parts : dict of str to OnReference
        By the hash of the reference.
    stride : int
        One slice of so many was read.
    left_out : int
        Slices from before the reference that were left out of those, because moving them takes long.
    """

    starts: list[int] = field(default_factory=list)
    rows: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    parts: dict[str, OnReference] = field(default_factory=dict)
    stride: int = 1
    left_out: int = 0

    def shares(self, column: str) -> dict[str, FloatArray]:
        """Shares of missing, invalid and unseen values; ``[windows]``, nan where nothing was counted."""
        totals: dict[str, IntArray] = {}
        rows = np.zeros(len(self.starts), np.int64)
        for part in self.parts.values():
            for name, numbers in part.special(column).items():
                totals[name] = totals.get(name, np.zeros(len(self.starts), np.int64)) + numbers
            place = part.place(column)
            if place is not None:
                rows += part.counts[:, place].sum(axis=1)
        safe = np.where(rows > 0, rows, 1)
        return {name: np.where(rows > 0, numbers / safe, np.nan) for name, numbers in totals.items()}

    def latest(self) -> OnReference | None:
        """Windows on the reference that the newest of them are on."""
        newest = [(np.flatnonzero(part.counts.any(axis=1)), part) for part in self.parts.values()]
        found = [(int(at[-1]), part) for at, part in newest if len(at)]
        return max(found, key=lambda one: one[0])[1] if found else None

    def note(self) -> str:
        """Say where not all rows were counted."""
        some = f" Counted from every {ordinal(self.stride)} slice." if self.stride > 1 else ""
        loose = " Of those from before the reference some are left out." if self.left_out else ""
        return some + loose


def count(context: Context, connection: Connection, view: View, most: int = MOST_SLICES) -> Counted:
    """Count the rows of a view by windows of its shape; sliding windows by their length.

    Parameters
    ----------
    most : int
        Slices to read at most; of more, every n-th is read.
    """
    slice_ms, window_ms = view.settings.slice_ms, view.shape.length_ms
    spans = [Span(view.model, view.from_ms, view.to_ms, version) for version in view.shown]
    total = sum(slice_total(connection, span, MOST_COUNTED) for span in spans)
    # An odd distance visits all minutes of an hour in turn.
    stride = 1 if total <= most else -(-total // most) | 1
    read = [row for span in spans for row in slice_bytes(connection, span, slice_ms, stride)]
    rows = thinned(read)
    starts = sorted({row.slice_ms // window_ms * window_ms for row in rows})
    at = {start: place for place, start in enumerate(starts)}
    found = Counted(starts, np.zeros(len(starts), np.int64), stride=stride, left_out=len(read) - len(rows))
    bins = Bins(context, connection, view.model, set(view.shown))
    for row in rows:
        place = at[row.slice_ms // window_ms * window_ms]
        found.rows[place] += row.rows
        on_bins = bins.of(row)
        if on_bins is None:
            continue
        part = found.parts.get(on_bins.hash)
        if part is None:
            empty = np.zeros((len(starts), len(on_bins.counts)), np.int64)
            part = found.parts[on_bins.hash] = OnReference(on_bins.reference, empty)
        part.counts[place] += on_bins.counts
    return found
