"""From a table to a reference, in two passes over it and in memory that does not grow with its rows.

The first pass counts all rows on cells and chooses the bins; the second counts each window on these bins. The
reference is the same, to the last bit, as one learned from a stream of the same rows, but for how events
arrived, which a table does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detectors.binning import Binning
from detectors.prepared import Prepared
from detectors.profile import Profile
from detectors.quality.learned import LearnedQuality
from detectors.reference import Reference, build, kept_groups, relate
from detectors.sample import MOST_ROWS
from monitor.config.settings import ModelSettings
from monitor.frames.batches import Batches
from monitor.frames.names import KnownKinds
from monitor.frames.pandas_frame import frame_table
from monitor.frames.samples import TableSamples
from monitor.frames.table import Table, open_table
from schemas.column import ColumnSpec
from schemas.errors import UnusableReference

if TYPE_CHECKING:
    import pandas as pd

_ALL_TIME_MS = 1 << 62  # a slice that holds every event
Specs = Mapping[str, ColumnSpec]


def reference_from_frame(
    frame: pd.DataFrame,
    settings: ModelSettings | None = None,
    specs: Specs | None = None,
    *,
    model: str | None = None,
    version: str | None = None,
) -> Reference:
    """Make a reference of a pandas frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row an event: ``timestamp``, ``prediction``, ``score``, …; every other column is a feature.
    settings : ModelSettings, optional
        How the model is watched; default: the defaults of the configuration.
    specs : mapping of str to ColumnSpec, optional
        Columns that the stream has registered; their kinds win.
    model, version : str, optional
        Where the frame has a column of that name, other rows are left out.

    Raises
    ------
    UsageError
        If a column or a row cannot be read.
    UnusableReference
        If there are fewer rows than ``settings.reference.min_rows``.

    Examples
    --------
    >>> import pandas as pd
    >>> hours = pd.date_range("2013-03-01", periods=500, freq="h")
    >>> frame = pd.DataFrame({"timestamp": hours, "temp": range(500)})
    >>> reference = reference_from_frame(frame)
    >>> reference.rows, [spec.name for spec in reference.binning.columns]
    (500, ['temp'])
    """
    settings = settings or ModelSettings()
    table = frame_table(frame, KnownKinds(settings, specs or {}))
    return reference_from_table(table, settings, specs, model=model, version=version)


def reference_from_file(
    path: str | Path,
    settings: ModelSettings | None = None,
    specs: Specs | None = None,
    *,
    model: str | None = None,
    version: str | None = None,
) -> Reference:
    """Make a reference of a CSV or Parquet file; see `reference_from_frame`."""
    settings = settings or ModelSettings()
    table = open_table(path, KnownKinds(settings, specs or {}))
    return reference_from_table(table, settings, specs, model=model, version=version)


def reference_from_table(
    table: Table,
    settings: ModelSettings,
    specs: Specs | None = None,
    *,
    model: str | None = None,
    version: str | None = None,
) -> Reference:
    """Make a reference of a table; see `reference_from_frame`.

    Notes
    -----
    Without a column ``timestamp`` the reference has no span, no longest gap and no windows of its own:
    detectors cannot learn from it how much windows differ when nothing is wrong.
    """
    batches = Batches(table, settings, specs, model=model, version=version)
    pooled, slices = _count(batches, settings.slice_ms)
    _check_rows(table, pooled.rows, settings, model, version)
    last = int(slices[-1]) + settings.slice_ms
    made = build(
        {int(slices[0]): pooled},
        slice_ms=settings.slice_ms,
        window_ms=settings.windows[0].length_ms,
        segments=settings.segments,
        max_segment_values=settings.max_segment_values,
        span_ms=(int(slices[0]), last),
    )
    length_ms, positive = settings.windows[0].length_ms, settings.positive_class
    if not batches.layout.has_times:
        none = np.zeros(0, np.int64)
        windows = np.zeros((0, 1, made.windows.shape[-1]), np.int64)
        samples = TableSamples(length_ms, MOST_ROWS if settings.sample_per_minute else 0, length_ms)
        for batch in batches:
            samples.add(batch)
        whole = samples.windows(np.zeros(1, np.int64), length_ms)
        relations = relate(made.binning, made.counts[0], whole, 1, positive)
        if relations is not None:
            relations = replace(relations, windows=relations.windows[:0])
        quality = LearnedQuality.learn(made.binning, made.counts[0], whole, {}, slices=none, slice_ms=0)
        return replace(
            made, from_ms=0, to_ms=0, longest_gap_ms=0, window_starts=none, windows=windows,
            relations=relations, quality=quality, _kept={},
        )  # fmt: skip
    starts, windows, samples = _count_windows(batches, made.binning, settings)
    of_windows = samples.windows(starts, length_ms)
    relations = relate(made.binning, made.counts[0], of_windows, windows.shape[1], positive)
    quality = LearnedQuality.learn(
        made.binning, made.counts[0], of_windows, {}, slices=slices, slice_ms=settings.slice_ms
    )
    gap_ms = int(np.diff(slices, append=last).max())
    return replace(
        made, longest_gap_ms=gap_ms, window_starts=starts, windows=windows, relations=relations,
        quality=quality, _kept={},
    )  # fmt: skip


def windows_of_frame(
    frame: pd.DataFrame,
    reference: Reference,
    settings: ModelSettings | None = None,
    specs: Specs | None = None,
    *,
    model: str | None = None,
    version: str | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the rows of each window of a pandas frame on the bins of a reference.

    Parameters
    ----------
    frame : pandas.DataFrame
        As for `reference_from_frame`; it needs a column or an index ``timestamp``.
    reference : Reference
    settings, specs, model, version
        As for `reference_from_frame`; the first of the windows in the settings is counted.

    Returns
    -------
    starts_ms : int64 array [W]
        First instant of each window with rows, epoch milliseconds, ascending.
    windows : int64 array [W, S, C, K]
        What detectors judge, on ``reference.tensor.layout``.
    """
    settings = settings or ModelSettings()
    table = frame_table(frame, KnownKinds(settings, specs or {}))
    batches = Batches(table, settings, specs, model=model, version=version)
    starts, flat, samples = _count_windows(batches, reference.binning, settings, every_group=True)
    if reference.relations is None:
        return starts, reference.window(flat)
    of_windows = samples.windows(starts, settings.windows[0].length_ms)
    derived = [reference.relations.count(sample) for sample in of_windows.values()]
    return starts, reference.window(flat, np.stack(derived))


def _count(batches: Batches, slice_ms: int) -> tuple[Profile, NDArray[np.int64]]:
    """Count all rows on cells; also the starts of slices with rows, sorted."""
    pooled, slices = Profile(), np.zeros(0, np.int64)
    for batch in batches:
        prepared = Prepared(batch, None, _ALL_TIME_MS)
        for section in prepared.sections:
            pooled.add(prepared, section)
        slices = np.union1d(slices, batch.event_ms // slice_ms * slice_ms)
    return pooled, slices


def _count_windows(
    batches: Batches, binning: Binning, settings: ModelSettings, *, every_group: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64], TableSamples]:
    """Count the rows of each window on bins, of all groups if they are not too many; and pick some rows."""
    window_ms = settings.windows[0].length_ms
    samples = TableSamples(settings.slice_ms, settings.slice_sample_rows, window_ms)
    counts: dict[int, NDArray[np.int64]] = {}
    for batch in batches:
        samples.add(batch)
        prepared = Prepared(batch, binning, window_ms)
        for section in prepared.sections:
            new = prepared.counts(section)
            known = counts.get(section.slice_ms)
            counts[section.slice_ms] = new if known is None else known + new
    starts = sorted(counts)
    kept = len(binning.groups) if every_group else kept_groups(len(starts), binning)
    return np.array(starts, np.int64), np.stack([counts[start][:kept] for start in starts]), samples


def _check_rows(
    table: Table, rows: int, settings: ModelSettings, model: str | None, version: str | None
) -> None:
    if rows >= max(settings.reference.min_rows, 1):
        return
    given = {"model": model, "version": version}
    wanted = " ".join(f"{what} {name!r}" for what, name in given.items() if name is not None)
    needed = f"(a reference needs at least {settings.reference.min_rows}: reference.min_rows)"
    msg = f"{table.name}: {rows} rows{' of ' if wanted else ''}{wanted} {needed}"
    raise UnusableReference(msg)
