"""Reads requirement locks: every line a name, a version, when it is needed, and the hashes of its files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_PIN = re.compile(
    r"(?P<name>[\w.-]+)==(?P<version>[\w.+!]+)( ; (?P<marker>[\w.!=<>()* ']+?))?"
    r"(?P<hashes>( --hash=sha256:[0-9a-f]{64})+)"
)


@dataclass(frozen=True)
class Pin:
    """One package of a lock.

    Parameters
    ----------
    name : str
        As packages are compared: small letters, dashes.
    version : str
    marker : str
        When it is needed; empty: always.
    hashes : tuple of str
        SHA-256 of its files, in hexadecimal digits; an installer takes any of them.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def normalised(name: str) -> str:
    """Write a name as packages are compared.

    Examples
    --------
    >>> normalised("Ruamel.Yaml")
    'ruamel-yaml'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: Path) -> list[Pin]:
    """Read a lock.

    Raises
    ------
    ValueError
        If a line is anything but a pin with hashes; names file and line.
    """
    found = []
    # A pin goes over several lines, each but the last of which ends in a backslash.
    for line in lock.read_text().replace(" \\\n    ", " ").splitlines():
        match = _PIN.fullmatch(line)
        if match is None:
            msg = f"{lock}: {line[:80]!r} is no pin (name==version, a marker if need be, and --hash=sha256:…)"
            raise ValueError(msg)
        hashes = tuple(part.rpartition(":")[2] for part in match["hashes"].split())
        found.append(Pin(normalised(match["name"]), match["version"], match["marker"] or "", hashes))
    return found
