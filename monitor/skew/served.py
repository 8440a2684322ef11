"""The side of the events: of all that are read, those whose key is in the training table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from detectors.mismatch import Values
from detectors.mismatch.values import fingerprints
from monitor.skew.batch import Batch
from monitor.skew.training import together

_SHOWN = 3


class Served:
    """Collects the events of the rows of a training table.

    Parameters
    ----------
    keys : Arrow string array [n]
        Of the training table, each once.

    Attributes
    ----------
    events, without_key, without_row, repeated : int
        Events that were read; of these without a key, without a row in the table, and that say once more what
        an event of the same key said. Of those the first counts.
    unknown : list of str
        A few keys that the table does not have.

    Guarantees
    ----------
    Memory is that of one event for each row of the table, and of the batch.
    """

    def __init__(self, keys: pa.Array) -> None:
        self._index = pd.Index(keys.to_numpy(zero_copy_only=False), dtype=object)  # hashed once
        self._prints = np.zeros(len(keys), np.uint64)
        self._is_served = np.zeros(len(keys), bool)
        self._is_ambiguous = np.zeros(len(keys), bool)
        self._rows: list[NDArray[np.int64]] = []
        self._times: list[NDArray[np.int64]] = []
        self._columns: list[dict[str, Values]] = []
        self.events = self.without_key = self.without_row = self.repeated = 0
        self.unknown: list[str] = []

    def add(self, batch: Batch) -> None:
        """Take in events."""
        self.events += len(batch)
        self.without_key += batch.keys.null_count
        rows = self._index.get_indexer(batch.keys.to_numpy(zero_copy_only=False)).astype(np.int64)
        known = np.flatnonzero(rows >= 0)
        self.without_row += len(batch) - len(known) - batch.keys.null_count
        if len(self.unknown) < _SHOWN:
            others = batch.keys.filter(pa.array(rows < 0)).drop_null()[:_SHOWN]
            self.unknown = [*self.unknown, *others.to_pylist()][:_SHOWN]
        if len(known):
            self._keep(rows[known], batch.event_ms[known], batch.columns(known))

    def _keep(self, rows: NDArray[np.int64], times: NDArray[np.int64], columns: dict[str, Values]) -> None:
        prints = fingerprints(columns, len(rows))
        firsts = np.unique(rows, return_index=True)[1]
        new = np.sort(firsts[~self._is_served[rows[firsts]]])
        self._is_served[rows[new]] = True
        self._prints[rows[new]] = prints[new]
        differs = prints != self._prints[rows]
        self._is_ambiguous[rows[differs]] = True
        self.repeated += len(rows) - len(new)
        if len(new):
            self._rows.append(rows[new])
            self._times.append(times[new])
            self._columns.append({name: values.take(new) for name, values in columns.items()})

    @property
    def is_served(self) -> NDArray[np.bool_]:
        """Whether there is an event of each row of the table."""
        return self._is_served

    @property
    def ambiguous(self) -> int:
        """Rows of the table whose key stands for events that differ; none of them is compared."""
        return int(self._is_ambiguous.sum())

    def found(self) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, Values]]:
        """Return what was collected.

        Returns
        -------
        rows : int64 array [m]
            Of the table, ascending: those with one event, or several that say the same.
        event_ms : int64 array [m]
        columns : dict of str to Values [m]
        """
        if not self._rows:
            nothing = np.zeros(0, np.int64)
            return nothing, nothing, {}
        rows, times = np.concatenate(self._rows), np.concatenate(self._times)
        columns = together(self._columns, [len(part) for part in self._rows])
        order = np.argsort(rows)
        order = order[~self._is_ambiguous[rows[order]]]
        return rows[order], times[order], {name: values.take(order) for name, values in columns.items()}
