"""A JSON or YAML file as importers see it: every place knows its path, for messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

from monitor.config.problem import Path, show, write_path
from monitor.config.reader import read_text
from schemas.errors import ConfigurationError, UsageError

MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class Node:
    """A place in a document.

    Parameters
    ----------
    file : str
        For messages.
    value : Any
        What stands there; None if nothing does.
    path : Path
        Keys and positions from the top.

    Examples
    --------
    >>> Node("a.json", {"fields": [{"name": 3}]})["fields"][0]["name"].text()
    Traceback (most recent call last):
    schemas.errors.UsageError: a.json: fields[0].name: 3 is not text (give a text)
    """

    file: str
    value: Any
    path: Path = ()

    def __getitem__(self, key: str | int) -> Node:
        """The place below; one without a value where there is none."""
        below = None
        if isinstance(key, str) and isinstance(self.value, dict):
            below = self.value.get(key)
        elif isinstance(key, int) and isinstance(self.value, list) and key < len(self.value):
            below = self.value[key]
        return Node(self.file, below, (*self.path, key))

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def __iter__(self) -> Iterator[Node]:
        """Items of a list; nothing where there is none.

        Raises
        ------
        UsageError
            If it is something else.
        """
        if self.value is not None and not isinstance(self.value, list):
            msg = f"{show(self.value)} is not a list (give a list)"
            raise self.wrong(msg)
        return iter([self[at] for at in range(len(self.value or ()))])

    def entries(self) -> dict[str, Node]:
        """Entries of a mapping; none where there is none.

        Raises
        ------
        UsageError
            If it is something else.
        """
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            msg = f"{show(self.value)} is not a mapping (give a mapping)"
            raise self.wrong(msg)
        return {str(key): self[key] for key in self.value}

    def text(self) -> str:
        """Text that has to be there.

        Raises
        ------
        UsageError
            If it is missing, empty or something else.
        """
        if isinstance(self.value, str) and self.value:
            return self.value
        what = "is missing" if self.value is None else f"{show(self.value)} is not text"
        msg = f"{what} (give a text)"
        raise self.wrong(msg)

    def word(self) -> str | None:
        """Text, or None where there is none.

        Raises
        ------
        UsageError
            If it is something else.
        """
        return None if self.value is None else self.text()

    def values(self) -> list[Any]:
        """Values of a list; none where there is none.

        Raises
        ------
        UsageError
            If it is something else.
        """
        return [item.value for item in self]

    def truth(self, default: bool) -> bool:
        """Truth value; `default` where there is none.

        Raises
        ------
        UsageError
            If it is something else.
        """
        if self.value is None or isinstance(self.value, bool):
            return default if self.value is None else self.value
        msg = f"{show(self.value)} is not a truth value (use true or false)"
        raise self.wrong(msg)

    def wrong(self, message: str) -> UsageError:
        """Make the error that says what is wrong here."""
        return UsageError(": ".join(part for part in (self.file, write_path(self.path), message) if part))

    def within(self, value: Any) -> Node:
        """The same place with another value: that of a text which holds a document itself."""
        return replace(self, value=value)


def read_document(path: str) -> Node:
    """Read a JSON or YAML file.

    Raises
    ------
    UsageError
        If it cannot be read, or is neither.
    ConfigurationError
        If the YAML has faults; each with its line.
    """
    try:
        content = FilePath(path).read_bytes()
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror or error}"
        raise UsageError(msg) from error
    if len(content) > MOST_BYTES:
        msg = f"{path}: is larger than {MOST_BYTES >> 20} MiB (that is no contract)"
        raise UsageError(msg)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path}: is not UTF-8 text (a contract is JSON or YAML)"
        raise UsageError(msg) from error
    return parse(text, path)


def parse(text: str, file: str) -> Node:
    """Read JSON or YAML that is in memory; see `read_document`."""
    if not text.strip():
        msg = f"{file}: is empty"
        raise UsageError(msg)
    if file.endswith(".json") or text.lstrip()[:1] in ("{", "["):
        try:
            return Node(file, json.loads(text, parse_constant=_refuse))
        except (ValueError, RecursionError) as error:
            if file.endswith(".json"):
                msg = f"{file}: is not JSON: {str(error)[:200]}"
                raise UsageError(msg) from error
    data, _, problems = read_text(text, file)
    if problems:
        raise ConfigurationError([str(problem) for problem in problems])
    return Node(file, data)


def _refuse(constant: str) -> Any:
    msg = f"{constant} is no JSON number"
    raise ValueError(msg)
