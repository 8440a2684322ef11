"""Counts of one column slice by slice, from stored profiles spread over a range, kept for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from datasketches import kll_floats_sketch
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from detectors.partial_profile import ColumnPart, read_column
from detectors.profile import Profile
from detectors.reference import Reference
from monitor.store.queries.slice_counts import slice_total
from monitor.store.queries.slices import Span, slices
from monitor.store.tables import slice_profile
from monitor.web.console.feature.subject import Subject
from monitor.web.console.words import ordinal

MOST_SLICES = 1_440  # a day of minutes
MOST_BYTES = 24 << 20  # of stored profiles; more would take longer than a person waits for a chart
MOST_COUNTED = 200_000  # slices that are counted to find out how many there are
MOST_KEPT = 8


@dataclass(frozen=True)
class Chosen:
    """Stored slices of a range: all of them, or so many that are spread over it evenly.

    Parameters
    ----------
    ids : tuple of int
        Ascending.
    stride : int
        One stored slice of so many was chosen; 1 for all of them.
    """

    ids: tuple[int, ...]
    stride: int

    @property
    def words(self) -> str:
        """Say what of the range was counted, in a sentence that follows another; empty where all of it was.

        Examples
        --------
        >>> Chosen((1, 2), 1).words, Chosen((1, 8), 7).words
        ('', ' Counted from every 7th stored slice, over the whole range.')
        """
        return (
            f" Counted from every {ordinal(self.stride)} stored slice, over the whole range."
            if self.stride > 1
            else ""
        )


@dataclass(frozen=True)
class History:
    """Counts of a column and one group of rows.

    Parameters
    ----------
    starts : int64 array [slices]
        Epoch milliseconds; a slice may come several times, in parts.
    counts : int64 array [slices, bins]
        On the bins of the reference, missing and invalid values last.
    sketches : sequence of kll_floats_sketch or None
        Of the numbers of all rows, whatever the group.
    excluded_rows : int
        Rows counted on the bins of another reference.
    chosen : Chosen
    """

    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    sketches: Sequence[kll_floats_sketch | None]
    excluded_rows: int
    chosen: Chosen

    @property
    def words(self) -> str:
        """Say what of the range could not be counted, as `Chosen.words`."""
        left_out = f" {self.excluded_rows:,} rows on the bins of another reference are left out."
        return self.chosen.words + (left_out if self.excluded_rows else "")


def choose(connection: Connection, subject: Subject) -> Chosen:
    """Find slices of a range that may be read together; of too many, every n-th.

    Notes
    -----
    An odd distance visits all minutes of an hour, and all hours of a day, in turn. Where the slices are
    large, it grows until those that are left are small enough together.
    """
    s = slice_profile.c
    query = (
        select(s.id, s.slice_ms, func.length(s.bytes))
        .where(s.model == subject.model, s.version == subject.version)
        .where(s.slice_ms >= subject.from_ms, s.slice_ms < subject.to_ms)
    )
    slice_ms = subject.settings.slice_ms
    total = slice_total(
        connection, Span(subject.model, subject.from_ms, subject.to_ms, subject.version), MOST_COUNTED
    )
    stride = 1 if total <= MOST_SLICES else -(-total // MOST_SLICES) | 1
    if stride > 1:
        query = query.where(s.slice_ms // slice_ms % stride == 0)
    rows = connection.execute(query.order_by(s.slice_ms, s.id)).all()
    size = sum(row[2] for row in rows)
    if size > MOST_BYTES:
        further = -(-size // MOST_BYTES) | 1
        rows = [row for row in rows if row.slice_ms // slice_ms // stride % further == 0] or rows[-1:]
        stride *= further
    return Chosen(tuple(sorted(row.id for row in rows)), stride)


def parts(
    connection: Connection, chosen: Chosen, reference: Reference, hash_: str, column: str
) -> Iterator[tuple[int, int, ColumnPart]]:
    """Read one column of slices: start, rows, counts.

    Slices from before the first reference are moved onto its bins; the counts of slices on the bins of
    another one are None.

    Raises
    ------
    ProfileError
        If stored bytes are damaged.
    """
    binning = reference.binning
    for row in slices(connection, list(chosen.ids)):
        part = read_column(bytes(row.bytes), binning, hash_, column)
        if not row.reference_hash and column in binning.index:
            moved, _ = Profile.from_bytes(bytes(row.bytes)).rebinned(binning, hash_)
            at = binning.index[column]
            counts = moved.counts[:, int(binning.offsets[at]) : int(binning.offsets[at + 1])].copy()
            part = ColumnPart(counts, part.sketch)
        yield int(row.slice_ms), int(row.rows), part


class Histories:
    """Reads histories, and keeps the latest: the charts of a page ask for the same one within a second.

    Guarantees
    ----------
    May be called from several threads; stored slices never change, so what is kept is never out of date.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], History] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, connection: Connection, subject: Subject, column: str, segment: str) -> History | None:
        """Give the history of a column and segment; None without a reference that has the column.

        Raises
        ------
        ProfileError
            If stored bytes are damaged.
        """
        reference = subject.reference
        if reference is None or column not in reference.binning.index:
            return None
        if segment not in reference.binning.groups:
            return None
        chosen = choose(connection, subject)
        key = (subject.reference_hash, column, segment, chosen)
        with self._lock:
            found = self._kept.pop(key, None)
            if found is None:
                found = _read(connection, subject.reference_hash, reference, chosen, column, segment)
            self._kept[key] = found
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return found


def _read(
    connection: Connection, hash_: str, reference: Reference, chosen: Chosen, column: str, segment: str
) -> History:
    binning = reference.binning
    group = binning.groups.index(segment)
    starts: list[int] = []
    counts: list[NDArray[np.int64]] = []
    sketches: list[kll_floats_sketch | None] = []
    excluded = 0
    for start_ms, rows, part in parts(connection, chosen, reference, hash_, column):
        if part.counts is None:
            excluded += rows
            continue
        starts.append(start_ms)
        counts.append(part.counts[group])
        sketches.append(part.sketch)
    width = binning.bins[binning.index[column]].size
    stacked = np.array(counts, np.int64).reshape(len(counts), width)
    return History(np.array(starts, np.int64), stacked, sketches, excluded, chosen)
