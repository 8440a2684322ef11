"""Spans of time as people write them: ``500ms``, ``5s``, ``10m``, ``1h``, ``7d``, ``2w``."""

from __future__ import annotations

import re

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PATTERN = re.compile(r"(\d+)(ms|s|m|h|d|w)")


def parse_duration(text: str) -> int:
    """Read a span of time.

    Parameters
    ----------
    text : str
        One or more whole numbers with a unit, for example ``"90s"`` or ``"1h30m"``.

    Returns
    -------
    int
        Milliseconds.

    Raises
    ------
    ValueError
        If the text is anything else.

    Examples
    --------
    >>> parse_duration("1h30m")
    5400000
    """
    if not isinstance(text, str) or not re.fullmatch(r"(\d+(ms|s|m|h|d|w))+", text):
        raise ValueError(f"{text!r} is not a duration (use 500ms, 5s, 10m, 1h, 7d, 2w)")  # noqa: EM102
    return sum(int(number) * UNITS_MS[unit] for number, unit in _PATTERN.findall(text))


def format_duration(span_ms: int) -> str:
    """Write a span of time the shortest exact way.

    Examples
    --------
    >>> format_duration(5_400_000), format_duration(86_400_000), format_duration(0)
    ('1h30m', '1d', '0s')
    """
    parts = []
    for unit in ("w", "d", "h", "m", "s", "ms"):
        number, span_ms = divmod(span_ms, UNITS_MS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
