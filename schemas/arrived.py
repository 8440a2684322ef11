"""When and in which order the rows of a batch arrived in Kafka."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Arrived:
    """How rows arrived, one entry a row.

    Parameters
    ----------
    came_ms : int64 array [n]
        Timestamps of their Kafka records, epoch milliseconds; 0 or less where there is none.
    is_behind : bool array [n]
        An earlier event of the same model in their partition was newer by more than the allowed lateness.
    """

    came_ms: NDArray[np.int64]
    is_behind: NDArray[np.bool_]

    def take(self, rows: NDArray[np.intp] | NDArray[np.int64]) -> Arrived:
        """Pick rows, in the given order."""
        return Arrived(self.came_ms[rows], self.is_behind[rows])
