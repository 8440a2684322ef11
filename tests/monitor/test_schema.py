"""Migrations make exactly the tables that the code uses, on both databases, once, whoever comes first."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import UniqueConstraint, inspect, text

from monitor.store import schema
from monitor.store.engine import create, immediate, reading
from monitor.store.months import PARTITIONED
from monitor.store.tables import metadata
from schemas.errors import StoreError, Unavailable


@pytest.fixture
def engine(bare_database_url):
    engine = create(bare_database_url)
    yield engine
    engine.dispose()


def test_migrations_make_the_tables_of_the_code(engine):
    schema.upgrade(engine)
    with reading(engine) as connection:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "compare_server_default": True, "include_name": _is_no_partition},
        )
        assert compare_metadata(context, metadata) == []


def _is_no_partition(name, kind, _parents):
    return not (
        kind == "table" and name.removesuffix("_default") in PARTITIONED and name not in metadata.tables
    )


def test_nullable_columns_and_keys_are_those_of_the_code(engine):
    schema.upgrade(engine)
    inspector = inspect(engine)
    for table in metadata.sorted_tables:
        found = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
        assert found == {column.name: column.nullable for column in table.columns}
        keys = set(inspector.get_pk_constraint(table.name)["constrained_columns"])
        by = {PARTITIONED[table.name]} if _is_partitioned(engine, table) else set()
        assert keys == {column.name for column in table.primary_key} | by
        unique = {frozenset(one["column_names"]) for one in inspector.get_unique_constraints(table.name)}
        assert unique == {
            frozenset(column.name for column in constraint.columns)
            for constraint in table.constraints
            if isinstance(constraint, UniqueConstraint)
        }


def _is_partitioned(engine, table):
    return engine.dialect.name == "postgresql" and table.name in PARTITIONED


def test_asking_for_a_database_does_not_make_one(tmp_path):
    engine = create(f"sqlite:///{tmp_path / 'typing-error.db'}")
    with pytest.raises(StoreError, match=r"does not exist yet \(run: driftline db upgrade -c FILE\)"):
        schema.require(engine)
    assert list(tmp_path.iterdir()) == []
    engine.dispose()
    engine = create(f"sqlite:///{tmp_path / 'not-mounted' / 'driftline.db'}")
    with pytest.raises(Unavailable, match="unable to open database file"):
        schema.require(engine)
    engine.dispose()


def test_an_empty_database_is_not_current(engine):
    assert schema.revision(engine) is None
    assert not schema.current(engine)
    with pytest.raises(StoreError, match="has no Driftline tables yet"):
        schema.require(engine)


def test_upgrade_is_repeatable(engine):
    assert schema.upgrade(engine) == schema.head() == schema.upgrade(engine)
    assert schema.current(engine)
    schema.require(engine)


def test_many_processes_upgrade_at_once(bare_database_url):
    failures = []

    def work():
        engine = create(bare_database_url)
        try:
            schema.upgrade(engine)
        except Exception as error:
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_newer_database_is_refused_by_a_program_that_is_too_old_for_it(engine):
    schema.upgrade(engine)
    with immediate(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999_later'"))
        connection.execute(text("UPDATE counter SET value = 9999 WHERE name = 'oldest program'"))
    for attempt in (schema.require, schema.upgrade):
        with pytest.raises(StoreError, match="revision 9999_later, which this version does not know"):
            attempt(engine)
    assert not schema.current(engine)


def test_a_failed_upgrade_leaves_nothing_behind(engine):
    with immediate(engine) as connection:
        connection.execute(text("CREATE TABLE window_state (id INTEGER)"))
    with pytest.raises(Exception, match="window_state"):
        schema.upgrade(engine)
    assert inspect(engine).get_table_names() == ["window_state"]
