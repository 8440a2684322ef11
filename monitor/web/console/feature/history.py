"""Counts of one column slice by slice, from stored profiles: the newest ones of a range, kept for a while."""

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
from monitor.store.queries.slices import slices
from monitor.store.tables import slice_profile
from monitor.web.console.feature.subject import Subject

MOST_SLICES = 1_440  # a day of minutes
MOST_BYTES = 24 << 20  # of stored profiles; more would take longer than a person waits for a chart
MOST_KEPT = 8


@dataclass(frozen=True)
class Chosen:
    """Stored slices of a range, as many of the newest as may be read.

    Parameters
    ----------
    ids : tuple of int
        Ascending.
    from_ms : int
        Start of the oldest of them.
    is_cut : bool
        The range holds more.
    """

    ids: tuple[int, ...]
    from_ms: int
    is_cut: bool


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


def choose(connection: Connection, subject: Subject) -> Chosen:
    """Find the newest slices of a range that may be read together."""
    s = slice_profile.c
    query = (
        select(s.id, s.slice_ms, func.length(s.bytes))
        .where(s.model == subject.model, s.version == subject.version)
        .where(s.slice_ms >= subject.from_ms, s.slice_ms < subject.to_ms)
        .order_by(s.slice_ms.desc(), s.id.desc())
        .limit(MOST_SLICES + 1)
    )
    rows = connection.execute(query).all()
    sizes = np.cumsum([row[2] for row in rows])
    fits = min(int(np.searchsorted(sizes, MOST_BYTES, side="right")), MOST_SLICES)
    taken = rows[: max(fits, min(len(rows), 1))]
    from_ms = int(taken[-1].slice_ms) if taken else subject.from_ms
    return Chosen(tuple(sorted(row.id for row in taken)), from_ms, len(taken) < len(rows))


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
