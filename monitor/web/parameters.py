"""What requests may ask: instants, names, limits; anything else is refused with what is allowed."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Path, Request
from fastapi.routing import APIRoute
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

from monitor.config.problem import show
from monitor.config.values import DURATION_PATTERN, read_duration, read_instant

_EARLIEST_MS = -62_135_596_800_000  # the year 1, the first that can be written
_LATEST_MS = 253_402_300_799_000  # the end of the year 9999, the last that can be written
_LOST_PLUS = re.compile(r"(?<=\d) (?=\d\d:\d\d$)")
LARGEST = 2**63 - 1  # that databases keep
LARGEST_ID = 2**53 - 1  # that every reader of JSON tells from its neighbours


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
    elif isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON does not tell 1.0 from 1
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
        If the text holds a NUL character, or half of a surrogate pair, as JSON may.
    """
    if "\0" in text:
        msg = "holds a NUL character, which no name has"
        raise ValueError(msg)
    if any("\ud800" <= character <= "\udfff" for character in text):
        msg = "holds half of a surrogate pair, which is no character"
        raise ValueError(msg)
    return text


Instant = Annotated[
    int,
    BeforeValidator(read_query_instant),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "format": "date"},
                {"type": "integer", "minimum": _EARLIEST_MS, "maximum": _LATEST_MS},
            ],
            "examples": ["2026-01-31T00:00:00Z"],
        }
    ),
]
"""RFC 3339 or epoch milliseconds, as epoch milliseconds."""

DurationText = Annotated[
    int,
    BeforeValidator(read_duration),
    WithJsonSchema(
        {"type": "string", "pattern": DURATION_PATTERN, "maxLength": 40, "examples": ["1h", "1d"]}
    ),
]
"""A span of time as people write it, as milliseconds."""


class Storable:
    """Marks text that a database has to be able to keep; see `check_text`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check what has the right length."""
        return no_info_after_validator_function(check_text, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say so in the description of the API."""
        return {**handler(schema), "pattern": r"^[^\x00]*$"}


def check_whole(value: Any) -> Any:
    """Refuse what pydantic would make a number of.

    Raises
    ------
    ValueError
        If the value is text or a truth value.
    """
    if isinstance(value, str | bool):
        msg = f"{show(value)} is no whole number"
        raise ValueError(msg)  # noqa: TRY004 - what pydantic takes for a refusal
    return value


Text = Annotated[str, Storable()]
"""Text in a body."""

WholeId = Annotated[int, Field(ge=1, le=LARGEST_ID), BeforeValidator(check_whole)]
"""Number of a stored row, in a body."""

QueryText = Annotated[str, Field(min_length=1, max_length=1_024), Storable()]
"""Name of something."""

SegmentText = Annotated[str, Field(max_length=1_024), Storable()]
"""Label of a segment; empty for all rows."""

PathText = Annotated[str, Path(min_length=1, max_length=256), Storable()]
"""Name of something, in the path."""

RowId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
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
