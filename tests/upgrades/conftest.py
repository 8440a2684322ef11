"""Databases for tests of upgrades: those of the recovery tests."""

from tests.recovery.conftest import _end_of_the_world, engine, migrated_sqlite

__all__ = ["_end_of_the_world", "engine", "migrated_sqlite"]
