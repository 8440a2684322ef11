"""Shares of rows for each bin of one window and of its reference, from stored slices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from alerting.charts.data import Distribution, ShareOfBin
from alerting.finding import Finding, instant
from alerting.summary import subject, where
from detectors.binning import NumericBins
from detectors.reference import Reference
from monitor.judging.merging import merge_slices
from monitor.profiling import Pointer
from monitor.references.lifecycle import ReferenceCache
from monitor.registry import read_columns
from monitor.store.queries.slices import Span, is_cut, slice_index, slices_between

Counts = NDArray[np.int64]
MOST_SLICES = 2_000  # a day of minutes, and some; more would keep receivers waiting
OF_OUTCOMES = "+"  # in the shape of a window: its reference is one of outcomes


def window_distribution(
    connection: Connection, references: ReferenceCache, finding: Finding, row: Any
) -> Distribution | None:
    """Count a window anew on the bins of the reference that it was judged against.

    Parameters
    ----------
    connection : Connection
    references : ReferenceCache
    finding : Finding
    row : row
        Result of the window, with ``end_ms`` and ``reference_hash`` of its judgement.

    Returns
    -------
    Distribution or None
        None where there are no such bins: results about several columns, about outcomes, or about slices that
        are gone or too many.

    Raises
    ------
    UnusableReference, ProfileError
        If what is stored cannot be read.
    """
    if row.reference_hash is None or OF_OUTCOMES in row.window:
        return None
    span = Span(row.model, row.start_ms, row.end_ms, row.version)
    if len(slice_index(connection, span, MOST_SLICES + 1)) > MOST_SLICES or is_cut(connection, span):
        return None
    reference = references.get(connection, row.reference_hash)
    if row.column not in reference.binning.index:
        return None
    counts = _counts(connection, reference, row)
    if counts is None:
        return None
    column = reference.binning.index[row.column]
    return Distribution(
        title_of(finding, row.model, row.version),
        _shares(reference.binning.bins[column].labels(), *counts),
        instant(row.start_ms),
        instant(row.end_ms),
        isinstance(reference.binning.bins[column], NumericBins),
    )


def moved_bins(finding: Finding, model: str, version: str) -> Distribution | None:
    """Take the bins that moved most from a finding, where nothing more is known."""
    if not finding.moved:
        return None
    bins = tuple(ShareOfBin(one.label, one.reference_share, one.share) for one in finding.moved)
    title = title_of(finding, model, version)
    times = finding.window_start, finding.window_end
    return Distribution(title, bins, *times, is_ordered=False, is_partial=True)


def title_of(finding: Finding, model: str, version: str) -> str:
    """Name what a chart is about."""
    return f"{where(finding)}, {subject(model, version)}"


def _counts(connection: Connection, reference: Reference, row: Any) -> tuple[Counts, Counts] | None:
    """Counts of the reference and of the window in the bins of one column, of the rows of one segment."""
    key, binning = (row.model, row.version), reference.binning
    specs = read_columns(connection, [row.model]).get(key, {})
    stored = slices_between(connection, key, row.start_ms, row.end_ms)
    pointer = Pointer(0, row.reference_hash, binning)
    profile = merge_slices(stored, specs, pointer, samples=False).profile
    if row.segment not in binning.groups:
        return None
    group, column = binning.groups.index(row.segment), binning.index[row.column]
    part = slice(int(binning.offsets[column]), int(binning.offsets[column + 1]))
    counts = reference.counts[group, part], profile.counts[group, part]
    return counts if all(one.sum() for one in counts) else None


def _shares(labels: tuple[str, ...], reference: Counts, current: Counts) -> tuple[ShareOfBin, ...]:
    """Shares in every bin that has a row in one of the two."""
    theirs, ours = reference / reference.sum(), current / current.sum()
    return tuple(
        ShareOfBin(labels[at], float(theirs[at]), float(ours[at])) for at in np.flatnonzero(theirs + ours)
    )
