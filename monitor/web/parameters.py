"""What requests may ask: instants, names, limits; anything else is refused with what is allowed."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Path, Request
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from monitor.config.problem import show
from monitor.config.values import DURATION_PATTERN, read_duration, read_instant

_EARLIEST_MS = -62_135_596_800_000  # the year 1, the first that can be written
_LOST_PLUS = re.compile(r"(?<=\d) (?=\d\d:\d\d$)")
LARGEST = 2**63 - 1


def read_query_instant(value: Any) -> int:
    """Read an instant of a query string.

    Raises
    ------
    ValueError
        If it is neither RFC 3339 nor epoch milliseconds.

    Notes
    -----
    A ``+`` that was not escaped reaches us as a space; before an offset nothing else can have been meant.

    Examples
    --------
    >>> read_query_instant("1767225600000"), read_query_instant("2026-01-01T01:00:00 01:00")
    (1767225600000, 1767225600000)
    """
    if isinstance(value, str):
        plain = re.fullmatch(r"-?[0-9]{1,16}", value)
        value = int(value) if plain else _LOST_PLUS.sub("+", value)
    instant_ms = read_instant(value)
    if instant_ms < _EARLIEST_MS:
        msg = f"{show(value)} lies before the year 1"
        raise ValueError(msg)
    return instant_ms


def check_text(text: str) -> str:
    """Refuse what neither database can keep.

    Raises
    ------
    ValueError
        If the text holds a NUL character.
    """
    if "\0" in text:
        msg = "holds a NUL character, which no name has"
        raise ValueError(msg)
    return text


Instant = Annotated[
    int,
    BeforeValidator(read_query_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T00:00:00Z"]}),
]
"""RFC 3339 or epoch milliseconds, as epoch milliseconds."""

DurationText = Annotated[
    int,
    BeforeValidator(read_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["1h", "1d"]}),
]
"""A span of time as people write it, as milliseconds."""

QueryText = Annotated[str, Field(min_length=1, max_length=1_024), AfterValidator(check_text)]
"""Name of something."""

SegmentText = Annotated[str, Field(max_length=1_024), AfterValidator(check_text)]
"""Label of a segment; empty for all rows."""

PathText = Annotated[str, Path(min_length=1, max_length=256), AfterValidator(check_text)]
"""Name of something, in the path."""

RowId = Annotated[int, Path(ge=1, le=LARGEST)]
"""Number of a stored row, in the path."""


class Asked(BaseModel):
    """Parameters of a request; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class NoParameters(Asked):
    """No parameters at all."""


class Paged(Asked):
    """Parameters of every list."""

    cursor: str | None = Field(
        None,
        max_length=2_048,
        description="`next_cursor` of the page before; leave it out for the first page.",
    )
    limit: int = Field(100, ge=1, le=500, description="Most items of a page.")


def names_of(request: Request) -> list[str]:
    """Names of the query parameters that the route of a request knows."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return []
    fields = [
        parameter.field_info.annotation
        for dependant in [route.dependant, *route.dependant.dependencies]
        for parameter in dependant.query_params
    ]
    return [
        field.alias or name
        for model in fields
        if isinstance(model, type) and issubclass(model, BaseModel)
        for name, field in model.model_fields.items()
    ]
