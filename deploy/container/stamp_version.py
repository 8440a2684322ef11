"""Adds the revision to the version in pyproject.toml: 0.1.0 becomes 0.1.0+g24b46c1bf0d3.

usage: stamp_version.py PYPROJECT REVISION

The version of the distribution is what `driftline --version`, the console, the metrics and every stored
result name. An image has no repository to ask, so it is told. Without a revision the version stays as it is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

REVISION = re.compile(r"([0-9a-f]{7,40})(-dirty)?")
VERSION = re.compile(r'^version = "([0-9.]+)"$', re.MULTILINE)
SHOWN = 12


def stamped(text: str, revision: str) -> str:
    """Text of pyproject.toml with the revision in its version, as a local version (PEP 440).

    Parameters
    ----------
    text : str
        Content of pyproject.toml.
    revision : str
        Commit, 7 to 40 hexadecimal digits; with ``-dirty`` if what is built differs from it. Empty: unknown.

    Raises
    ------
    ValueError
        If the revision is no such thing, or the text has no version to add it to.
    """
    if not revision:
        return text
    found = REVISION.fullmatch(revision)
    if found is None:
        allowed = "use 7 to 40 hexadecimal digits, with -dirty if files differ from it"
        msg = f"REVISION: {revision!r} is not a commit ({allowed})"
        raise ValueError(msg)
    local = f"g{found[1][:SHOWN]}" + (".dirty" if found[2] else "")
    changed, count = VERSION.subn(rf'version = "\1+{local}"', text)
    if count != 1:
        msg = f'pyproject.toml: {count} lines are a version (there has to be one, as version = "1.2.3")'
        raise ValueError(msg)
    return changed


def main(arguments: list[str]) -> None:
    """Stamp the file that the first argument names."""
    path = Path(arguments[0])
    try:
        changed = stamped(path.read_text(encoding="utf-8"), arguments[1])
    except ValueError as error:
        sys.exit(f"stamp_version: {error}")
    path.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
