"""What came of the predictions of a table: records as the service keeps them, and when each was known.

A label counts from the first window on whose outcomes are judged after it was told: not before the end of
that window and the wait for its labels. So nothing is judged by what nobody knew at the time, and what a
correction changes, it changes from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from detectors.outcomes import (
    RECORD,
    Labels,
    Records,
    joined,
    labelled_records,
    negated,
    predicted_records,
    summed,
    with_segments,
)
from detectors.tensor import BoolArray, IntArray
from monitor.backtest.history import History
from monitor.frames.outcomes import labels_of
from monitor.labels.pairing import PredictionRows
from monitor.labels.pending import Segments, Terms, prediction_rows
from monitor.performance.outcomes import wait_ms
from monitor.references.lifecycle import Span
from schemas.batch import Batch
from schemas.window import WindowSpec

MOST_WAITING = 1_000_000  # records that are kept before they are added up


@dataclass(frozen=True)
class News:
    """What became known of outcomes.

    Parameters
    ----------
    slice_ms : int64 array [n]
        Start of the slice of the prediction.
    known_ms : int64 array [n]
        End of the first window whose judgement knows of it.
    records : records [n]
        What to add to the outcomes of the slice.
    """

    slice_ms: IntArray
    known_ms: IntArray
    records: Records


class Outcomes:
    """Outcomes of one model version.

    Parameters
    ----------
    history : History
        With labels.

    Attributes
    ----------
    terms : Terms
        What hashes in the records stand for.
    """

    def __init__(self, history: History) -> None:
        if history.labels is None:
            msg = "outcomes need labels"
            raise ValueError(msg)
        self._history, self._labels, self._settings = history, history.labels, history.settings
        self._every, self._wait = history.settings.windows[0].every_ms, wait_ms(history.settings)
        self._segments = Segments(history.settings.max_segment_values)
        self.terms = Terms()

    def between(self, span: Span) -> Iterator[News]:
        """Read the outcomes of the predictions of a span of event time."""
        batches = self._history.batches(span)
        for batch in batches:
            yield self.of(batch, batches.part)

    def of(self, batch: Batch, part: pa.Table) -> News:
        """Work out the outcomes of a batch.

        Parameters
        ----------
        batch : Batch
        part : pa.Table
            The rows of the table that it was made of.
        """
        found = prediction_rows(self._history.key, self._settings, batch, self._segments, self.terms)
        if found is None:
            return News(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, RECORD))
        rows, is_known = found
        made = rows.take(np.flatnonzero(is_known))
        first, row = with_segments(predicted_records(made.rows), np.arange(len(made)), made.rows.segments)
        parts = [News(made.slice_ms[row], self._window_end(made.slice_ms[row]), first)]
        parts += self._labelled(batch, part, rows, is_known)
        return News(
            np.concatenate([part.slice_ms for part in parts]),
            np.concatenate([part.known_ms for part in parts]),
            np.concatenate([part.records for part in parts]),
        )

    def _labelled(
        self, batch: Batch, part: pa.Table, rows: PredictionRows, is_known: BoolArray
    ) -> Iterator[News]:
        """Add what each label says, and take back what the one before it said."""
        told = self._labels.of(part, batch.event_ms)
        hashes, values = labels_of(told.values, self.terms)
        counts = is_known[told.row] & (hashes != 0) & (told.label_ms <= rows.until_ms[told.row])
        at = np.flatnonzero(counts)
        row, told_ms, hashes, values = told.row[at], told.label_ms[at], hashes[at], values[at]
        is_first = np.diff(row, prepend=-1) != 0
        first = np.maximum.accumulate(np.where(is_first, np.arange(len(row)), 0))
        # However often it is corrected, a label is as old as the first that was told of the event.
        every = Labels(told_ms[first], hashes, values)
        mine = rows.take(row)
        known_ms = np.maximum(
            self._window_end(mine.slice_ms), -(-(told_ms - self._wait) // self._every) * self._every
        )
        yield self._news(mine, every, known_ms)
        again = np.flatnonzero(~is_first)
        if len(again):
            before = Labels(every.label_ms[again], hashes[again - 1], values[again - 1])
            taken = self._news(mine.take(again), before, known_ms[again])
            yield News(taken.slice_ms, taken.known_ms, negated(taken.records))

    def _news(self, rows: PredictionRows, labels: Labels, known_ms: IntArray) -> News:
        records, row = labelled_records(rows.rows, labels, labels.label == rows.positive)
        records, row = with_segments(records, row, rows.rows.segments)
        return News(rows.slice_ms[row], known_ms[row], records)

    def _window_end(self, slice_ms: IntArray) -> IntArray:
        """End of the first window that holds a slice."""
        return slice_ms // self._every * self._every + self._every


class Sum:
    """Records added up by group, in memory that grows with what they count and not with their number."""

    def __init__(self) -> None:
        self._group, self._records = np.zeros(0, np.int64), np.zeros(0, RECORD)
        self._waiting: list[tuple[IntArray, Records]] = []
        self._rows = 0

    def add(self, group: IntArray, records: Records) -> None:
        """Take in records of groups."""
        if len(records):
            self._waiting.append(summed(group, records))
            self._rows += len(self._waiting[-1][0])
        if self._rows > max(MOST_WAITING, len(self._records)):
            self.total()

    def total(self) -> tuple[IntArray, Records]:
        """Groups in order, and their records."""
        if self._waiting:
            parts = [(self._group, self._records), *self._waiting]
            groups, records = (np.concatenate(columns) for columns in zip(*parts, strict=True))
            self._group, self._records = summed(groups, records)
            self._waiting, self._rows = [], 0
        return self._group, self._records

    def take(self, until: int) -> Records:
        """Take out the records of all groups up to one."""
        group, records = self.total()
        end = int(np.searchsorted(group, until, side="right"))
        self._group, self._records = group[end:], records[end:]
        return records[:end]


class WindowOutcomes:
    """Outcomes of windows, as they are known when each is judged.

    Parameters
    ----------
    spec : WindowSpec
    """

    def __init__(self, spec: WindowSpec) -> None:
        self._spec, self._sum = spec, Sum()
        self._panes = spec.length_ms // spec.every_ms

    def add(self, news: News) -> None:
        """Take in what becomes known."""
        every = self._spec.every_ms
        pane = news.slice_ms // every
        # Windows later than the first that holds a slice know more of it.
        later = news.known_ms // every - pane - 1
        at = np.flatnonzero(later < self._panes)
        self._sum.add((pane * self._panes + later)[at], news.records[at])

    def of(self, start_ms: int) -> Records:
        """Outcomes of the window that begins at an instant."""
        group, records = self._sum.total()
        first = start_ms // self._spec.every_ms
        parts = []
        for pane in range(first, first + self._panes):
            known = pane * self._panes + (first + self._panes - 1 - pane)
            low, high = np.searchsorted(group, (pane * self._panes, known + 1)).tolist()
            parts.append(records[low:high].tobytes())
        return joined(parts)


def pooled(news: Iterator[News], every_ms: int, until_ms: int) -> dict[int, Records]:
    """Add up by panes what is known at the end of a stretch."""
    total = Sum()
    for one in news:
        at = np.flatnonzero(one.known_ms <= until_ms)
        total.add(one.slice_ms[at] // every_ms * every_ms, one.records[at])
    group, records = total.total()
    return {start: records[group == start] for start in np.unique(group).tolist()}
