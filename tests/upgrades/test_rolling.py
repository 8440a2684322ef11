"""Two versions beside each other: the older one goes on where a newer one has added to the tables."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate
from monitor.store.months import AHEAD, PARTITIONED, make_months, months_owned
from schemas.errors import StoreError
from tests.kit.kafka import KafkaCluster
from tests.kit.waiting import PATIENCE_S
from tests.recovery.world import NOW_MS, World
from tests.upgrades import later
from tests.upgrades.mixed import Stage, play


def test_an_older_process_goes_on_while_and_after_a_newer_one_expands_the_tables(engine: Engine) -> None:
    world = World(engine, seed=31, partitions=4)
    old = world.start()
    world.produce(120)
    world.step(old)
    world.produce(60)
    later.expand(engine)
    world.produce(60)
    assert world.step(old)
    other = world.start()
    world.produce(120)
    for member in (old, other):
        assert world.step(member)
    world.leave(old)
    world.settle()
    world.check()
    later.check(engine)


def test_an_older_program_starts_on_tables_that_a_newer_one_left_open_to_it(engine: Engine) -> None:
    later.expand(engine)
    assert schema.require(engine) == later.REVISION
    assert schema.upgrade(engine) == later.REVISION == schema.revision(engine)
    assert not schema.current(engine)


def test_an_older_program_does_not_start_on_tables_that_it_would_break(engine: Engine) -> None:
    later.expand(engine)
    later.close_to(engine, schema.OLDEST + 1)
    for attempt in (schema.require, schema.upgrade):
        with pytest.raises(StoreError, match="revision 9999_later, which this version does not know"):
            attempt(engine)


def test_a_database_of_something_else_is_refused(bare_sqlite_url: str) -> None:
    other = engines.create(bare_sqlite_url)
    with immediate(other) as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('ab12')"))
    for attempt in (schema.require, schema.upgrade):
        with pytest.raises(StoreError, match="revision ab12, which this version does not know"):
            attempt(other)
    other.dispose()


@pytest.mark.acceptance
def test_processes_that_start_at_once_make_the_months_together(bare_postgres_url: str) -> None:
    engines_of_all = [engines.create(bare_postgres_url) for _ in range(4)]
    schema.upgrade(engines_of_all[0])
    barrier = threading.Barrier(len(engines_of_all))

    def start(one: Engine) -> list[str]:
        barrier.wait(PATIENCE_S)
        return make_months(one, NOW_MS)

    with ThreadPoolExecutor(len(engines_of_all)) as pool:
        list(pool.map(start, engines_of_all))
    assert len(months_owned(engines_of_all[0]) or ()) == len(PARTITIONED) * (AHEAD + 1)
    for one in engines_of_all:
        one.dispose()


def test_what_a_migration_writes_names_no_program_that_is_newer_than_its_own() -> None:
    assert int(schema.head().partition("_")[0]) >= schema.OLDEST


@pytest.mark.full
@pytest.mark.acceptance
@pytest.mark.timeout(1_800)
def test_two_versions_read_one_topic_while_the_tables_are_expanded(
    kafka: KafkaCluster, bare_postgres_url: str, tmp_path: Path
) -> None:
    engine = engines.create(bare_postgres_url)
    stage = Stage(
        kafka, bare_postgres_url, "two-versions", tmp_path, os.environ, lambda: later.expand(engine), True
    )
    try:
        play(stage)
        later.check(engine)
    finally:
        engine.dispose()
