"""PostgreSQL keeps the large tables by months, and drops those that nobody needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from monitor.retention.sweep import Retention
from monitor.store import schema
from monitor.store.engine import create, immediate, reading
from monitor.store.months import PARTITIONED, drop_months, make_months, month_of, months_owned
from monitor.telemetry import Telemetry
from tests.monitor.outcome_world import START_MS, OutcomeWorld
from tests.monitor.test_retention import after, alerted, made_world

JANUARY = ("slice_profile_2026_01", "outcome_slice_2026_01", "judgement_2026_01", "result_2026_01")
DAY_MS = 86_400_000


@pytest.fixture
def world(postgres_url: str) -> Iterator[OutcomeWorld]:
    """A world whose events come into the partitions of their month."""
    engine = create(postgres_url)
    schema.upgrade(engine)
    made = make_months(engine, START_MS)
    assert set(JANUARY) <= set(made)
    assert len(made) == 4 * len(PARTITIONED)
    engine.dispose()
    world = made_world(postgres_url)
    yield world
    world.close()


def rows(world: OutcomeWorld, table: str) -> int:
    return int(world.rows(f"SELECT count(*) FROM {table}")[0][0])


def names(world: OutcomeWorld) -> set[str]:
    return {month.name for month in months_owned(world.engine) or ()}


@pytest.mark.acceptance
def test_rows_are_in_their_month_and_the_month_goes_but_for_what_alerts_rest_on(world: OutcomeWorld) -> None:
    assert all(rows(world, name) > 0 for name in JANUARY)
    assert [rows(world, f"{table}_default") for table in PARTITIONED] == [0, 0, 0, 0]
    assert make_months(world.engine, START_MS) == []  # they are there
    ranges = alerted(world)
    swept = after(world, 60)
    assert swept.counts > 0
    assert names(world).isdisjoint(JANUARY)
    for table, by in PARTITIONED.items():
        left = [int(row[0]) for row in world.rows(f"SELECT {by} FROM {table}")]
        assert left, table
        assert all(any(a <= at < b for a, b in ranges) for at in left), table
        assert rows(world, f"{table}_default") == len(left)


@pytest.mark.acceptance
def test_a_month_that_a_model_still_needs_stays(world: OutcomeWorld) -> None:
    def nothing(_table: str, _key: tuple[str, str]) -> int | None:
        return None

    def almost(table: str, _key: tuple[str, str]) -> int:
        return month_of(table, 2026, 1).to_ms - 1

    for cut_of in (nothing, almost):
        assert drop_months(world.engine, cut_of, lambda _key: []) == 0
        assert set(JANUARY) <= names(world)


@pytest.mark.acceptance
def test_what_holds_a_table_holds_no_one_else_up(
    world: OutcomeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.store.months.LOCK_PATIENCE", "200ms")
    with reading(world.engine) as connection:
        connection.execute(text("SELECT count(*) FROM result"))  # its lock is held until the end
        dropped = drop_months(
            world.engine, lambda table, _: 2**62 if table == "result" else None, lambda _: []
        )
    assert dropped == 0
    assert "result_2026_01" in names(world)
    before = rows(world, "result")
    dropped = drop_months(world.engine, lambda table, _: 2**62 if table == "result" else None, lambda _: [])
    assert dropped == before > 0
    assert rows(world, "result") == 0


@pytest.mark.acceptance
def test_rows_from_before_a_partition_stay_in_the_default_one(postgres_url: str) -> None:
    world = made_world(postgres_url)
    try:
        assert names(world) == set()
        before = rows(world, "result")
        made = make_months(world.engine, START_MS)
        assert made
        assert set(made).isdisjoint(JANUARY)
        assert rows(world, "result_default") == before
        swept = after(world, 60)  # removed one by one
        assert swept.results > 0
        assert rows(world, "result") < before
    finally:
        world.close()


@pytest.mark.acceptance
def test_a_role_that_only_uses_the_tables_leaves_months_alone_and_removes_rows(world: OutcomeWorld) -> None:
    with immediate(world.engine) as connection:
        connection.execute(text("DROP ROLE IF EXISTS months_user"))
        connection.execute(text("CREATE ROLE months_user LOGIN PASSWORD 'x'"))
        connection.execute(
            text("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO months_user")
        )
        connection.execute(text("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO months_user"))
    url = world.engine.url.set(username="months_user", password="x")
    user = create(url.render_as_string(hide_password=False))
    try:
        assert months_owned(user) is None
        assert make_months(user, START_MS + 400 * DAY_MS) == []
        world.clock.advance(60 * DAY_MS)
        before = rows(world, "result")
        swept = Retention(world.configuration, user, world.clock, Telemetry()).sweep()
        assert swept.results > 0
        assert rows(world, "result") < before
        assert set(JANUARY) <= names(world)
    finally:
        user.dispose()
        with immediate(world.engine) as connection:
            connection.execute(text("DROP OWNED BY months_user"))
            connection.execute(text("DROP ROLE months_user"))


def test_sqlite_has_no_months(sqlite_url: str) -> None:
    engine = create(sqlite_url)
    schema.upgrade(engine)
    assert months_owned(engine) is None
    assert make_months(engine, START_MS) == []
    assert drop_months(engine, lambda _table, _key: 2**62, lambda _key: []) == 0
    engine.dispose()
