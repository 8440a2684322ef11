"""Fixtures that give tests real servers, each started when the first test asks for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Whoever imports one of these first: their assertions say what was compared.
pytest.register_assert_rewrite(
    *(f"tests.recovery.{name}" for name in ("world", "label_world", "pair_world")), "tests.monitor.pair_world"
)

from tests.kit.kafka import KafkaCluster  # noqa: E402 - once assertions are rewritten
from tests.kit.postgres import PostgresServer  # noqa: E402

# Examples are the same in every run, so that a failure comes from the change at hand; `make test-full`
# searches on. Several processes share the machine, so how long one example takes says nothing.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=500, print_blob=True)
settings.load_profile("steady")

_SERVERS = {"kafka", "kafka3", "postgres"}


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster]:
    """One broker for the whole run: take topics of your own, and leave the broker alive."""
    with KafkaCluster(brokers=1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka3() -> Iterator[KafkaCluster]:
    """Three brokers for the whole run: kill what you like and restart it before you leave."""
    with KafkaCluster(brokers=3) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the whole run: take a database of your own, and leave the server running."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """Address of an empty PostgreSQL database, gone after the test."""
    database = postgres.create_database()
    yield postgres.url(database)
    postgres.drop_database(database)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Address of a SQLite database that is not there yet."""
    return f"sqlite:///{tmp_path / 'driftline.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.acceptance)])
def database_url(request: pytest.FixtureRequest) -> str:
    """Address of an empty database; a test that asks for it runs once on SQLite and once on PostgreSQL."""
    fixture = "postgres_url" if request.param == "postgresql" else "sqlite_url"
    url: str = request.getfixturevalue(fixture)
    return url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all tests that need servers on one parallel worker, so that each server is started once."""
    for item in items:
        if _needs_server(item):
            item.add_marker(pytest.mark.xdist_group("servers"))


def _needs_server(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    is_on_postgresql = callspec is not None and callspec.params.get("database_url") == "postgresql"
    return is_on_postgresql or not _SERVERS.isdisjoint(getattr(item, "fixturenames", ()))
