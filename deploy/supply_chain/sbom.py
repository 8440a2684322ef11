"""Writes what Driftline is made of as CycloneDX 1.6: packages of a lock with version, hashes and licence.

usage: .venv-supply-chain/bin/python deploy/supply_chain/sbom.py [LOCK [FILE]]

Licences are those of the installed packages in .venv. The same lock gives the same bytes if SOURCE_DATE_EPOCH
is given. What is written keeps to the schema of CycloneDX, or nothing is written.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from licences import NOT_HERE
from locks import Pin, normalised, pins
from packageurl import PackageURL

LOCK, FILE = Path("requirements-runtime.lock"), Path("build/driftline.cdx.json")
PRODUCT = Path(".venv/bin/python")


def licences(lock: Path) -> dict[str, str]:
    """Ask the product's environment for the licences, by name and version."""
    asked = [PRODUCT, Path(__file__).with_name("licences.py"), lock]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 - a script of ours
    if done.returncode:
        msg = f"sbom: {done.stderr.strip()}"
        raise SystemExit(msg)
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def component(pin: Pin, licence: str) -> Component:
    """Describe a package; its hashes are those of all files that an installer may take."""
    name = f"pkg:pypi/{pin.name}@{pin.version}"
    return Component(
        name=pin.name,
        version=pin.version,
        bom_ref=name,
        purl=PackageURL("pypi", None, pin.name, pin.version),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in pin.hashes],
        licenses=[] if licence == NOT_HERE else [LicenseExpression(licence)],
    )


def declared() -> dict[str, Any]:
    """Read what pyproject.toml says of the project."""
    about: dict[str, Any] = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    return about


def product() -> Component:
    """Describe Driftline itself."""
    about = declared()
    name, version = about["name"], about["version"]
    return Component(
        name=name,
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref=f"pkg:pypi/{name}@{version}",
        purl=PackageURL("pypi", None, name, version),
        licenses=[LicenseExpression(about["license"])],
    )


def bom(lock: Path) -> Bom:
    """Describe a lock."""
    known = licences(lock)
    components = [component(pin, known[f"{pin.name} {pin.version}"]) for pin in pins(lock)]
    made = Bom(components=components, serial_number=uuid5(NAMESPACE_URL, lock.read_text()))
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    made.metadata.timestamp = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(int(epoch), UTC)
    made.metadata.component = product()
    direct = {normalised(re.split(r"[\[<>=!~; ]", one, maxsplit=1)[0]) for one in declared()["dependencies"]}
    made.register_dependency(made.metadata.component, [one for one in components if one.name in direct])
    return made


def main() -> int:
    """Write the file."""
    given = [Path(one) for one in sys.argv[1:]]
    lock, file = [*given, *(LOCK, FILE)[len(given) :]]
    text = JsonV1Dot6(bom(lock)).output_as_string(indent=2)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        msg = f"sbom: this is no CycloneDX 1.6: {problem}"
        raise SystemExit(msg)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")
    print(f"sbom: {file}: {len(json.loads(text)['components'])} packages of {lock}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
