"""Thirty days of a model in a line: the worst of each day, as a small drawing and in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from alerting.finding import instant
from monitor.store.queries.recent import DAY_MS

LEVELS = ("none", "ok", "info", "warn", "page")
WORDS = {"none": "nothing judged", "ok": "fine", "info": "info", "warn": "warn", "page": "page"}
HEIGHTS = {"none": 2, "ok": 5, "info": 9, "warn": 13, "page": 18}
CELL, GAP, TALL = 5, 1, 18
SPELLS = 3  # of each level that are written out


@dataclass(frozen=True)
class Axis:
    """Days that strips show, numbers from 1970 on; the last one may be unfinished."""

    first: int
    last: int

    @classmethod
    def up_to(cls, at_ms: int, days: int = 30) -> Axis:
        """Build the axis whose last day holds an instant."""
        return cls(at_ms // DAY_MS - days + 1, at_ms // DAY_MS)

    @property
    def from_ms(self) -> int:
        """Begin of the first day."""
        return self.first * DAY_MS

    @property
    def last_day(self) -> str:
        """The last day, for people.

        Examples
        --------
        >>> Axis.up_to(1_767_225_600_000).last_day
        '1 Jan 2026'
        """
        return f"{_day(self.last)} {instant(self.last * DAY_MS):%Y}"

    def brief(self, at_ms: int) -> str:
        """Write an instant shortly; with its year if that is not the one of the last day.

        Examples
        --------
        >>> axis = Axis.up_to(1_767_225_600_000)
        >>> axis.brief(1_767_226_200_000), axis.brief(1_767_139_200_000)
        ('1 Jan 00:10', '31 Dec 2025 00:00')
        """
        at = instant(at_ms)
        year = "" if at.year == instant(self.last * DAY_MS).year else f" {at.year}"
        return f"{at.day} {at:%b}{year} {at:%H:%M}"


@dataclass(frozen=True)
class Strip:
    """Levels of the days of an axis, oldest first."""

    axis: Axis
    levels: tuple[str, ...]

    @classmethod
    def of(cls, axis: Axis, judged: Collection[int], alerts: Iterable[Any]) -> Strip:
        """Find the worst of each day.

        Parameters
        ----------
        axis : Axis
        judged : collection of int
            Days with a judged window.
        alerts : iterable of rows
            ``severity``, ``window_start_ms`` and ``closed_at_ms`` or None: each counts from the window of its
            first finding to its end.
        """
        worst = [int(day in judged) for day in range(axis.first, axis.last + 1)]
        for row in alerts:
            until = axis.last if row.closed_at_ms is None else (row.closed_at_ms - 1) // DAY_MS
            begin = row.window_start_ms // DAY_MS
            level = LEVELS.index(row.severity)
            for day in range(max(axis.first, begin), min(axis.last, max(begin, until)) + 1):
                worst[day - axis.first] = max(worst[day - axis.first], level)
        return cls(axis, tuple(LEVELS[level] for level in worst))

    @property
    def width(self) -> int:
        """Width of the drawing."""
        return len(self.levels) * (CELL + GAP) - GAP

    @property
    def paths(self) -> dict[str, str]:
        """Outlines by level: the worse a day, the taller its cell, so that it needs no colour.

        Examples
        --------
        >>> Strip(Axis(0, 2), ("ok", "page", "ok")).paths
        {'ok': 'M0 13h5v5h-5zM12 13h5v5h-5z', 'page': 'M6 0h5v18h-5z'}
        """
        found: dict[str, str] = {}
        for index, level in enumerate(self.levels):
            tall = HEIGHTS[level]
            cell = f"M{index * (CELL + GAP)} {TALL - tall}h{CELL}v{tall}h-{CELL}z"
            found[level] = found.get(level, "") + cell
        return found

    @property
    def words(self) -> str:
        """The same in words, the worst first.

        Examples
        --------
        >>> Strip(Axis.up_to(1_767_225_600_000, 4), ("none", "ok", "page", "page")).words
        '2 days page (31 Dec to 1 Jan), 1 day fine, 1 day nothing judged'
        """
        parts = []
        for level in reversed(LEVELS):
            days = self.levels.count(level)
            if days:
                when = f" ({self._spells(level)})" if level in LEVELS[2:] else ""
                parts.append(f"{days} {'day' if days == 1 else 'days'} {WORDS[level]}{when}")
        return ", ".join(parts)

    def _spells(self, wanted: str) -> str:
        spells = []
        for level, group in groupby(enumerate(self.levels), key=lambda one: one[1]):
            if level == wanted:
                days = [self.axis.first + index for index, _ in group]
                last = "" if len(days) == 1 else f" to {_day(days[-1])}"
                spells.append(f"{_day(days[0])}{last}")
        more = f" and {len(spells) - SPELLS} earlier spells" if len(spells) > SPELLS else ""
        return ", ".join(spells[-SPELLS:]) + more


def _day(number: int) -> str:
    at = instant(number * DAY_MS)
    return f"{at.day} {at:%b}"
