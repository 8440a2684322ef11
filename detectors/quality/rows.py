"""What sampled rows say of quality, row by row: which of them lack a value, and how numbers are rounded."""

from __future__ import annotations

import numpy as np

from detectors.binning import Binning, NumericBins
from detectors.prepared import Prepared
from detectors.sample import Sample
from detectors.tensor import BoolArray, FloatArray, IntArray
from schemas.batch import OK, Batch, with_kinds
from schemas.column import Source

ALWAYS = 0.99
"""Share of the reference's rows that have a value in a column that is always there."""
DECIMALS = ("3 or more decimals", "2 decimals", "1 decimal", "whole", "tens", "hundreds")
_ALWAYS_MS = 1 << 62  # a slice that holds every row
_PLACES = 2  # decimals that are told apart
_LARGEST = 1e12  # of larger numbers no decimals are known
_PART = 1e-9  # by which a number may miss a multiple, relative to its size


def always_there(binning: Binning, counts: IntArray) -> IntArray:
    """Find the columns that nearly all rows of a reference have a value in.

    Parameters
    ----------
    binning : Binning
    counts : IntArray
        ``[bins]``: all rows of the reference.

    Returns
    -------
    IntArray
        Their places; errors are not among them, as it is normal that rows have none.
    """
    if not binning.columns:
        return np.zeros(0, np.int64)
    rows = np.add.reduceat(counts, binning.offsets[:-1])
    missing = counts[binning.offsets[1:] - 2]
    is_expected = np.array([spec.source is not Source.ERROR for spec in binning.columns])
    return np.asarray(np.flatnonzero(is_expected & (rows > 0) & (missing <= (1 - ALWAYS) * rows)))


def features_always_there(binning: Binning, counts: IntArray) -> IntArray:
    """Find those of them that are features."""
    found = always_there(binning, counts)
    is_feature = [binning.columns[at].source is Source.FEATURE for at in found.tolist()]
    return np.asarray(found[np.array(is_feature, bool)])


def lacking(binning: Binning, columns: IntArray, sample: Sample) -> tuple[IntArray, IntArray]:
    """Count sampled rows in which a value is missing.

    Parameters
    ----------
    binning : Binning
    columns : IntArray
        Places of the columns that a row has to have.
    sample : Sample

    Returns
    -------
    rows : IntArray
        ``[groups, 2]``: those that lack a value, and the others.
    by_column : IntArray
        Of those of all groups that lack a value, how many lack that of each column.
    """
    found = np.zeros((len(binning.groups), 2), np.int64)
    batch = sample.batch
    if batch is None or not len(columns):
        return found, np.zeros(len(columns), np.int64)
    prepared = Prepared(_settled(batch, binning), binning, _ALWAYS_MS)
    is_missing = prepared.codes[columns] == (binning.offsets[columns + 1] - 2)[:, None]
    lacks = is_missing.any(axis=0)
    found[0] = np.count_nonzero(lacks), np.count_nonzero(~lacks)
    first = 1
    for size, group in prepared.segment_groups:
        for at, which in enumerate((lacks, ~lacks)):
            found[first : first + size, at] = np.bincount(group[which], minlength=size)
        first += size
    return found, is_missing[:, lacks].sum(axis=1)


def roundings(binning: Binning, sample: Sample) -> IntArray:
    """Count sampled numbers by how they are rounded.

    Returns
    -------
    IntArray
        ``[numeric columns, 6]`` on `DECIMALS`; 0 counts for none, as it is a multiple of everything.
    """
    places = numeric_columns(binning)
    found = np.zeros((len(places), len(DECIMALS)), np.int64)
    batch = sample.batch
    if batch is None or not len(places):
        return found
    rows = _settled(batch, binning)
    at = {binning.columns[place].name: i for i, place in enumerate(places.tolist())}
    for spec, values, status in zip(rows.numeric, rows.numbers, rows.status, strict=True):
        if spec.name in at:
            known = values[(status == OK) & (values != 0) & (np.abs(values) <= _LARGEST)]
            found[at[spec.name]] = np.bincount(_rounding(known), minlength=len(DECIMALS))
    return found


def numeric_columns(binning: Binning) -> IntArray:
    """Places of the columns with numbers."""
    return np.array([i for i, bins in enumerate(binning.bins) if isinstance(bins, NumericBins)], np.int64)


def values_of(name: str, binning: Binning, sample: Sample) -> FloatArray:
    """Sampled numbers of a column."""
    batch = sample.batch
    if batch is None:
        return np.zeros(0)
    rows = _settled(batch, binning)
    for spec, values, status in zip(rows.numeric, rows.numbers, rows.status, strict=True):
        if spec.name == name:
            return np.asarray(values[status == OK])
    return np.zeros(0)


def _rounding(values: FloatArray) -> IntArray:
    """Place in `DECIMALS` of each number: the coarsest one that it is a multiple of."""
    found = np.zeros(len(values), np.int64)
    for at in range(1, len(DECIMALS)):
        scaled = values * 10.0 ** (_PLACES + 1 - at)
        found[_is_whole(scaled, values)] = at
    return found


def _is_whole(scaled: FloatArray, values: FloatArray) -> BoolArray:
    """Whether numbers are whole but for what floating point leaves, and were not too small to tell."""
    nearest = np.rint(scaled)
    return np.asarray((np.abs(scaled - nearest) <= _PART * np.maximum(np.abs(scaled), 1)) & (nearest != 0))


def _settled(batch: Batch, binning: Binning) -> Batch:
    return with_kinds(batch, {spec.name: spec.kind for spec in binning.columns})
