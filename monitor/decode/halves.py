"""One half of an exchange: a request, or the response to one, in a message of its own."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from monitor.decode.message import Message
from schemas.errors import EventError

Side = Literal["request", "response"]

LONGEST_HALF = 8 << 20
"""Most bytes of a half that waits for the other."""

_LONGEST_ID = 1_024


@dataclass(frozen=True)
class Half:
    """What a half shares with its other half, and which of the two it is.

    Parameters
    ----------
    format : str
    side : str
    scope : str
        Where `id` is unique, such as a model's name; the same for both halves.
    id : str
        Id of the request.

    Examples
    --------
    >>> half = Half("mlserver", "request", "m", "7")
    >>> half.other, half.key, half.digest == Half("mlserver", "response", "m", "7").digest
    ('response', 'mlserver:m:7', True)
    """

    format: str
    side: Side
    scope: str
    id: str

    @property
    def other(self) -> Side:
        """What it waits for."""
        return "response" if self.side == "request" else "request"

    @property
    def key(self) -> str:
        """What both halves are called, for people."""
        return f"{self.format}:{self.scope}:{self.id}"

    @property
    def digest(self) -> str:
        """The same for both halves, and for no others; 32 hexadecimal digits."""
        digest = blake2b(digest_size=16)
        for part in (self.format, self.scope, self.id):
            written = part.encode("utf-8", "surrogatepass")
            digest.update(len(written).to_bytes(4, "big") + written)
        return digest.hexdigest()


@dataclass(frozen=True)
class Pair:
    """Both halves, in the format of that name."""

    format: str
    request: Message
    response: Message


def request_id(value: object, where: str) -> str:
    """Check the id that two halves share.

    Raises
    ------
    EventError
        If there is none, or it could not be kept.
    """
    if not isinstance(value, str) or not value:
        msg = f"{where}: required, to find the other half by"
        raise EventError(msg)
    if len(value) > _LONGEST_ID or "\0" in value:
        msg = f"{where}: has a NUL character or more than {_LONGEST_ID} characters"
        raise EventError(msg)
    return value
