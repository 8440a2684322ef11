"""Values that one log still has, or already has, of the event before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detectors.mismatch.differences import Difference, differences
from detectors.mismatch.explained import FEWEST_VALUES, Explained, Rows
from detectors.mismatch.values import Values
from detectors.tensor import IntArray

_EVENTS_BEHIND = (
    "events have the table's value of the entity's event before: they are stale, or the table looks ahead"
)
_TABLE_BEHIND = "the table has the served value of the entity's event before: it is stale"


def found(rows: Rows, left: IntArray) -> Iterator[Explained]:
    """Find rows with the value of the entity's event before, on either side.

    Parameters
    ----------
    rows : Rows
    left : IntArray
        Rows to explain.

    Notes
    -----
    That events are behind the table may mean that they were served late, or that the table looks ahead: a
    join that is not as of the time of the event.
    """
    if rows.previous is None:
        return
    before = rows.previous[left]
    at, before = left[before >= 0], before[before >= 0]
    ways = (
        (rows.events, rows.training, _EVENTS_BEHIND),
        (rows.training, rows.events, _TABLE_BEHIND),
    )
    for late, fresh, words in ways:
        same = differences(fresh.take(before), late.take(at), rows.tolerance) == Difference.NONE
        if _distinct(late.take(at[same])) >= FEWEST_VALUES:
            yield Explained("stale", words, at[same])


def _distinct(values: Values) -> int:
    return len(np.unique(values.numbers)) + len(values.texts.drop_null().unique()) - 1
