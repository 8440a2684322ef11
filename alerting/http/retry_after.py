"""The ``Retry-After`` header of HTTP: a number of seconds or a date."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime

from alerting.finding import epoch_ms

LONGEST_S = 86_400.0


def retry_after_s(value: str | None, now_ms: int) -> float | None:
    """Read how long a receiver wants to be left alone.

    Parameters
    ----------
    value : str or None
        The header, if there is one.
    now_ms : int
        Wall clock, for dates.

    Returns
    -------
    float or None
        Seconds from now, between 0 and a day; ``None`` if the header is missing or cannot be understood.

    Examples
    --------
    >>> retry_after_s("120", 0), retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 15_000)
    (120.0, 45.0)
    >>> retry_after_s("soon", 0), retry_after_s("-5", 0), retry_after_s("9999999", 0)
    (None, 0.0, 86400.0)
    """
    seconds = _seconds(value.strip(), now_ms) if value else None
    return None if seconds is None or math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_S)


def _seconds(value: str, now_ms: int) -> float | None:
    try:
        return float(value)
    except ValueError:
        return _until(value, now_ms)


def _until(value: str, now_ms: int) -> float | None:
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for years beyond all bounds
        return None
    # A date without a zone cannot be compared with the clock.
    return None if at.tzinfo is None else (epoch_ms(at) - now_ms) / 1_000
