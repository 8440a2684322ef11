"""One column of two logs: how many rows differ, how, and by which patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.mismatch.differences import Difference, Tolerance, differences
from detectors.mismatch.patterns import Pattern, patterns
from detectors.mismatch.values import Values


@dataclass(frozen=True)
class Mismatch:
    """What a comparison found.

    Parameters
    ----------
    codes : uint8 array [n]
        A `Difference` for each row.
    patterns : tuple of Pattern
        What explains most of the rows that differ, those with the most rows first.
    """

    codes: NDArray[np.uint8]
    patterns: tuple[Pattern, ...]

    @property
    def compared(self) -> int:
        """Rows that were compared."""
        return len(self.codes)

    @property
    def differ(self) -> int:
        """Rows that differ."""
        return int(np.count_nonzero(self.codes))

    def count(self, difference: Difference) -> int:
        """Rows that differ in that way."""
        return int(np.count_nonzero(self.codes == difference))


def mismatch(
    training: Values,
    events: Values,
    tolerance: Tolerance | None = None,
    previous: NDArray[np.int64] | None = None,
) -> Mismatch:
    """Compare a column of two logs of the same rows.

    Parameters
    ----------
    training, events : Values
        The same rows in the same order.
    tolerance : Tolerance, optional
    previous : int64 array [n], optional
        Row of the event before, of the same entity; −1 for none. Default: not known.

    Returns
    -------
    Mismatch
    """
    tolerance = tolerance or Tolerance()
    codes = differences(training, events, tolerance)
    return Mismatch(codes, patterns(training, events, codes, tolerance, previous))
