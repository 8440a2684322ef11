"""What the project is made of, read from the files themselves."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import files as files_of
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "detectors", "alerting", "monitor")


def pyproject() -> dict:
    """Return ``pyproject.toml``."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def files() -> list[Path]:
    """List the files that are committed, or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return sorted(path for path in paths if path.is_file())


def modules() -> list[str]:
    """List the modules of all packages, except the migrations, which only Alembic can load."""
    paths = (path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    loadable = (path for path in paths if "migrations" not in path.parts and path.stem != "__main__")
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in loadable)


def distribution_names(requirements: list[str]) -> set[str]:
    """Strip requirements of extras and versions: ``psycopg[binary]>=3.2`` becomes ``psycopg``."""
    return {_normalised(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]) for requirement in requirements}


def foreign_modules(*folders: str) -> dict[str, set[str]]:
    """Map third-party modules to the files in folders that import them."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for name in _imports(path):
                if name.partition(".")[0] not in {*sys.stdlib_module_names, *PACKAGES, "tests"}:
                    found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


def imported_distributions(*folders: str) -> dict[str, set[str]]:
    """Map the distributions that code in folders imports to the files that do."""
    providers = packages_distributions()
    found: dict[str, set[str]] = {}
    for module, paths in foreign_modules(*folders).items():
        name = module.partition(".")[0]
        distribution = _normalised(_provider(module, providers.get(name, [name])))
        found.setdefault(distribution, set()).update(paths)
    return found


def _provider(module: str, distributions: list[str]) -> str:
    """Name the distribution that a module comes from; several may share a name such as ``google``."""
    if len(set(distributions)) == 1:
        return distributions[0]
    path = module.replace(".", "/")
    parts = path, f"{path}.py", f"{path}/__init__.py"
    owned = {name: {str(file) for file in files_of(name) or ()} for name in sorted(set(distributions))}
    found = [name for name, held in owned.items() if held.intersection(parts)]
    below = [name for name, held in owned.items() if any(file.startswith(f"{path}/") for file in held)]
    return [*found, *below, *distributions][0]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
