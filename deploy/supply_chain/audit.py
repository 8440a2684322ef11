"""Asks a vulnerability service about every package of a lock.

usage: .venv-supply-chain/bin/python deploy/supply_chain/audit.py [--service osv|pypi] [LOCK]

Exit code 0: every package was asked about, and none has a known vulnerability. 1: some have; each is named
with the versions that do not. 3: the service cannot be reached, or does not answer for all packages, so
nothing is known.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locks import Pin, pins

LOCK = Path("requirements-runtime.lock")
FINE, VULNERABLE, USAGE, UNKNOWN = 0, 1, 2, 3


@dataclass(frozen=True)
class Answer:
    """What the service said.

    Parameters
    ----------
    vulnerable : list of str
        A line for each vulnerability.
    unanswered : list of str
        Why nothing is known of some packages.
    """

    vulnerable: list[str]
    unanswered: list[str]


def ask(service: str, asked: list[Pin]) -> Answer:
    """Ask about some packages."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "asked.txt"
        lock.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in asked))
        done = subprocess.run(  # noqa: S603 - names and versions of our own lock
            [
                *(sys.executable, "-m", "pip_audit", "--requirement", lock, "--no-deps", "--disable-pip"),
                *("--vulnerability-service", service, "--format", "json", "--progress-spinner", "off"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    if not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or ["no answer"]
        return Answer([], [lines[-1]])
    return read(json.loads(done.stdout), asked)


def read(told: dict[str, Any], asked: list[Pin]) -> Answer:
    """Read an answer; a package that was left out was not found to be sound."""
    found = {one["name"]: one for one in told["dependencies"]}
    unanswered = [
        f"{pin.name} {pin.version}: {found.get(pin.name, {}).get('skip_reason', 'was left out')}"
        for pin in asked
        if "vulns" not in found.get(pin.name, {})
    ]
    vulnerable = [
        f"{name} {one['version']}: {known['id']}, fixed in {', '.join(known['fix_versions']) or 'no version'}"
        for name, one in found.items()
        for known in one.get("vulns", ())
    ]
    return Answer(vulnerable, unanswered)


def main() -> int:
    """Ask, and say what is known."""
    parser = argparse.ArgumentParser(prog="audit")
    parser.add_argument("--service", choices=("osv", "pypi"), default="osv")
    parser.add_argument("lock", nargs="?", type=Path, default=LOCK)
    given = parser.parse_args()
    try:
        everything = pins(given.lock)
    except (OSError, ValueError) as error:
        print(f"audit: {error}", file=sys.stderr)
        return USAGE
    # One first: a service that is away is not asked a hundred times.
    answer = ask(given.service, everything[:1])
    if not answer.unanswered:
        answer = ask(given.service, everything)
    for line in answer.vulnerable:
        print(f"audit: {line}")
    if answer.vulnerable:
        return VULNERABLE
    if answer.unanswered:
        print(
            f"audit: nothing is known: {given.service} does not answer ({answer.unanswered[0]})",
            file=sys.stderr,
        )
        return UNKNOWN
    print(f"audit: {len(everything)} packages of {given.lock}, no known vulnerability")
    return FINE


if __name__ == "__main__":
    sys.exit(main())
