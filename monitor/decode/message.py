"""One message as formats see it: its bytes, what Kafka says about it, and its JSON once somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import msgspec

from schemas.errors import EventError

Headers = Sequence[tuple[str, bytes | None]]
Event = dict[str, Any]
"""An event in native form, as JSON would have it; see docs/formats.md."""

_LONGEST_REASON = 300


@dataclass
class Message:
    """One message.

    Parameters
    ----------
    value : bytes
    headers : sequence of (str, bytes or None)
    timestamp_ms : int
        Of the Kafka record; the time of events that tell none.
    read : object
        The value as Python objects, where something has read it already.
    key : bytes, optional
        Of the Kafka record.
    topic : str
        That it came in; empty: not known.

    Examples
    --------
    >>> message = Message(b'{"id": 7}', [("Ce_Id", b"x")])
    >>> message.document, message.header("ce-id")
    ({'id': 7}, 'x')
    """

    value: bytes
    headers: Headers = ()
    timestamp_ms: int = 0
    read: Any = field(default=msgspec.UNSET, repr=False)
    key: bytes | None = None
    topic: str = ""
    _named: dict[str, bytes] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def document(self) -> Any:
        """The value, read as JSON.

        Raises
        ------
        EventError
            If it is no JSON.
        """
        if self.read is msgspec.UNSET:
            try:
                self.read = msgspec.json.decode(self.value)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
                self.read = EventError(reason_of(self.value, error))
        if isinstance(self.read, EventError):
            raise self.read
        return self.read

    @property
    def object_(self) -> dict[str, Any]:
        """The JSON object that the value is; empty if it is anything else."""
        try:
            document = self.document
        except EventError:
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def is_read(self) -> bool:
        """Whether something else than JSON has been read; then `value` is not what `document` says."""
        return self.read is not msgspec.UNSET

    def header(self, name: str) -> str | None:
        """A header, whatever its case, and with ``-`` and ``_`` for each other; None if there is none."""
        if self._named is None:
            self._named = {}
            for key, value in self.headers:
                if value is not None:
                    self._named.setdefault(_plain(key), value)
        found = self._named.get(_plain(name))
        return None if found is None else found.decode("utf-8", "replace")

    @property
    def content_type(self) -> str:
        """Media type without parameters, in small letters; empty if there is none."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def holding(self, document: Any) -> Message:
        """Return a message of the same origin whose value was read by somebody else."""
        return replace(self, read=document)


About = Callable[[int], Message]


@lru_cache(maxsize=1_024)
def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def reason_of(value: bytes | None, error: Exception) -> str:
    """Say in a line why a value is no JSON."""
    if not value:
        return "empty message"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return str(error)[:_LONGEST_REASON]
