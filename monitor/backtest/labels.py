"""Labels of a table of events: in a column of it, or in a table of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from detectors.tensor import IntArray
from monitor.backtest.survey import has_values, parts_of, texts_in, times_of
from monitor.frames import Table
from monitor.frames.names import EVENT_ID
from monitor.frames.outcomes import LABEL, LABEL_TIMESTAMP, label_times
from monitor.frames.times import WrongInstant, event_times
from monitor.frames.values import plain


@dataclass(frozen=True)
class Told:
    """Labels of rows of a table.

    Parameters
    ----------
    row : int64 array [n]
        Row that each belongs to, ascending; those of one row follow each other, the oldest first.
    label_ms : int64 array [n]
        When it was told; where nothing is known of that, at the time of the event.
    values : pa.ChunkedArray [n]
        Null where there is none.
    """

    row: IntArray
    label_ms: IntArray
    values: pa.ChunkedArray


class Labels(Protocol):
    """Where the labels of events come from."""

    @property
    def newest_ms(self) -> int | None:
        """Time of the newest label; None if nothing is known of when labels were told."""

    def of(self, part: pa.Table, event_ms: IntArray) -> Told:
        """Labels of the events of a part of a table."""


@dataclass(frozen=True)
class LabelColumn:
    """Labels in the table of events: columns ``label`` and perhaps ``label_timestamp``."""

    newest_ms: int | None

    @classmethod
    def read(cls, table: Table) -> LabelColumn | None:
        """Look whether there are labels, and how far they go; None if there are none.

        Raises
        ------
        UsageError
            If the time of one cannot be read.
        """
        if not has_values(table, LABEL):
            return None
        if not has_values(table, LABEL_TIMESTAMP):
            return cls(None)
        newest = rows = 0
        for part, _ in parts_of(table):
            column = part.column(LABEL_TIMESTAMP).combine_chunks()
            there = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
            if len(there):
                newest = max(newest, int(_instants(table, column, there, rows).max()))
            rows += part.num_rows
        return cls(newest)

    def of(self, part: pa.Table, event_ms: IntArray) -> Told:
        """Labels of the events of a part of the table."""
        told_ms = event_ms if self.newest_ms is None else label_times(part, event_ms)
        return Told(np.arange(part.num_rows), told_ms, part.column(LABEL))


@dataclass(frozen=True)
class LabelTable:
    """Labels in a table of their own, all of it in memory.

    Parameters
    ----------
    ids : pa.Array [k]
        Texts, all different.
    first : int64 array [k + 1]
        Where the labels of each begin.
    label_ms : int64 array [n] or None
        Of one event ascending, all different; None if nothing is known of it: then each has one label.
    values : pa.Array [n]
    """

    ids: pa.Array
    first: IntArray
    label_ms: IntArray | None
    values: pa.Array

    @classmethod
    def read(cls, table: Table) -> LabelTable:
        """Read ``event_id``, ``label`` and perhaps ``label_timestamp``.

        Raises
        ------
        UsageError
            If a column is missing or cannot be read, or a label has no event.
        """
        for name in (EVENT_ID, LABEL):
            if name not in table.schema.names:
                msg = f"has no column {name} (labels need {EVENT_ID} and {LABEL})"
                raise table.wrong(msg)
        whole = _whole(table)
        values = plain(whole.column(LABEL))
        is_there = values.is_valid()
        whole, values = whole.filter(is_there), values.filter(is_there)
        ids = texts_in(whole.column(EVENT_ID))
        if ids.null_count:
            msg = f"{EVENT_ID} is missing in {ids.null_count} rows"
            raise table.wrong(msg)
        dated = LABEL_TIMESTAMP in table.schema.names
        label_ms = np.zeros(len(ids), np.int64)
        if dated and len(ids):
            label_ms = times_of(table, whole, 0, LABEL_TIMESTAMP)
        coded = ids.dictionary_encode()
        codes = coded.indices.to_numpy()
        # Sorting is stable: of labels told at the same time the first stays the first, and counts.
        order = np.lexsort((label_ms, codes))
        is_new = np.diff(codes[order], prepend=-1) | np.diff(label_ms[order], prepend=-1)
        kept = order[np.flatnonzero(is_new)]
        first = np.searchsorted(codes[kept], np.arange(len(coded.dictionary) + 1))
        return cls(coded.dictionary, first, label_ms[kept] if dated else None, values.take(pa.array(kept)))

    @property
    def newest_ms(self) -> int | None:
        """Time of the newest label; None if nothing is known of when labels were told."""
        return None if self.label_ms is None else int(self.label_ms.max(initial=0))

    def of(self, part: pa.Table, event_ms: IntArray) -> Told:
        """Labels of the events of a part of a table, found by their ids."""
        found = pc.index_in(texts_in(part.column(EVENT_ID)), value_set=self.ids, skip_nulls=True)
        at = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        number = np.where(at >= 0, self.first[at + 1] - self.first[np.maximum(at, 0)], 0)
        row = np.repeat(np.arange(part.num_rows), number)
        within = np.arange(len(row)) - np.repeat(np.cumsum(number) - number, number)
        place = self.first[at[row]] + within
        label_ms = event_ms[row] if self.label_ms is None else self.label_ms[place]
        return Told(row, label_ms, pa.chunked_array([self.values.take(pa.array(place))]))


def _instants(table: Table, column: pa.Array, there: IntArray, rows: int) -> IntArray:
    """Times of the labels that have one, in a part that begins after so many rows of the table."""
    try:
        return event_times(column.take(pa.array(there)))
    except WrongInstant as error:
        msg = f"row {rows + int(there[error.row]) + 1}: {LABEL_TIMESTAMP}: {error.what}"
        raise table.wrong(msg) from None


def _whole(table: Table) -> pa.Table:
    try:
        return pa.concat_tables([table.schema.empty_table(), *table.parts()])
    except pa.ArrowException as error:
        raise table.wrong(str(error).splitlines()[0]) from error
    except OSError as error:
        msg = f"cannot be read: {error.strerror or error}"
        raise table.wrong(msg) from error
