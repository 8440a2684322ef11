"""Where a change of a model's predictions comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PartKind(StrEnum):
    """What a part of a change is attributed to."""

    FEATURE = "feature"
    SEGMENT = "segment"
    ROWS = "rows"


@dataclass(frozen=True)
class Part:
    """What comes with one feature, one segment column, or some rows.

    Parameters
    ----------
    kind : PartKind
        Of a feature or segment column `part` is what comes with other shares of its values (*mix*); of rows
        (``origin=EWR``, ``temp in [39, 57)``) what comes with other predictions for the same rows.
    name : str
    part : float
        Change of the mean prediction of all rows.
    low, high : float
        Its 95 % interval.
    rate : float or None
        Of a feature or segment column: the rest of the change, which comes with other predictions for rows
        with the same values.
    beside : float or None
        Of a numeric feature: its part beside the other numeric features, which parts taken alone share.
    words : str
        What moved, ``"fewer rows with values >= 72"``.
    """

    kind: PartKind
    name: str
    part: float
    low: float
    high: float
    rate: float | None
    beside: float | None
    words: str

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Attribution:
    """Where a change of the mean prediction comes from. Association, not cause.

    Parameters
    ----------
    outcome : str
        What the prediction is: ``score``, ``prediction``, ``share of prediction 1``.
    rows, reference_rows : int
        Sampled rows that were compared.
    reference_mean, mean : float
        Mean prediction.
    change, low, high : float
        Their difference, with its 95 % interval.
    parts : tuple of Part
        Features, then segments, then rows; each ranked.
    remainder : float or None
        What the numeric features beside each other do not account for.
    summary : str
        All of it in a sentence.
    """

    outcome: str
    rows: int
    reference_rows: int
    reference_mean: float
    mean: float
    change: float
    low: float
    high: float
    parts: tuple[Part, ...]
    remainder: float | None
    summary: str

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the interval of the change leaves out 0."""
        return self.low > 0 or self.high < 0
