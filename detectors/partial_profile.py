"""Reads parts of a stored profile: counts, one column, moments; a fifth of the work of reading all of it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from datasketches import kll_floats_sketch
from numpy.typing import NDArray

from detectors.binning import Binning
from detectors.packing import unpack
from detectors.profile import MAGIC
from detectors.sealed import unseal
from detectors.summary import Summary, SummaryState
from detectors.tensor import IntArray
from schemas.errors import ProfileError


class _Counts(msgspec.Struct, array_like=True):
    """First fields of the state of a profile; those that follow are passed over."""

    reference_hash: str
    groups: tuple[str, ...]
    group_rows: bytes
    counts: bytes


class _Part(_Counts, array_like=True):
    """The same, and what is known of each column."""

    summaries: list[SummaryState]


@dataclass(frozen=True)
class ColumnPart:
    """What a stored profile says of one column.

    Parameters
    ----------
    counts : int64 array [groups, bins] or None
        On the bins of the reference, missing and invalid values last; None where the profile is not on them.
    sketch : kll_floats_sketch or None
        Of the numbers of all rows; None where there are none.
    """

    counts: NDArray[np.int64] | None
    sketch: kll_floats_sketch | None


@dataclass(frozen=True)
class BareCounts:
    """Counts of a profile on the bins of its reference.

    Parameters
    ----------
    rows : int
        All rows.
    counts : IntArray
        ``[bins]``: all rows on the bins of all columns, side by side.
    """

    rows: int
    counts: IntArray


def read_column(data: bytes, binning: Binning, reference_hash: str, column: str) -> ColumnPart:
    """Read one column of a profile.

    Parameters
    ----------
    data : bytes
        From `detectors.profile.Profile.to_bytes`.
    binning : Binning
        Bins of a reference.
    reference_hash : str
        Hash of that reference.
    column : str

    Returns
    -------
    ColumnPart

    Raises
    ------
    ProfileError
        If the bytes are damaged, or do not fit the bins.
    """
    state = unseal(MAGIC, data, _Part, "profile")
    counts = None
    if state.reference_hash == reference_hash and column in binning.index:
        counts = _counts(state, binning, column)
    found = next((one.quantiles for one in state.summaries if one.spec.name == column), b"")
    return ColumnPart(counts, kll_floats_sketch.deserialize(found) if found else None)


def read_counts(data: bytes, binning: Binning) -> BareCounts:
    """Read the counts of all rows.

    Parameters
    ----------
    data : bytes
        Of `detectors.profile.Profile.to_bytes`, of a profile on the bins of a reference.
    binning : Binning
        Of that reference.

    Raises
    ------
    ProfileError
        If the bytes are damaged, or not on those bins.
    """
    state = unseal(MAGIC, data, _Counts, "profile")
    bins, counts, rows = int(binning.offsets[-1]), unpack(state.counts), unpack(state.group_rows)
    if not state.reference_hash or counts.size != bins * len(rows):
        msg = "the counts of the profile do not fit the bins of its reference"
        raise ProfileError(msg)
    return BareCounts(int(rows[0]), np.asarray(counts[:bins]))


def read_summary(data: bytes, column: str) -> Summary | None:
    """Read the summary of one column; None if the profile has none.

    Raises
    ------
    ProfileError
        If the bytes are damaged.
    """
    state = unseal(MAGIC, data, _Part, "profile")
    for one in state.summaries:
        if one.spec.name == column:
            return Summary.from_state(one)
    return None


def read_moments(data: bytes) -> tuple[int, list[SummaryState]]:
    """Read the number of rows, and the summaries of all columns without opening their sketches.

    Raises
    ------
    ProfileError
        If the bytes are damaged.
    """
    state = unseal(MAGIC, data, _Part, "profile")
    return int(unpack(state.group_rows)[0]), state.summaries


def _counts(state: _Part, binning: Binning, column: str) -> NDArray[np.int64]:
    flat, width = unpack(state.counts), int(binning.offsets[-1])
    if flat.size != width * len(binning.groups):
        msg = "the counts of the profile do not fit the bins of its reference"
        raise ProfileError(msg)
    at = binning.index[column]
    every = flat.reshape(len(binning.groups), width)
    return every[:, int(binning.offsets[at]) : int(binning.offsets[at + 1])].copy()
