"""What a comparison of a training table with events found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from detectors.intervals import Measure
from detectors.mismatch import Pattern
from monitor.config.values import write_instant


@dataclass(frozen=True)
class Example:
    """A row that differs.

    Parameters
    ----------
    key : str or None
        None if a part of it is personal.
    at_ms : int or None
        Time of the event.
    training, events : str or None
        Both values as people read them; None for a missing one, and for both if the column is personal.
    """

    key: str | None
    at_ms: int | None
    training: str | None
    events: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        at = write_instant(self.at_ms)
        return {"key": self.key, "at": at, "training": self.training, "events": self.events}


@dataclass(frozen=True)
class ColumnSkew:
    """One feature on both sides.

    Parameters
    ----------
    name : str
    share : Measure
        Rows that differ, of those compared; the limits of all columns hold together with 95 %.
    by : dict of str to int
        Rows that differ: ``value``, ``type``, ``missing_in_training``, ``missing_in_events``.
    patterns : tuple of Pattern
        What explains most of them.
    first_ms, last_ms : int or None
        Time of the first and of the last event that differs, where it is known.
    examples : tuple of Example
        The first by time.
    is_above : bool
        Whether the share is certainly above the limit.
    is_personal : bool
        Whether values are hidden.
    """

    name: str
    share: Measure
    by: dict[str, int]
    patterns: tuple[Pattern, ...]
    first_ms: int | None
    last_ms: int | None
    examples: tuple[Example, ...]
    is_above: bool
    is_personal: bool = False

    @property
    def compared(self) -> int:
        """Rows that were compared."""
        return self.share.n

    @property
    def differ(self) -> int:
        """Rows that differ."""
        return sum(self.by.values())

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "name": self.name,
            "compared": self.compared,
            "differ": self.differ,
            "share": self.share.value,
            "share_low": self.share.low,
            "share_high": self.share.high,
            "above": self.is_above,
            "by": self.by,
            "patterns": [
                {"name": pattern.name, "rows": pattern.rows, "words": pattern.words}
                for pattern in self.patterns
            ],
            "first_at": write_instant(self.first_ms),
            "last_at": write_instant(self.last_ms),
            "personal": self.is_personal,
            "examples": [example.as_dict() for example in self.examples],
        }


@dataclass(frozen=True)
class Keys:
    """What became of the rows of both sides.

    Parameters
    ----------
    training_rows, events : int
        All that were read.
    compared : int
        Rows of the table with an event.
    training_only, events_only : int
        Rows without an event, events without a row.
    training_without_key, events_without_key : int
        Rows and events in which a part of the key is missing.
    training_repeated, events_repeated : int
        Rows and events that say once more what another of their key says.
    training_ambiguous : int
        Rows whose key stands for rows that differ; not compared.
    events_ambiguous : int
        Rows of the table whose key stands for events that differ; not compared.
    unreadable, unpaired : int
        Messages that are no events; requests and responses whose other half was not among the messages.
    """

    training_rows: int
    events: int
    compared: int
    training_only: int
    events_only: int
    training_without_key: int = 0
    events_without_key: int = 0
    training_repeated: int = 0
    events_repeated: int = 0
    training_ambiguous: int = 0
    events_ambiguous: int = 0
    unreadable: int = 0
    unpaired: int = 0


@dataclass(frozen=True)
class Skew:
    """What was found.

    Parameters
    ----------
    key : tuple of str
        Parts of the key, as events call them.
    keys : Keys
    columns : tuple of ColumnSkew
        Those with the largest share of rows that differ first.
    training_only, events_only : tuple of str
        Columns that one side has alone; they are not compared.
    """

    key: tuple[str, ...]
    keys: Keys
    columns: tuple[ColumnSkew, ...]
    training_only: tuple[str, ...] = ()
    events_only: tuple[str, ...] = ()

    @property
    def above(self) -> tuple[ColumnSkew, ...]:
        """Columns whose share is certainly above the limit."""
        return tuple(column for column in self.columns if column.is_above)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``driftline skew --json`` prints, but for the model."""
        return {
            "key": list(self.key),
            "keys": asdict(self.keys),
            "columns": [column.as_dict() for column in self.columns],
            "training_only": list(self.training_only),
            "events_only": list(self.events_only),
        }
