"""Rows of either side, in parts: their keys at once, their columns when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.mismatch import Values

NO_TIME = -1
"""Time of an event of which none is known."""

Columns = Mapping[str, Values]


@dataclass(frozen=True)
class Batch:
    """Some rows of a table, or some events.

    Parameters
    ----------
    keys : Arrow string array [n]
        See `monitor.skew.keys`; null for a row without a key.
    event_ms : int64 array [n]
        Epoch milliseconds; `NO_TIME` where it is not known.
    columns : callable
        Reads the features of some rows, given their numbers.
    entities : Arrow string array [n], optional
        Whom each row is about.
    """

    keys: pa.Array
    event_ms: NDArray[np.int64]
    columns: Callable[[NDArray[np.int64]], dict[str, Values]]
    entities: pa.Array | None = None

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Wanted:
    """What is read of a side.

    Parameters
    ----------
    key : tuple of str
        Columns, or parts of an event, that make the key.
    instants : frozenset of str
        Those of them that are instants; they are compared as epoch milliseconds.
    model, version : str, optional
        Rows of others are left out, where a row says what it is of.
    entity : str, optional
        Column that says whom a row is about.
    """

    key: tuple[str, ...]
    instants: frozenset[str] = frozenset()
    model: str | None = None
    version: str | None = None
    entity: str | None = None
