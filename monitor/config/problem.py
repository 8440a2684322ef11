"""One thing that is wrong with a configuration, and how its place in the file is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

Path = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SECRET_NAME = re.compile(r"passw|secret|token|credential|api_?key|private|jaas|\.pem$", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<=://).*", re.DOTALL)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a configuration file.

    Parameters
    ----------
    file : str
        As the user named it.
    line : int
        1-based; 0 if the problem has no line, such as a file that cannot be read.
    path : Path
        Keys and list positions from the top of the file; empty for the file itself.
    message : str
        What is wrong (what is allowed).

    Examples
    --------
    >>> print(Problem("driftline.yaml", 14, ("models", "churn", "windows", 1), "'5 min' is no duration"))
    driftline.yaml:14: models.churn.windows[1]: '5 min' is no duration
    """

    file: str
    line: int
    path: Path
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, write_path(self.path), self.message) if part)


def write_path(path: Path) -> str:
    """Write a place in the file.

    Examples
    --------
    >>> write_path(("models", "churn", "columns", "n.k", "values", 0))
    'models.churn.columns["n.k"].values[0]'
    """
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif _PLAIN_KEY.fullmatch(key):
            text += f".{key}" if text else key
        else:
            text += f'["{shorten(key)}"]'
    return text


def show(value: Any, path: Path = ()) -> str:
    """Write a value for a message: short, on one line, and never a secret.

    Parameters
    ----------
    value : Any
        As read from the file.
    path : Path
        Where it stands; below a key that sounds like a secret, only ``(hidden)`` is shown. Of an address,
        which may hold credentials anywhere, only the scheme is.

    Examples
    --------
    >>> show("postgresql://ann:hunter2@db/x"), show("abc", ("kafka", "options", "sasl.password")), show(True)
    ("'postgresql://(hidden)'", '(hidden)', 'true')
    """
    if any(isinstance(key, str) and is_secret_name(key) for key in path):
        return "(hidden)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{shorten(_ADDRESS.sub('(hidden)', value))}'"
    if isinstance(value, int | float):
        return shorten(repr(value))
    return "this"


def shorten(text: str) -> str:
    """Cut a text to 60 characters and write what cannot be printed as escapes."""
    printable = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text[:60])
    return printable if len(text) <= 60 else f"{printable}…"


def is_secret_name(key: str) -> bool:
    """Whether a key sounds as if its value were a secret, rather than where a secret is."""
    return bool(_SECRET_NAME.search(key)) and not key.endswith(("_env", "_file"))


def choices(names: Iterable[object]) -> str:
    """Write what is allowed: ``(use a, b, c)``."""
    return f"(use {', '.join(str(name) for name in names)})"


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Find the name that was most likely meant, if any comes close.

    Examples
    --------
    >>> nearest("slize", ["slice", "windows"]), nearest("zebra", ["slice", "windows"])
    ('slice', None)
    """
    by_lower = {name.lower(): name for name in names}
    close = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


class Positions:
    """Lines on which the keys and list items of a file stand.

    Parameters
    ----------
    file : str
        Name of the file, as the user gave it.
    lines : Mapping of Path to int
        1-based line of every key and list item.
    """

    def __init__(self, file: str, lines: Mapping[Path, int]) -> None:
        self.file = file
        self._lines = lines

    def line_of(self, path: Path) -> int:
        """Line of a place, or of the innermost thing around it that is in the file; 1 if there is none."""
        for length in range(len(path), 0, -1):
            line = self._lines.get(path[:length])
            if line is not None:
                return line
        return 1

    def move(self, old: Path, new: Path) -> None:
        """Let what stands at a place, and all in it, be found at another one too."""
        moved = {
            (*new, *path[len(old) :]): line for path, line in self._lines.items() if path[: len(old)] == old
        }
        self._lines = {**self._lines, **moved}

    def problem(self, path: Path, message: str) -> Problem:
        """Make the problem that stands at a place."""
        return Problem(self.file, self.line_of(path), path, message)
