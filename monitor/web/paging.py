"""Opaque cursors: where a page ended, so that the next one begins there whatever was added meanwhile."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from monitor.web.parameters import LARGEST
from monitor.web.problems import Mistake, Refused

T = TypeVar("T")


def write_cursor(of: str, *key: str | int) -> str:
    """Write where a page ended.

    Examples
    --------
    >>> read_cursor(write_cursor("alerts", 5, "a1"), "alerts", int, str)
    (5, 'a1')
    """
    text = json.dumps([of, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(text: str | None, of: str, *types: type) -> Any:
    """Read what `write_cursor` wrote; None for the first page.

    Raises
    ------
    Refused
        If it is not a cursor of this list.
    """
    if text is None:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _refused() from None
    if not isinstance(found, list) or found[:1] != [of] or len(found) != len(types) + 1:
        raise _refused()
    key = tuple(found[1:])
    if not all(type(value) is kind for value, kind in zip(key, types, strict=True)):
        raise _refused()
    if any(isinstance(value, int) and abs(value) > LARGEST for value in key):
        raise _refused()
    if any(isinstance(value, str) and not _is_storable(value) for value in key):
        raise _refused()
    return key


def cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], T | None]:
    """Split `limit` + 1 rows that were read into a page and, if there are more, its last row."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], rows[limit - 1]


def _is_storable(text: str) -> bool:
    return "\0" not in text and _encodes(text)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused() -> Refused:
    what = "this is not a cursor of this list"
    mistake = Mistake(where="query.cursor", what=what, allowed="`next_cursor` of the page before, unchanged")
    return Refused(422, f"query.cursor: {what}", [mistake])
