"""What watches of data quality look at in a window."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.profile import Profile
from detectors.reference import Reference
from detectors.tensor import IntArray


@dataclass(frozen=True)
class Facts:
    """What is known of the rows of a window, or of those of a reference.

    Parameters
    ----------
    counts : int64 array [groups, bins]
        On the bins of the reference.
    """

    counts: IntArray

    @classmethod
    def of(cls, profile: Profile) -> Facts:
        """Take from a profile on the bins of the reference what watches look at."""
        return cls(profile.counts)


@dataclass(frozen=True)
class Example:
    """A situation in which a watch promises something; the suite holds it to that.

    Parameters
    ----------
    reference : Reference
    null : tuple of Facts
        Windows in which nothing is wrong, one after the other.
    shifted : tuple of Facts
        Windows in which `column` is wrong from the first on.
    column : str
        Column of the finding, in the segment of all rows.
    delay : int
        Windows, counted from 1, within which it must have been found at a budget of 1e-4 a window.
    """

    reference: Reference
    null: tuple[Facts, ...]
    shifted: tuple[Facts, ...]
    column: str
    delay: int
