"""How pages write values: instants, ages, shares, numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from alerting.finding import instant


def minute(at: str | datetime | int | None) -> str:
    """Write an instant to the minute.

    Examples
    --------
    >>> minute("2026-01-01T10:20:30.000Z"), minute(None)
    ('2026-01-01 10:20 UTC', 'not known')
    """
    return "not known" if at is None else f"{_read(at):%Y-%m-%d %H:%M} UTC"


def iso(at: str | datetime | int) -> str:
    """Write an instant for machines.

    Examples
    --------
    >>> iso(1_767_225_600_000)
    '2026-01-01T00:00:00Z'
    """
    return f"{_read(at):%Y-%m-%dT%H:%M:%SZ}"


def age(at: str | datetime | int | None, now_ms: int) -> str:
    """Say how long ago an instant was, in words.

    Examples
    --------
    >>> age("2026-01-01T00:00:00.000Z", 1_767_225_600_000 + 5_400_000), age(None, 0)
    ('90 minutes ago', 'never')
    """
    if at is None:
        return "never"
    seconds = now_ms / 1_000 - _read(at).timestamp()
    if seconds < 0:
        return "ahead of the clock"
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size or (name == "minutes" and seconds >= size):
            number = round(seconds / size)
            return f"{number} {name[:-1] if number == 1 else name} ago"
    return f"{round(seconds)} seconds ago"


def share(value: float | None, digits: int = 1) -> str:
    """Write a share in percent.

    Examples
    --------
    >>> share(0.1234), share(None), share(1.0)
    ('12.3 %', '–', '100.0 %')
    """
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f} %"


def number(value: float | None) -> str:
    """Write a number of things, or a measure.

    Examples
    --------
    >>> number(1234567), number(0.123456), number(None)
    ('1,234,567', '0.123', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    )


def ordinal(number: int) -> str:
    """Write a position.

    Examples
    --------
    >>> [ordinal(n) for n in (2, 3, 4, 11, 21)]
    ['2nd', '3rd', '4th', '11th', '21st']
    """
    last = 0 if number % 100 in (11, 12, 13) else number % 10
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(last, 'th') }"


def _read(at: str | datetime | int) -> datetime:
    if isinstance(at, int):
        return instant(at)
    return (datetime.fromisoformat(at) if isinstance(at, str) else at).astimezone(UTC)


FILTERS: dict[str, Callable[..., Any]] = {
    "minute": minute,
    "iso": iso,
    "age": age,
    "share": share,
    "number": number,
    "ordinal": ordinal,
}
"""Filters of templates."""
