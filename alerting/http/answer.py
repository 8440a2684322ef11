"""What a server answered, and a way to look into it that takes nothing for granted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from schemas.errors import RetryLater


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Parameters
    ----------
    status : int
        HTTP status.
    headers : httpx.Headers
        As received.
    content : bytes
        The body, at most 1 MiB.
    """

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def json(self) -> Any:
        """The body read as JSON; ``None`` if it is something else."""
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, RecursionError):
            return None

    def get(self, *path: str | int) -> Any:
        """Look for a value in the body; ``None`` if any step is missing."""
        value = self.json
        for step in path:
            if isinstance(value, dict) and isinstance(step, str):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    def text(self, *path: str | int) -> str:
        """Look for a text or a whole number in the body; empty if it is missing."""
        value = self.get(*path)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return value if isinstance(value, str) else ""

    def items(self, *path: str | int) -> list[dict[str, Any]]:
        """Look for a list of objects in the body; empty if it is missing."""
        return objects(self.get(*path))

    def need(self, *path: str | int) -> str:
        """Look for a text that must be there.

        Raises
        ------
        RetryLater
            If it is missing: whether the request took effect is not known.
        """
        found = self.text(*path)
        if not found:
            name = ".".join(map(str, path))
            msg = f"the answer holds no {name}: is the url that of the API?"
            raise RetryLater(msg)
        return found


def objects(value: Any) -> list[dict[str, Any]]:
    """Take the objects out of what should be a list of them.

    Examples
    --------
    >>> objects([{"a": 1}, None]), objects("x")
    ([{'a': 1}], [])
    """
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
