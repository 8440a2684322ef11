"""Where the rows of a batch came from: their events' ids, and their places in Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Origin(NamedTuple):
    """Where one row came from."""

    event_id: str
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Origins:
    """Where the rows of a batch came from; rows are picked without copying anything.

    Parameters
    ----------
    ids : sequence of str
        Ids of events.
    slot, offset : int64 arrays
        Of the messages that they came in; a slot stands for a partition.
    places : mapping of int to (str, int)
        Topic and partition by slot.
    rows : int64 array [n] or None
        Place in the arrays of each row; None: all, in order.

    Examples
    --------
    >>> origins = Origins(["a", "b"], np.array([0, 0]), np.array([7, 8]), {0: ("flights", 3)})
    >>> origins.take(np.array([1])).of(0)
    Origin(event_id='b', topic='flights', partition=3, offset=8)
    """

    ids: Sequence[str]
    slot: NDArray[np.int64]
    offset: NDArray[np.int64]
    places: Mapping[int, tuple[str, int]]
    rows: NDArray[np.int64] | None = None

    def take(self, rows: NDArray[np.intp]) -> Origins:
        """Pick rows, in the given order."""
        return replace(self, rows=np.asarray(rows) if self.rows is None else self.rows[rows])

    def of(self, row: int) -> Origin:
        """Return where one row came from."""
        at = row if self.rows is None else int(self.rows[row])
        topic, partition = self.places.get(int(self.slot[at]), ("", -1))
        return Origin(self.ids[at], topic, partition, int(self.offset[at]))

    @property
    def slots(self) -> NDArray[np.int64]:
        """Slot of each row."""
        return self.slot if self.rows is None else self.slot[self.rows]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Offset of each row."""
        return self.offset if self.rows is None else self.offset[self.rows]
