"""Says under which licences the packages of a lock come, and fails if one is not allowed.

usage: python deploy/supply_chain/licences.py [LOCK]

Reads what is installed beside the interpreter; nothing is fetched. What is not for this platform is named and
not looked at.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from locks import Pin, pins

LOCK = Path("requirements-runtime.lock")
NOT_HERE = "not for this platform"
ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU",
        "PSF-2.0", "Zlib",
        "LicenseRef-Matplotlib",  # that of Python 2 with another name in it
        "LicenseRef-Repoze",  # BSD with a clause on trademarks
        "MPL-2.0",  # files that are changed stay open; certifi's are not changed
    }
)  # fmt: skip
ALLOWED_FOR = {
    # Imported, not changed, and not part of anything that is linked: whoever gets Driftline can replace it.
    "LGPL-3.0-only": frozenset({"psycopg", "psycopg-binary"}),
}
BY_CLASSIFIER = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Repoze Public License": "LicenseRef-Repoze",
}
BY_TEXT = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "MIT License": "MIT",
}
# Their metadata say less than their files do.
BY_NAME = {"matplotlib": "LicenseRef-Matplotlib"}
_IDENTIFIER = re.compile(r"[A-Za-z0-9.-]+")


def expression_of(found: Distribution, name: str) -> str:
    """Write the licence of an installed package as an SPDX expression; empty if it is not known."""
    metadata = found.metadata
    if name in BY_NAME:
        return BY_NAME[name]
    if metadata.get("License-Expression"):
        return str(metadata["License-Expression"])
    text = str(metadata.get("License") or "").strip()
    if text in BY_TEXT:
        return BY_TEXT[text]
    if text in ALLOWED:
        return text
    classifiers = [
        one.rpartition(" :: ")[2] for one in metadata.get_all("Classifier") or () if "License" in one
    ]
    known = sorted({BY_CLASSIFIER[one] for one in classifiers if one in BY_CLASSIFIER})
    return " AND ".join(known)


def is_allowed(expression: str, name: str) -> bool:
    """Whether a licence may come with Driftline. Of several to choose from, one has to be; else all."""
    return bool(expression) and any(
        all(
            part in ALLOWED or name in ALLOWED_FOR.get(part, ())
            for part in _IDENTIFIER.findall(choice)
            if part != "AND"
        )
        for choice in expression.replace("(", "").replace(")", "").split(" OR ")
    )


def licence(pin: Pin) -> str | None:
    """Find the licence of a package; None if it is not for this platform.

    Raises
    ------
    ValueError
        If it is not installed although it is needed, or in another version.
    """
    try:
        found = distribution(pin.name)
    except PackageNotFoundError:
        if pin.marker:
            return None
        msg = f"{pin.name} {pin.version} is not installed (run make setup)"
        raise ValueError(msg) from None
    if found.version != pin.version:
        msg = f"{pin.name} is installed as {found.version}, and the lock has {pin.version} (run make setup)"
        raise ValueError(msg)
    return expression_of(found, pin.name)


def main() -> int:
    """Print a line a package; 1 if a licence is not allowed, or not known."""
    lock = Path(sys.argv[1]) if len(sys.argv) > 1 else LOCK
    refused = []
    try:
        for pin in pins(lock):
            found = licence(pin)
            said = NOT_HERE if found is None else found or "unknown"
            print(f"{pin.name} {pin.version}: {said}")
            if found is not None and not is_allowed(found, pin.name):
                refused.append(f"{pin.name} {pin.version}: {said}")
    except (OSError, ValueError) as error:
        print(f"licences: {error}", file=sys.stderr)
        return 2
    for line in refused:
        print(f"licences: not allowed: {line} (see ALLOWED in {Path(__file__).name})", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
