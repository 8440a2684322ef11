"""Fields of forms as addresses carry them: what was left empty was not asked for; times are UTC."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from monitor.web.parameters import check_text, read_query_instant

_WITHOUT_OFFSET = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?")


def none_if_empty(value: Any) -> Any:
    """Take an empty field for one that was not sent.

    Examples
    --------
    >>> none_if_empty(" "), none_if_empty("a")
    (None, 'a')
    """
    return None if isinstance(value, str) and not value.strip() else value


def read_field_instant(value: Any) -> Any:
    """Read an instant of an address, or of a field of a form, which has no offset and means UTC.

    Examples
    --------
    >>> read_field_instant("2026-01-01T00:00"), read_field_instant("")
    (1767225600000, None)
    """
    value = none_if_empty(value)
    if value is None:
        return None
    if isinstance(value, str) and _WITHOUT_OFFSET.fullmatch(value):
        value += "Z"
    return read_query_instant(value)


Blank = BeforeValidator(none_if_empty)
"""Lets an empty field be None."""

FieldText = Annotated[Annotated[str, Field(max_length=1_024), AfterValidator(check_text)] | None, Blank]
"""A text, or None."""

FieldInstant = Annotated[int | None, BeforeValidator(read_field_instant)]
"""An instant as epoch milliseconds, or None."""
