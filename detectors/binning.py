"""Bins: which value of which column goes where. Fixed by a reference, so that later counts can be added.

Every column has a row of bins; the last ones of each are ``missing`` and ``invalid``. Numeric columns have
bins between edges and one beyond each end; categorical columns have their most frequent values, ``other`` for
the rest that the reference knows, and ``unseen``; columns with too many values to tell apart have 64 hash
buckets.
"""

from __future__ import annotations

from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.cells import Cells, float_keys, keys_to_floats
from detectors.tensor import TensorLayout
from schemas.column import ColumnSpec, Kind
from schemas.verdict import Lane

# Shares of the reference that bins should hold (STATISTICS §1): fine in the tails, tenths in the middle.
TARGETS = np.cumsum([0.002, 0.008, 0.04, 0.05, *[0.1] * 8, 0.05, 0.04, 0.008])
ATOM_SHARE = 0.05
TOP_VALUES = 30
BUCKETS = 64
SHORT = 1000  # arrays for which one call costs more than the comparisons


class NumericBins(msgspec.Struct, frozen=True, dict=True, tag="numeric"):
    """Bins of a numeric column: ``[edges[i], edges[i+1])``, one below and one above.

    `lowest` and `highest` are the smallest and largest value of the reference.
    """

    edges: tuple[float, ...]
    lowest: float
    highest: float

    @property
    def size(self) -> int:
        """Number of bins, with missing and invalid."""
        return len(self.edges) + 3

    def codes(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        """Bin of each finite value."""
        return self.small_codes(values).astype(np.intp)

    def small_codes(self, values: NDArray[np.float64]) -> NDArray[np.uint8 | np.intp]:
        """Bin of each finite value, in a type of one byte where there are many.

        Comparing with one edge after the other is several times faster than a binary search for each value.
        """
        if len(values) < SHORT:
            return self._edges.searchsorted(values, side="right")
        codes, above = np.zeros(len(values), np.uint8), np.empty(len(values), bool)
        for edge in self.edges:
            np.greater_equal(values, edge, out=above)
            np.add(codes, above.view(np.uint8), out=codes)
        return codes

    @cached_property
    def _edges(self) -> NDArray[np.float64]:
        return np.array(self.edges)

    def labels(self) -> tuple[str, ...]:
        """Name of each bin, in order."""
        edges = [_number(edge) for edge in self.edges]
        inner = [
            f"= {low}" if b <= np.nextafter(a, np.inf) else f"[{low}, {high})"
            for a, b, low, high in zip(self.edges, self.edges[1:], edges, edges[1:], strict=False)
        ]
        return (f"< {edges[0]}", *inner, f">= {edges[-1]}", "missing", "invalid")


class CategoricalBins(msgspec.Struct, frozen=True, dict=True, tag="categorical"):
    """Bins of a categorical column.

    `hashes` are all values that the reference knows (sorted, as unsigned 64-bit numbers), `bin_of` the bin of
    each; `top` are the names of the values with a bin of their own, most frequent first.
    """

    top: tuple[str, ...]
    hashes: tuple[int, ...]
    bin_of: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of bins, with other, unseen, missing and invalid."""
        return len(self.top) + 4

    def codes(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Bin of each hashed value."""
        known, bin_of = self._arrays
        unseen = len(self.top) + 1
        if not len(known):
            return np.full(len(hashes), unseen, np.intp)
        at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return np.where(known[at] == hashes, bin_of[at], unseen)

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
        """`hashes` and `bin_of`; making arrays of tuples takes longer than looking up a batch."""
        return np.array(self.hashes, np.uint64), np.array(self.bin_of, np.intp)

    def labels(self) -> tuple[str, ...]:
        """Name of each bin, in order."""
        return (*self.top, "(other)", "(unseen)", "missing", "invalid")


class HashBins(msgspec.Struct, frozen=True, tag="hash"):
    """64 buckets by the highest bits of the hash, for a column with too many values to tell apart."""

    @property
    def size(self) -> int:
        """Number of bins, with missing and invalid."""
        return BUCKETS + 2

    def codes(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Bin of each hashed value."""
        return (hashes >> np.uint64(58)).astype(np.intp)

    def labels(self) -> tuple[str, ...]:
        """Name of each bin, in order."""
        return (*(f"hash {i:02d}" for i in range(BUCKETS)), "missing", "invalid")


class PresenceBins(msgspec.Struct, frozen=True, tag="presence"):
    """Present, missing, invalid: for columns whose values are lists."""

    @property
    def size(self) -> int:
        """Number of bins."""
        return 3

    def labels(self) -> tuple[str, ...]:
        """Name of each bin, in order."""
        return ("present", "missing", "invalid")


Bins = NumericBins | CategoricalBins | HashBins | PresenceBins


class SegmentValues(msgspec.Struct, frozen=True, dict=True):
    """Values of one segment column with counts of their own; `hashes` sorted, `names` in the same order."""

    column: str
    names: tuple[str, ...]
    hashes: tuple[int, ...]

    def labels(self) -> tuple[str, ...]:
        """Name of each group: the values, then the rest, then rows without a value."""
        return tuple(f"{self.column}={name}" for name in (*self.names, "(other)", "(missing)"))

    def groups(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Group of each hashed value, counted from 0."""
        known = self._known
        if not len(known):
            return np.zeros(len(hashes), np.intp)
        at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return np.where(known[at] == hashes, at, len(known))

    @cached_property
    def _known(self) -> NDArray[np.uint64]:
        return np.array(self.hashes, np.uint64)


class Binning(msgspec.Struct, frozen=True, dict=True):
    """Bins of all columns of a model version, and the segments it is broken down by."""

    columns: tuple[ColumnSpec, ...]
    bins: tuple[Bins, ...]
    segments: tuple[SegmentValues, ...] = ()

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """First bin of each column in the flat row of all bins; the last entry is their number."""
        return np.concatenate(([0], np.cumsum([bins.size for bins in self.bins], dtype=np.int64)))

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each column."""
        return {spec.name: i for i, spec in enumerate(self.columns)}

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Label of each group of rows: all (empty), then the values of each segment column."""
        return ("", *(label for segment in self.segments for label in segment.labels()))

    @cached_property
    def layout(self) -> TensorLayout:
        """The same bins as a padded tensor, for the detectors."""
        return _layout(self)

    def tensor(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Pad flat counts ``[…, bins]`` to ``[…, columns, widest]``."""
        valid = self.layout.valid
        padded = np.zeros((*counts.shape[:-1], valid.size), np.int64)
        padded[..., valid.ravel()] = counts
        return padded.reshape(*counts.shape[:-1], *valid.shape)


def numeric_bins(cells: Cells, lowest: float, highest: float) -> NumericBins:
    """Choose edges at quantiles, on boundaries of occupied cells, with frequent values in bins of their own.

    Parameters
    ----------
    cells : Cells
        Counts of all rows of the reference; not empty.
    lowest, highest : float
        Smallest and largest value.

    Notes
    -----
    Each target share takes the nearest boundary, so a tie merges edges and a coarse column gets fewer bins.
    """
    low, count = cells.of_group(0)
    high = low + np.int64(1 << min(cells.shift, 62))
    total = count.sum()
    cumulative = np.concatenate(([0], np.cumsum(count)))
    nearest = np.abs(cumulative[None, :] - TARGETS[:, None] * total).argmin(axis=1)
    # Boundary i lies between cell i-1 and cell i: the lower end of cell i.
    keys = {int(low[0]), int(high[-1])} | {int(low[i]) for i in nearest if 0 < i < len(low)}
    for i in np.flatnonzero(count >= ATOM_SHARE * total):
        keys |= {int(low[i]), int(high[i])}
    limit = float_keys(np.array([np.finfo(np.float64).max]))[0]
    edges = keys_to_floats(np.array(sorted(min(max(key, -limit), limit) for key in keys), np.int64))
    return NumericBins(tuple(edges.tolist()), lowest + 0.0, highest + 0.0)  # -0.0 and 0.0 are the same value


def categorical_bins(cells: Cells, names: dict[int, str]) -> CategoricalBins | HashBins:
    """Give the most frequent values bins of their own.

    Parameters
    ----------
    cells : Cells
        Counts on the hashes of the values.
    names : dict of int to str
        Value of each hash, at least of the frequent ones.
    """
    if cells.shift:
        return HashBins()
    key, count = cells.of_group(0)
    hashes = key.view(np.uint64)
    named = np.array([int(h) in names for h in hashes], bool)
    # Frequent first; ties by hash, so that the same rows always give the same bins.
    order = np.lexsort((hashes, -count, ~named))
    top = [int(h) for h in hashes[order][: min(TOP_VALUES, int(named.sum()))]]
    bin_of = {h: i for i, h in enumerate(top)}
    known = np.sort(hashes)
    return CategoricalBins(
        tuple(names[h] for h in top),
        tuple(known.tolist()),
        tuple(bin_of.get(h, len(top)) for h in known.tolist()),
    )


def rebin(
    cells: Cells, bins: Bins, groups: NDArray[np.int32], group_rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Move counts from cells onto bins.

    Parameters
    ----------
    cells : Cells
    bins : Bins
    groups : int32 array
        New number of each group of `cells`.
    group_rows : int64 array [new groups]
        All rows of each new group; those without a value are counted as missing.

    Returns
    -------
    counts : int64 array [new groups, bins]
    straddling : int
        Rows in cells that an edge cuts; they are counted at the lower end of their cell. It is 0 unless the
        rows are spread over far more cells than the reference was.
    """
    counts = np.zeros((len(group_rows), bins.size), np.int64)
    np.add.at(counts[:, -1], groups[: len(cells.invalid)], cells.invalid)
    key = cells.cell << np.int64(cells.shift)
    straddling = 0
    if isinstance(bins, NumericBins):
        code = bins.codes(keys_to_floats(key))
        last = bins.codes(keys_to_floats(key + np.int64((1 << min(cells.shift, 62)) - 1)))
        straddling = int(cells.count[(code != last) & (cells.group == 0)].sum())
    elif isinstance(bins, PresenceBins):
        code = np.zeros(len(key), np.intp)
    else:
        code = bins.codes(key.view(np.uint64))
        if isinstance(bins, CategoricalBins) and cells.shift:
            straddling = cells.total
    np.add.at(counts, (groups[cells.group], code), cells.count)
    counts[:, -2] = group_rows - counts.sum(axis=1)
    return counts, straddling


def _number(x: float) -> str:
    return f"{x:.4g}"


def _layout(binning: Binning) -> TensorLayout:
    widest = max((bins.size for bins in binning.bins), default=1)
    shape = (len(binning.columns), widest)
    valid, ordered = np.zeros(shape, bool), np.zeros(shape, bool)
    positions, widths = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, bins in enumerate(binning.bins):
        valid[i, : bins.size] = True
        if isinstance(bins, NumericBins):
            inner = slice(0, bins.size - 2)
            ordered[i, inner] = True
            edges = np.asarray(bins.edges)
            atoms = edges[1:] <= np.nextafter(edges[:-1], np.inf)
            middle = np.where(atoms, edges[:-1], edges[:-1] / 2 + edges[1:] / 2)
            positions[i, inner] = np.concatenate(([bins.lowest], middle, [bins.highest]))
            positions[i, inner] = np.maximum.accumulate(positions[i, inner])
            widths[i, inner] = np.concatenate(([0.0], np.where(atoms, 0.0, edges[1:] - edges[:-1]), [0.0]))
    lanes: tuple[Lane, ...] = tuple(spec.source.lane for spec in binning.columns)
    return TensorLayout(
        columns=tuple(spec.name for spec in binning.columns),
        lanes=lanes,
        labels=tuple(bins.labels() for bins in binning.bins),
        valid=valid,
        ordered=ordered,
        positions=positions,
        widths=widths,
    )


def bins_for(spec: ColumnSpec, cells: Cells, lowest: float, highest: float, names: dict[int, str]) -> Bins:
    """Choose the bins of one column."""
    if spec.kind is Kind.NUMERIC:
        return numeric_bins(cells, lowest, highest) if cells.total else NumericBins((0.0,), 0.0, 0.0)
    if spec.kind is Kind.VECTOR:
        return PresenceBins()
    return categorical_bins(cells, names)
