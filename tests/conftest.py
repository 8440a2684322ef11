"""Fixtures that give tests real servers, each started when the first test asks for it."""

import logging
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser

# Whoever imports one of these first: their assertions say what was compared.
pytest.register_assert_rewrite(
    *(f"tests.recovery.{name}" for name in ("world", "label_world", "pair_world")), "tests.monitor.pair_world"
)

from monitor.store import engine as engines  # noqa: E402 - once assertions are rewritten
from monitor.store import schema  # noqa: E402
from tests.kit.browser import chromium  # noqa: E402 - once assertions are rewritten
from tests.kit.kafka import KafkaCluster  # noqa: E402 - once assertions are rewritten
from tests.kit.postgres import PostgresServer  # noqa: E402

# Examples are the same in every run, so that a failure comes from the change at hand; `make test-full`
# searches on. Several processes share the machine, so how long one example takes says nothing.
settings.register_profile("steady", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("search", deadline=None, max_examples=500, print_blob=True)
settings.load_profile("steady")

_BROKERS = {"kafka", "kafka3"}


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
    """One server for the whole run: take a database of your own, and leave the server running.

    No test cuts the power, so nothing waits for a disk that others keep busy.
    """
    with PostgresServer(fsync=False) as server:
        yield server


@pytest.fixture
def bare_postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """Address of a PostgreSQL database without tables, gone after the test."""
    database = postgres.create_database()
    yield postgres.url(database)
    postgres.drop_database(database)


@pytest.fixture(scope="session")
def postgres_tables(postgres: PostgresServer) -> str:
    """A PostgreSQL database with all tables, to copy."""
    database = postgres.create_database()
    make_tables(postgres.url(database))
    return database


@pytest.fixture
def postgres_url(postgres: PostgresServer, postgres_tables: str) -> Iterator[str]:
    """Address of a PostgreSQL database with all tables and no rows, gone after the test."""
    database = postgres.create_database(postgres_tables)
    yield postgres.url(database)
    postgres.drop_database(database)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for the whole run: open windows of your own."""
    with chromium() as running:
        yield running


@pytest.fixture(autouse=True)
def logs_go_where_they_went() -> Iterator[None]:
    """Take back what a command has set up: its log would go to a stream that is closed after its test."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in before:
            root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def bare_sqlite_url(tmp_path: Path) -> str:
    """Address of a SQLite database that is not there yet."""
    return f"sqlite:///{tmp_path / 'driftline.db'}"


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with all tables, to copy."""
    path = tmp_path_factory.mktemp("tables") / "driftline.db"
    make_tables(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(bare_sqlite_url: str, sqlite_tables: Path, tmp_path: Path) -> str:
    """Address of a SQLite database with all tables and no rows."""
    shutil.copy(sqlite_tables, tmp_path / "driftline.db")
    return bare_sqlite_url


_BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.acceptance)]


@pytest.fixture(params=_BOTH)
def database_url(request: pytest.FixtureRequest) -> str:
    """Address of a database with all tables; who asks for it runs once on SQLite and once on PostgreSQL."""
    url: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "sqlite_url")
    return url


@pytest.fixture(params=_BOTH)
def bare_database_url(request: pytest.FixtureRequest) -> str:
    """The same without tables."""
    postgres = request.param == "postgresql"
    url: str = request.getfixturevalue("bare_postgres_url" if postgres else "bare_sqlite_url")
    return url


def make_tables(url: str) -> None:
    """Make all tables: copying them is ten times as fast."""
    engine = engines.create(url)
    schema.upgrade(engine)
    engine.dispose()


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests together, on one parallel worker, that share what is slow to make.

    These are brokers, so that each cluster is started once, and whatever the tests of a module share. A
    PostgreSQL server starts in a second: each worker has its own, and its tests go where there is time. Of
    the tests for both databases a quarter runs on PostgreSQL in `make test`, all of them in `make test-full`.
    """
    names = {item.nodeid for item in items}
    for item in items:
        twin = item.nodeid.replace("postgresql", "sqlite")
        function = item.nodeid.partition("[")[0]
        if twin != item.nodeid and twin in names and zlib.crc32(function.encode()) % 4:
            item.add_marker(pytest.mark.full)
        if not _BROKERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("brokers"))
        elif item.get_closest_marker("xdist_group") is None and _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _shares(item: pytest.Item) -> bool:
    """Whether a test uses something that is made once for its module."""
    info = getattr(item, "_fixtureinfo", None)
    return info is not None and any(
        definitions[-1].scope == "module" for definitions in info.name2fixturedefs.values()
    )
