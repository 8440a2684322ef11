"""From whatever revision an upgrade starts, no row is lost or changed, and the service goes on with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from fastapi.testclient import TestClient
from sqlalchemy import Engine, func, insert, select

from monitor.clock import ManualClock
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate, reading
from monitor.store.months import make_months
from monitor.store.positions import ensure_counters
from monitor.store.queries.times import watermarks
from monitor.store.tables import metadata
from monitor.telemetry import Telemetry
from monitor.web.app import create_app
from tests.monitor.web_world import NOW_MS, configuration
from tests.upgrades.rows import Row, fill, invent, numbered_by, real_rows, tables_of

REVISIONS = [
    script.revision
    for script in reversed(list(ScriptDirectory.from_config(schema._configuration()).walk_revisions()))
]
PAGES = (
    "/api/v1/models",
    "/api/v1/incidents",
    "/api/v1/models/m/results?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
    "/api/v1/models/m/profile?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
    "/api/v1/dead-letters",
    "/readyz",
    "/",
    "/models/m",
    "/incidents",
)
Kept = dict[str, list[Row]]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return real_rows(f"sqlite:///{tmp_path_factory.mktemp('real') / 'real.db'}")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.acceptance)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Both databases in every run: PostgreSQL has migrations of its own."""
    name = "bare_postgres_url" if request.param == "postgresql" else "bare_sqlite_url"
    made = engines.create(request.getfixturevalue(name))
    yield made
    made.dispose()


def test_rows_of_every_revision_outlast_all_later_ones(engine: Engine, real: Kept) -> None:
    kept: Kept = {}
    for number, revision in enumerate(REVISIONS):
        _migrate(engine, revision)
        _fill(engine, real, kept, number)
    _check(engine, kept)
    assert set(kept) == set(metadata.tables)
    _check_that_it_works(engine)


@pytest.mark.full
@pytest.mark.parametrize("start", REVISIONS)
def test_an_upgrade_from_any_revision_in_one_go(engine: Engine, real: Kept, start: str) -> None:
    kept: Kept = {}
    _migrate(engine, start)
    _fill(engine, real, kept, 0)
    schema.upgrade(engine)
    _check(engine, kept)
    _check_that_it_works(engine)


def _migrate(engine: Engine, revision: str) -> None:
    if revision == schema.head():
        schema.upgrade(engine)
        return
    with immediate(engine) as connection:
        command.upgrade(schema._configuration(connection), revision)


def _fill(engine: Engine, real: Kept, kept: Kept, number: int) -> None:
    """Add rows to each table that has not been there so far, or not in this form."""
    with immediate(engine) as connection:
        for name, table in tables_of(connection).items():
            if name in kept and kept[name][-1].keys() == {*table.columns.keys()}:
                continue
            rows = [] if name in kept else _but_for_what_is_there(real.get(name, []), name)
            kept.setdefault(name, []).extend(fill(connection, table, rows, number))


def _but_for_what_is_there(rows: list[Row], table: str) -> list[Row]:
    """The migration to the newest revision counts who may run beside it; the real rows have that too."""
    return [row for row in rows if (table, row.get("name")) != ("counter", schema.OLDEST_PROGRAM)]


def _check(engine: Engine, kept: Kept) -> None:
    """Each row is there, with the values it had, and what was added to it has its default."""
    with reading(engine) as connection:
        there = tables_of(connection)
        for name, before in kept.items():
            table = there[name]
            after = [dict(row) for row in connection.execute(select(table)).mappings()]
            if name == "counter":
                after = [row for row in after if row["name"] != schema.OLDEST_PROGRAM]
            assert len(after) == len(before), name
            left = [_text(row) for row in after]
            for row in before:
                row |= {key: _default(name, key) for key in table.columns.keys() if key not in row}  # noqa: SIM118
                assert _text(row) in left, (name, row)


def _text(row: Row) -> str:
    return repr(sorted(row.items()))


def _default(table: str, column: str) -> Any:
    default: Any = metadata.tables[table].columns[column].server_default
    if default is None:
        return None
    text = getattr(default.arg, "text", str(default.arg)).strip("'")
    kind = metadata.tables[table].columns[column].type.python_type
    return text not in ("0", "false") if kind is bool else kind(text)


def _check_that_it_works(engine: Engine) -> None:
    schema.require(engine)
    ensure_counters(engine)
    make_months(engine, NOW_MS)
    _check_new_numbers(engine)
    clock, telemetry = ManualClock(NOW_MS), Telemetry()
    configured = configuration(engine.url.render_as_string(hide_password=False))
    with reading(engine) as connection:
        assert watermarks(connection, configured, NOW_MS)
    app = create_app(configured, engine, telemetry, clock)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for page in PAGES:
            answer = client.get(page)
            assert answer.status_code == 200, (page, answer.text)
        assert [model["model"] for model in client.get("/api/v1/models").json()["items"]].count("m") == 1


def _check_new_numbers(engine: Engine) -> None:
    """Rows that are added get numbers that no row had."""
    with immediate(engine) as connection:
        for name, table in tables_of(connection).items():
            counted = numbered_by(name)
            if counted is not None:
                last = connection.execute(select(func.max(table.c[counted]))).scalar()
                new = connection.execute(insert(table).values(invent(table, 9_999, leave_out=True)))
                assert new.inserted_primary_key is not None
                assert last is None or new.inserted_primary_key[0] > last, name
