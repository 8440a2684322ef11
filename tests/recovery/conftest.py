"""Databases for recovery tests: migrated once, emptied between tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from monitor.store import engine as databases
from monitor.store.positions import ensure_counters
from tests.recovery.world import World


@pytest.fixture(scope="session")
def migrated_sqlite(sqlite_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file with counters, to copy."""
    path = tmp_path_factory.mktemp("database") / "migrated.db"
    shutil.copy(sqlite_tables, path)
    engine = databases.create(f"sqlite:///{path}")
    ensure_counters(engine)
    engine.dispose()
    return path


@pytest.fixture(autouse=True)
def _end_of_the_world() -> Iterator[None]:
    """End every process that a test has left running."""
    yield
    World.close_all()


@pytest.fixture
def engine(database_url: str, migrated_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    """An empty, migrated database."""
    if database_url.startswith("sqlite"):
        shutil.copy(migrated_sqlite, tmp_path / "driftline.db")
    made = databases.create(database_url, patience_s=5)
    if not database_url.startswith("sqlite"):
        ensure_counters(made)
    yield made
    made.dispose()
