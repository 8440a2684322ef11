"""How values are written in every document: instants, numbers, pages."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

Item = TypeVar("Item")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item] = Field(description="Items of this page.")
    next_cursor: str | None = Field(None, description="`cursor` of the next page; null: this is the last.")


def instant(at_ms: int | None) -> str | None:
    """Write epoch milliseconds as RFC 3339, UTC; None also for instants beyond what can be written.

    Examples
    --------
    >>> instant(1_767_225_600_123), instant(None), instant(10**18)
    ('2026-01-01T00:00:00.123Z', None, None)
    """
    if at_ms is None:
        return None
    try:
        moment = _EPOCH + timedelta(milliseconds=at_ms)
    except OverflowError:
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]
"""A number; null where there is none or it is not finite."""

InstantText = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T00:00:00.000Z"]}),
]
"""RFC 3339 in UTC."""
