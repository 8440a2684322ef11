"""What finders of patterns look at, and what they return."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.mismatch.differences import Tolerance
from detectors.mismatch.values import Values
from detectors.tensor import FloatArray, IntArray

FEWEST_ROWS = 3
FEWEST_VALUES = 3
"""Different values that a rule about numbers has to hold for: of two, every shift is a factor too."""


@dataclass(frozen=True)
class Rows:
    """All rows of a column.

    Parameters
    ----------
    training, events : Values
    tolerance : Tolerance
    previous : int64 array [n] or None
        Row of the event before, of the same entity; −1 for none. None: not known.
    """

    training: Values
    events: Values
    tolerance: Tolerance
    previous: IntArray | None


@dataclass(frozen=True)
class Explained:
    """Rows that fit a pattern; see `detectors.mismatch.patterns.Pattern`.

    Parameters
    ----------
    name, words : str
    rows : int64 array
    shows_values : bool
    left : float
        Mean part of the difference that the pattern leaves; of two that explain as many rows, the one that
        leaves less is meant.
    """

    name: str
    words: str
    rows: IntArray
    shows_values: bool = False
    left: float = 0.0


def has_several(values: FloatArray, fits: NDArray[np.bool_]) -> bool:
    """Whether rows that fit have enough different values to tell one rule from another."""
    return len(np.unique(values[fits])) >= FEWEST_VALUES
