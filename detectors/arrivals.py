"""How the events of a slice arrived: repeated, out of order, and how long after their own time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ProfileError

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_STEPS = {
    "100 ms": 100,
    "300 ms": 300,
    "1 s": _SECOND,
    "3 s": 3 * _SECOND,
    "10 s": 10 * _SECOND,
    "30 s": 30 * _SECOND,
    "1 min": _MINUTE,
    "3 min": 3 * _MINUTE,
    "10 min": 10 * _MINUTE,
    "30 min": 30 * _MINUTE,
    "1 h": _HOUR,
    "3 h": 3 * _HOUR,
    "12 h": 12 * _HOUR,
    "1 d": _DAY,
    "3 d": 3 * _DAY,
    "7 d": 7 * _DAY,
    "30 d": 30 * _DAY,
}
EDGES_MS: NDArray[np.int64] = np.array(
    [*(-step for step in reversed(_STEPS.values())), 0, *_STEPS.values()], np.int64
)
"""Bin i holds lags from edge i − 1 up to below edge i; the first and last have no other end."""
LAG_BINS = len(EDGES_MS) + 1


def lag_labels() -> tuple[str, ...]:
    """Name of each bin of lags, in order.

    Examples
    --------
    >>> lag_labels()[0], lag_labels()[17], lag_labels()[18], lag_labels()[-1]
    ('30 d or more early', 'under 100 ms early', 'under 100 ms late', '30 d or more late')
    """
    names = list(_STEPS)
    late = [
        f"under {names[0]} late",
        *(f"{a} to {b} late" for a, b in pairwise(names)),
        f"{names[-1]} or more late",
    ]
    return (*(name.replace(" late", " early") for name in reversed(late)), *late)


def lag_bins(came_ms: NDArray[np.int64], event_ms: NDArray[np.int64]) -> NDArray[np.intp]:
    """Bin of the lag of each event; `LAG_BINS` where nothing is known of when it came."""
    found = np.searchsorted(EDGES_MS, came_ms - event_ms, side="right")
    if len(came_ms) and came_ms.min() <= 0:
        found[came_ms <= 0] = LAG_BINS
    return found


class Arrivals:
    """Counts of how events arrived. Merging is addition.

    Attributes
    ----------
    told : int
        Rows of which it is known how they arrived: none of a table.
    repeated : int
        Events that came once more; they are not among the rows.
    behind : int
        Rows that came after newer ones, by more than the allowed lateness.
    lags : int64 array [LAG_BINS]
        Rows by the time between the event and its Kafka record.

    Examples
    --------
    >>> arrivals = Arrivals()
    >>> arrivals.add(2, behind=1, bins=lag_bins(np.array([5_000, 0]), np.array([1_000, 1_000])))
    >>> arrivals.told, arrivals.behind, arrivals.lags.sum()
    (2, 1, np.int64(1))
    """

    def __init__(self) -> None:
        self.told = self.repeated = self.behind = 0
        self.lags: NDArray[np.int64] = np.zeros(LAG_BINS, np.int64)

    def add(self, rows: int, *, behind: int, bins: NDArray[np.intp]) -> None:
        """Add rows.

        Parameters
        ----------
        rows : int
        behind : int
            How many of them came out of order.
        bins : int array [rows]
            From `lag_bins`.
        """
        self.told += rows
        self.behind += behind
        self.lags += np.bincount(bins, minlength=LAG_BINS + 1)[:LAG_BINS]

    def repeat(self, events: int) -> None:
        """Add events that came once more."""
        self.repeated += events

    def merge(self, other: Arrivals) -> None:
        """Add those of other rows."""
        self.told += other.told
        self.repeated += other.repeated
        self.behind += other.behind
        self.lags = self.lags + other.lags

    def state(self) -> list[int]:
        """Return everything as plain numbers; none where nothing is known."""
        if not self.told and not self.repeated:
            return []
        return [self.told, self.repeated, self.behind, *self.lags.tolist()]

    @classmethod
    def from_state(cls, state: Sequence[int]) -> Arrivals:
        """Build what `state` returned.

        Raises
        ------
        ProfileError
            If these are not as many numbers as there have to be.
        """
        new = cls()
        if not state:
            return new
        if len(state) != 3 + LAG_BINS:
            msg = f"damaged profile: {len(state)} numbers on arrivals ({3 + LAG_BINS} are expected)"
            raise ProfileError(msg)
        new.told, new.repeated, new.behind = state[:3]
        new.lags = np.array(state[3:], np.int64)
        return new
