"""Events that broke a rule, a few of them: enough to find them with, and bounded in size."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

MOST = 20
"""Most examples of a rule that can be asked for."""


class Example(NamedTuple):
    """One event that broke a rule.

    Parameters
    ----------
    key : int
        Looks random and depends on the event's id alone: those with the smallest are kept.
    event_ms : int
    event_id : str
        Its first characters.
    topic, partition, offset
        Where its message was.
    values : tuple of (str, str or None)
        Columns that the rule looked at, and their values as short texts; None: must not be shown.
    """

    key: int
    event_ms: int
    event_id: str
    topic: str
    partition: int
    offset: int
    values: tuple[tuple[str, str | None], ...]

    def plain(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "event_id": self.event_id,
            "event_ms": self.event_ms,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "values": dict(self.values),
        }

    def without(self, hidden: Collection[str]) -> Example:
        """Leave out the values of columns that must not be shown any more."""
        return self._replace(
            values=tuple((name, None if name in hidden else text) for name, text in self.values)
        )

    @property
    def words(self) -> str:
        """Values, and where the event is, in a line.

        Examples
        --------
        >>> Example(1, 0, "e7", "flights", 0, 12, (("age", "130"), ("name", None))).words
        'age 130, name (hidden); event e7, flights/0 at offset 12'
        """
        values = ", ".join(f"{name} {'(hidden)' if text is None else text}" for name, text in self.values)
        where = f"event {self.event_id}, {self.topic}/{self.partition} at offset {self.offset}"
        return f"{values}; {where}" if values else where


@dataclass(frozen=True)
class Examples:
    """The examples of one rule.

    Parameters
    ----------
    most : int
        Most that are kept.
    kept : tuple of Example
        In the order of their keys.

    Guarantees
    ----------
    Splitting rows in any way and merging in any order keeps the same events: those with the smallest keys, as
    many as the part says that keeps fewest.
    """

    most: int
    kept: tuple[Example, ...] = ()

    def plus(self, other: Examples) -> Examples:
        """Add those of other rows."""
        return of(min(self.most, other.most), (*self.kept, *other.kept))

    @property
    def last_key(self) -> int | None:
        """Key above which no event is kept besides these; None while there is room."""
        return self.kept[-1].key if self.kept and len(self.kept) >= self.most else None


def of(most: int, examples: Iterable[Example]) -> Examples:
    """Keep the examples with the smallest keys."""
    ordered = sorted(set(examples), key=lambda one: (*one[:6], repr(one.values)))
    return Examples(most, tuple(ordered[:most]))


def printable(text: str, limit: int) -> str:
    r"""Cut a text, and write what cannot be printed as escapes.

    Examples
    --------
    >>> printable("a\x00b", 10), printable("abcdef", 4)
    ('a\\x00b', 'abc…')
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in cut)
