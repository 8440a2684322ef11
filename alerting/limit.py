"""How many messages a receiver is sent at most: ``20 per hour``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

PERIODS_MS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
LIMIT_PATTERN = r"^[1-9][0-9]{0,5} per (minute|hour|day)$"


@dataclass(frozen=True)
class Limit:
    """A number of messages in a span of wall time.

    Parameters
    ----------
    count : int
        Messages, 1 to 999,999.
    per_ms : int
        A minute, an hour or a day, in ms.

    Examples
    --------
    >>> limit = Limit.parse("20 per hour")
    >>> limit, str(limit)
    (Limit(count=20, per_ms=3600000), '20 per hour')
    >>> Limit.parse("0 per hour")
    Traceback (most recent call last):
    ValueError: not a limit (use N per minute, hour or day, N a whole number from 1 to 999999)
    """

    count: int
    per_ms: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 999_999 or self.per_ms not in PERIODS_MS.values():
            raise _not_a_limit()

    @classmethod
    def parse(cls, value: object) -> Limit:
        """Read ``N per minute|hour|day``.

        Raises
        ------
        ValueError
            If it is anything else.
        """
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or not re.fullmatch(LIMIT_PATTERN[1:-1], value):
            raise _not_a_limit()
        count, _, period = value.split(" ")
        return cls(int(count), PERIODS_MS[period])

    def __str__(self) -> str:
        period = next(name for name, per_ms in PERIODS_MS.items() if per_ms == self.per_ms)
        return f"{self.count} per {period}"


def _not_a_limit() -> ValueError:
    return ValueError("not a limit (use N per minute, hour or day, N a whole number from 1 to 999999)")


_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": LIMIT_PATTERN,
    "examples": ["20 per hour", "100 per day"],
}

LimitText = Annotated[
    Limit,
    BeforeValidator(Limit.parse),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(_SCHEMA),
]
"""A limit as it stands in the configuration."""
