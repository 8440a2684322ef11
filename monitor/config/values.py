"""Single values as people write them, and what they become: durations, windows, instants, names, numbers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.types import Strict

from monitor.config.problem import show
from schemas.duration import UNITS_MS, format_duration, parse_duration
from schemas.policy import LIMIT_PATTERN, Limit, read_limit, write_limit
from schemas.window import WindowSpec

DURATION_PATTERN = r"^([0-9]+(ms|s|m|h|d|w))+$"
TOPIC_PATTERN = r"^[A-Za-z0-9._-]{1,249}$"
ENVIRONMENT_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
HOST_PATTERN = r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45})$"
WINDOW_PATTERN = r"^([0-9]+(ms|s|m|h|d|w))+(/([0-9]+(ms|s|m|h|d|w))+)?$"
FORMS = {
    TOPIC_PATTERN: "is not the name of a topic (use letters, digits, . _ - and at most 249 of them)",
    ENVIRONMENT_PATTERN: "is not the name of an environment variable (use letters, digits and _)",
    HOST_PATTERN: "is not the name of a host (use driftline.example.org or 10.0.0.7, without port)",
}
"""What to say of text that does not follow a pattern."""
LONGEST_MS = 36_500 * UNITS_MS["d"]
_LAST_INSTANT_MS = 253_402_300_799_000  # end of the year 9999
_NOT_A_WINDOW = "is not a window (use 1h, or 1h/15m for an hour that begins every 15 minutes)"


def read_duration(value: Any) -> int:
    """Read a duration into milliseconds.

    Raises
    ------
    ValueError
        If it is not one, or longer than 100 years.

    Examples
    --------
    >>> read_duration("1h30m")
    5400000
    """
    if not isinstance(value, str) or len(value) > 40 or not re.fullmatch(DURATION_PATTERN, value):
        msg = f"{show(value)} is not a duration (use 5m, 1h, 1d)"
        raise ValueError(msg)
    span_ms = parse_duration(value)
    if span_ms > LONGEST_MS:
        msg = f"{show(value)} is longer than 100 years (use at most 36500d)"
        raise ValueError(msg)
    return span_ms


def duration_between(low: str, high: str) -> AfterValidator:
    """Make the check that a duration is neither shorter nor longer than allowed."""
    low_ms, high_ms = parse_duration(low), parse_duration(high)

    def check(span_ms: int) -> int:
        if not low_ms <= span_ms <= high_ms:
            msg = f"'{format_duration(span_ms)}' is out of range (use {low} to {high})"
            raise ValueError(msg)
        return span_ms

    return AfterValidator(check)


def span(default: str, alias: str) -> Any:
    """Declare a duration: the attribute holds milliseconds, the file and the JSON Schema the text.

    Parameters
    ----------
    default : str
        For example ``"10m"``.
    alias : str
        Key in the file.
    """
    return Field(default=parse_duration(default), alias=alias, json_schema_extra={"default": default})


def read_window(value: Any) -> WindowSpec:
    """Read ``1h`` or ``1h/15m``.

    Raises
    ------
    ValueError
        If it is not a window; names the part that is not a duration.
    """
    if isinstance(value, WindowSpec):
        return value
    if not isinstance(value, str) or value.count("/") > 1:
        msg = f"{show(value)} {_NOT_A_WINDOW}"
        raise ValueError(msg)
    for part in value.split("/"):
        read_duration(part)
    return WindowSpec.parse(value)


def read_instant(value: Any) -> int:
    """Read an RFC 3339 timestamp or epoch milliseconds into epoch milliseconds.

    Raises
    ------
    ValueError
        If it is neither, or names no offset from UTC.

    Examples
    --------
    >>> read_instant("2026-01-01T00:00:00Z"), read_instant("2026-01-01")
    (1767225600000, 1767225600000)
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LAST_INSTANT_MS:
        return value
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        msg = f"{show(value)} is not an instant (use 2026-01-31T00:00:00Z, 2026-01-31 or epoch milliseconds)"
        raise ValueError(msg) from None
    if len(value) == len("2026-01-01"):
        moment = moment.replace(tzinfo=UTC)
    if moment.tzinfo is None:
        msg = f"{show(value)} does not say its offset from UTC (use 2026-01-31T00:00:00Z)"
        raise ValueError(msg)
    return int(moment.timestamp() * 1_000)


def write_instant(instant_ms: int | None) -> str | None:
    """Write epoch milliseconds as RFC 3339, UTC."""
    if instant_ms is None:
        return None
    return (
        datetime.fromtimestamp(instant_ms / 1_000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def read_scalar(value: Any) -> str | int | float | bool:
    """Accept a single text, number or truth value.

    Raises
    ------
    ValueError
        If it is a list or a mapping, infinite or not a number.
    """
    if isinstance(value, float) and not abs(value) < float("inf"):
        msg = f"{value} is not a finite number"
        raise ValueError(msg)
    if isinstance(value, str | int | float):
        return value
    msg = "must be a single text, number or truth value"
    raise ValueError(msg)


DurationMs = Annotated[
    int,
    BeforeValidator(read_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["5m", "1h", "1d"]}),
]
"""Milliseconds, written ``500ms``, ``5s``, ``10m``, ``1h30m``, ``7d``, ``2w``."""

WindowText = Annotated[
    WindowSpec,
    BeforeValidator(read_window),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": WINDOW_PATTERN, "examples": ["1h", "1h/15m", "1d"]}),
]
"""A window, written ``1h`` (tumbling) or ``1h/15m`` (sliding)."""

InstantMs = Annotated[
    int,
    BeforeValidator(read_instant),
    PlainSerializer(write_instant, return_type=str),
    WithJsonSchema({"type": ["string", "integer"], "format": "date-time"}),
]
"""Epoch milliseconds, written as RFC 3339 or as they are."""

Scalar = Annotated[
    Any,
    BeforeValidator(read_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""A single text, number or truth value."""

Text = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=2_048)]
"""Text that is not empty."""

Name = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=256)]
"""Name of a model, version, column or person."""

Whole = Annotated[int, Strict()]
"""A whole number; ``true`` is none."""

Number = Annotated[float, Strict(), AllowInfNan(False)]
"""A finite number; ``true`` is none."""

Share = Annotated[float, Strict(), AllowInfNan(False), Field(ge=0, le=1)]
"""A part of one."""

LimitValue = Annotated[
    Limit,
    BeforeValidator(read_limit),
    PlainSerializer(write_limit, return_type=float | str),
    WithJsonSchema(
        {
            "title": "Limit",
            "type": ["number", "string"],
            "minimum": 0,
            "maximum": 1,
            "pattern": LIMIT_PATTERN,
            "examples": [0.01, "1 %", "5 rows"],
        }
    ),
]
"""Most rows that may break a rule, written ``0.01``, ``1 %`` or ``5 rows``."""

Flag = Annotated[bool, Strict()]
"""``true`` or ``false``."""

TopicName = Annotated[str, Strict(), StringConstraints(pattern=TOPIC_PATTERN)]
"""Name of a Kafka topic."""

EnvironmentName = Annotated[str, Strict(), StringConstraints(pattern=ENVIRONMENT_PATTERN)]
"""Name of an environment variable."""

HostName = Annotated[str, Strict(), StringConstraints(pattern=HOST_PATTERN, to_lower=True)]
"""Name or address of a host, without port."""
