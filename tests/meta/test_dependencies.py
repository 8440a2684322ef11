"""What ``pyproject.toml`` declares is what the code imports, and the locks pin all of it."""

import re

import pytest

from tests.meta.project import PACKAGES, ROOT, distribution_names, imported_distributions, pyproject

PROJECT = pyproject()["project"]
EXTRAS = {name: distribution_names(names) for name, names in PROJECT["optional-dependencies"].items()}
LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-bench.lock")
# What the product is compared with; each has an environment of its own.
PEERS = sorted((ROOT / "deploy" / "setup" / "peers").glob("*.lock"))

# Distributions that are used without an import, and how.
LOADED_BY_NAME = {
    "cramjam": "Faust's Kafka client looks for it to read compressed topics",
    "psycopg": "SQLAlchemy loads it for postgresql+psycopg addresses",
}

# Distributions that belong to a declared one, which fixes their version.
PART_OF = {
    "aiokafka": "faust-streaming",
    "h11": "uvicorn",
    "opentelemetry-proto": "opentelemetry-exporter-otlp-proto-http",
    "mode-streaming": "faust-streaming",
    "pydantic-core": "pydantic",
    "starlette": "fastapi",
}
PIPELINES = "tests/integrations/pipelines/"


def declared_runtime() -> set[str]:
    """Name the runtime dependencies and their parts."""
    return with_parts(distribution_names(PROJECT["dependencies"]))


def with_parts(names: set[str]) -> set[str]:
    """Add what belongs to distributions."""
    return names | {part for part, whole in PART_OF.items() if whole in names}


def locked(lock: str) -> dict[str, str]:
    """Map names to versions in a lock."""
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins}


def test_the_product_imports_only_what_it_declares():
    declared = declared_runtime()
    foreign = {
        name: where for name, where in imported_distributions(*PACKAGES).items() if name not in declared
    }
    places = {"demo": "monitor/demo/", "otel": "monitor/tracing/"}
    outside = {
        name: [
            path
            for path in where
            if not any(name in EXTRAS[extra] and path.startswith(place) for extra, place in places.items())
        ]
        for name, where in foreign.items()
    }
    assert {name: where for name, where in outside.items() if where} == {}


def test_the_product_imports_all_that_it_declares():
    declared = distribution_names(PROJECT["dependencies"])
    assert declared - imported_distributions(*PACKAGES).keys() - LOADED_BY_NAME.keys() == set()


def test_the_tests_import_only_what_is_declared():
    peers = {lock.stem for lock in PEERS}
    declared = with_parts(distribution_names(PROJECT["dependencies"]).union(peers, *EXTRAS.values()))
    assert len(peers) == 4
    found = imported_distributions("tests")
    # What runs inside the orchestrators is imported in their environments alone.
    theirs = {name for name, where in found.items() if all(PIPELINES in file for file in where)}
    assert theirs == {"airflow", "dagster", "prefect"}
    assert found.keys() - theirs - declared == set()


@pytest.mark.parametrize("lock", [*LOCKS, *(str(lock.relative_to(ROOT)) for lock in PEERS)])
def test_locks_hold_versions_and_hashes_and_no_addresses(lock: str):
    # A pin goes over several lines, each but the last of which ends in a backslash.
    lines = (ROOT / lock).read_text().replace(" \\\n    ", " ").splitlines()
    pin = re.compile(r"[\w.-]+==[\w.+!]+( ; [\w.!=<>' ]+)?( --hash=sha256:[0-9a-f]{64})+")
    assert lines
    assert [line for line in lines if not pin.fullmatch(line)] == []


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("requirements.lock", ("demo", "dev")), ("requirements-bench.lock", ("demo", "dev", "bench"))],
)
def test_locks_pin_every_declared_dependency(lock: str, extras: tuple[str, ...]):
    declared = distribution_names(PROJECT["dependencies"]).union(*(EXTRAS[extra] for extra in extras))
    assert declared - locked(lock).keys() == set()


def test_locks_agree_on_the_build_backend():
    versions = {locked(lock)["setuptools"] for lock in LOCKS}
    assert len(versions) == 1
