"""Puts stored slices on the bins of a reference: most are, those of before it are moved there."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection

from detectors.partial_profile import read_counts
from detectors.profile import Profile
from detectors.reference import Reference
from detectors.tensor import IntArray
from monitor.store.queries.references import pointers
from monitor.web.context import Context

MOST_MOVED = 60  # slices of before the reference that are moved: each takes milliseconds


class OnBins(NamedTuple):
    """One slice: all its rows on the bins of a reference."""

    reference: Reference
    hash: str
    counts: IntArray


class Bins:
    """Reads slices of some versions of a model.

    Parameters
    ----------
    context : Context
    connection : Connection
    model : str
    versions : set of str
    """

    def __init__(self, context: Context, connection: Connection, model: str, versions: set[str]) -> None:
        self._context, self._connection = context, connection
        self._pointers: dict[str, list[Any]] = {}
        for row in pointers(connection, model, versions):
            self._pointers.setdefault(row.version, []).append(row)

    def of(self, row: Any) -> OnBins | None:
        """Read a slice; None if there is no reference of its version.

        Parameters
        ----------
        row : row
            Of `monitor.store.queries.slice_counts.slice_bytes`.

        Raises
        ------
        ProfileError
            If its bytes are damaged.
        """
        if row.reference_hash:
            reference = self._context.reference(self._connection, row.reference_hash)
            counts = read_counts(row.bytes, reference.binning).counts
            return OnBins(reference, row.reference_hash, counts)
        known = self._pointers.get(row.version, [])
        if not known:
            return None
        in_force = [pointer for pointer in known if pointer.from_ms <= row.slice_ms]
        hash_ = (in_force or known[:1])[-1].hash
        reference = self._context.reference(self._connection, hash_)
        moved, _ = Profile.from_bytes(row.bytes).rebinned(reference.binning, hash_)
        return OnBins(reference, hash_, moved.counts[0])


def thinned(rows: list[Any]) -> list[Any]:
    """Leave out some of the slices that would have to be moved, evenly, where they are many."""
    loose = [row for row in rows if not row.reference_hash]
    if len(loose) <= MOST_MOVED:
        return rows
    stride = -(-len(loose) // MOST_MOVED) | 1
    kept = {(row.version, row.slice_ms) for row in loose[::stride]}
    return [row for row in rows if row.reference_hash or (row.version, row.slice_ms) in kept]
