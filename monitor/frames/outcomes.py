"""From a table with labels to a reference of outcomes: what predictions were worth in the training data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from detectors.hashing import hash_numbers
from detectors.outcome_reference import OutcomeReference
from detectors.outcomes import (
    RECORD,
    Labels,
    Records,
    class_hash,
    joined,
    labelled_records,
    predicted_records,
    summed,
    with_segments,
)
from detectors.tensor import HashArray, IntArray
from monitor.config.settings import ModelSettings
from monitor.frames.batches import Batches
from monitor.frames.names import KnownKinds
from monitor.frames.pandas_frame import frame_table
from monitor.frames.table import Table, open_table
from monitor.frames.times import WrongInstant, event_times
from monitor.frames.values import categories, is_number, numbers, plain
from monitor.labels.labelling import MOST_NAMES
from monitor.labels.pending import Segments, Terms, hashes_of, prediction_rows
from monitor.performance.outcomes import age_of, positive_of
from schemas.batch import OK, Batch
from schemas.column import ColumnSpec
from schemas.errors import UnusableReference

if TYPE_CHECKING:
    import pandas as pd

LABEL, LABEL_TIMESTAMP = "label", "label_timestamp"
Specs = Mapping[str, ColumnSpec]


def outcome_reference_from_file(
    path: str | Path, settings: ModelSettings, specs: Specs | None = None, *, model: str | None = None
) -> OutcomeReference:
    """Make a reference of outcomes of a CSV or Parquet file; see `outcome_reference_from_frame`."""
    return _from_table(open_table(path, KnownKinds(settings, specs or {})), settings, specs, model)


def outcome_reference_from_frame(
    frame: pd.DataFrame,
    settings: ModelSettings,
    specs: Specs | None = None,
    *,
    model: str | None = None,
) -> OutcomeReference:
    """Make a reference of outcomes of a pandas frame.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row an event: ``timestamp``, ``prediction``, ``label``, and if there are any ``score`` and
        ``label_timestamp``; other columns may be segments. Without ``label_timestamp`` nothing is known of
        how long labels take, and neither that nor their coverage is watched.
    settings : ModelSettings
    specs : mapping of str to ColumnSpec, optional
        Columns that the stream has registered; their kinds win.
    model : str, optional
        Where the frame has a column ``model``, other rows are left out.

    Raises
    ------
    UsageError
        If a column or a row cannot be read.
    UnusableReference
        If there are no labels, or too few.
    """
    table = frame_table(frame, KnownKinds(settings, specs or {}))
    return _from_table(table, settings, specs, model)


class LabelledBatches(Batches):
    """Batches of a table; `part` is the part of the table that the latest one comes from."""

    part: pa.Table

    def _batch(self, part: pa.Table, times: NDArray[np.int64], keys: NDArray[np.uint64]) -> Batch:
        self.part = part
        return super()._batch(part, times, keys)


def _from_table(
    table: Table, settings: ModelSettings, specs: Specs | None, model: str | None
) -> OutcomeReference:
    if LABEL not in table.schema.names:
        msg = f"{table.name}: has no column {LABEL}: nothing is known of what predictions were worth"
        raise UnusableReference(msg)
    has_delays = LABEL_TIMESTAMP in table.schema.names
    terms, told = Terms(), Segments(settings.max_segment_values)
    length_ms = settings.windows[0].every_ms
    batches = LabelledBatches(table, settings, specs, model=model)
    windows: dict[int, list[bytes]] = {}
    for batch in batches:
        try:
            start, records = _records(batch, batches.part, settings, told, terms, has_delays=has_delays)
        except WrongInstant as error:
            msg = f"{LABEL_TIMESTAMP}: {error.what}"
            raise table.wrong(msg) from None
        for window, mine in _by_window(start // length_ms * length_ms, records):
            windows.setdefault(window, []).append(mine.tobytes())
    whole = {window: joined(parts) for window, parts in windows.items()}
    first, last = (min(whole), max(whole) + length_ms) if whole else (0, 0)
    return OutcomeReference.build(
        whole,
        terms.texts,
        from_ms=first,
        to_ms=last,
        window_ms=length_ms,
        age=age_of(settings),
        positive=positive_of(settings, joined([records.tobytes() for records in whole.values()])),
        has_delays=has_delays,
        is_before=True,
    )


def _records(
    batch: Batch, part: pa.Table, settings: ModelSettings, told: Segments, terms: Terms, *, has_delays: bool
) -> tuple[IntArray, Records]:
    """Records of a batch, and the event time of the prediction that each comes from."""
    found = prediction_rows(("", ""), settings, batch, told, terms)
    if found is None:
        return np.zeros(0, np.int64), np.zeros(0, RECORD)
    every, is_known = found
    made = every.rows.take(np.flatnonzero(is_known))
    first, row = with_segments(predicted_records(made), np.arange(len(made)), made.segments)
    hashes, values = labels_of(part.column(LABEL), terms)
    label_ms = label_times(part, batch.event_ms) if has_delays else batch.event_ms
    at = np.flatnonzero(is_known & (hashes != 0) & (label_ms <= every.until_ms))
    mine = every.rows.take(at)
    records, of = labelled_records(
        mine, Labels(label_ms[at], hashes[at], values[at]), hashes[at] == every.positive[at]
    )
    records, of = with_segments(records, of, mine.segments)
    return np.concatenate((made.event_ms[row], mine.event_ms[of])), np.concatenate((first, records))


def labels_of(column: pa.ChunkedArray, terms: Terms) -> tuple[HashArray, NDArray[np.float64]]:
    """Labels as hashes of classes, 0 where there is none, and as numbers, NaN where they are none.

    Parameters
    ----------
    column : pa.ChunkedArray
    terms : Terms
        Gets the names of classes. As in `monitor.labels.labelling`, numbers with a fraction are no class that
        anybody could have predicted.

    Examples
    --------
    >>> hashes, values = labels_of(pa.chunked_array([[1.0, None, 2.5]]), Terms())
    >>> (hashes != 0).tolist(), values.tolist()
    ([True, False, True], [1.0, nan, 2.5])
    """
    labels = plain(column)
    values = np.full(len(labels), np.nan)
    is_fraction = np.zeros(len(labels), bool)
    if is_number(labels.type):
        number, status = numbers(labels)
        values = np.where(status == OK, number, np.nan)
        is_fraction = (status == OK) & (number != np.floor(number))
        labels = pc.if_else(pa.array(is_fraction), pa.scalar(None, labels.type), labels)
    found = categories(labels)
    names = found.values.to_pylist()
    # So many classes are numbers, and nobody would read their names.
    hashes = terms.add(names) if 0 < len(names) <= MOST_NAMES else np.append(hashes_of(names), np.uint64(0))
    classes = np.where(found.codes >= 0, hashes[np.maximum(found.codes, 0)], np.uint64(0))
    return np.where(is_fraction, class_hash(hash_numbers(values)), classes), values


def label_times(part: pa.Table, event_ms: IntArray) -> IntArray:
    """Times of the labels of a part of a table; that of the prediction where there is none.

    Raises
    ------
    WrongInstant
        If one cannot be read; `row` is its place among those that are there.
    """
    column = part.column(LABEL_TIMESTAMP).combine_chunks()
    is_there = column.is_valid().to_numpy(zero_copy_only=False)
    found = event_ms.copy()
    if is_there.any():
        found[is_there] = event_times(column.filter(column.is_valid()))
    return found


def _by_window(starts: IntArray, records: Records) -> list[tuple[int, Records]]:
    """Records of each window, added up."""
    group, added = summed(starts, records)
    return [(start, added[group == start]) for start in np.unique(group).tolist()]
