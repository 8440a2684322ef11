"""An upgrade that is killed or kept waiting leaves the database as it was, and can be started again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Engine, select, text

from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate, reading
from schemas.errors import Unavailable
from tests.kit.waiting import PATIENCE_S
from tests.upgrades.rows import Row, fill, tables_of

START = "0013_live_pages"
LAST = f"version_num='{schema.head()}'"
EARLIER = ("marked_by", "version_num='0014", "CREATE INDEX", "INSERT INTO counter")
CONFIGURATION = """
kafka: {{bootstrap_servers: "127.0.0.1:1"}}
database_url: {database}
streams: [{{topic: predictions, kind: predictions}}]
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.acceptance)])
def url(request: pytest.FixtureRequest) -> str:
    """Both databases in every run: a transaction that is cut off is each one's own business."""
    name = "bare_postgres_url" if request.param == "postgresql" else "bare_sqlite_url"
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture
def old(url: str) -> Iterator[Engine]:
    """A database at an older revision, with rows."""
    made = engines.create(url, patience_s=0.3)
    with immediate(made) as connection:
        command.upgrade(schema._configuration(connection), START)
        for table in tables_of(connection).values():
            fill(connection, table, [], 0)
    yield made
    made.dispose()


def test_an_upgrade_that_is_stopped_changes_nothing_and_can_be_started_again(
    old: Engine, url: str, tmp_path: Path
) -> None:
    before = _content(old)
    assert _upgrade(url, tmp_path, LAST).returncode == -signal.SIGKILL
    assert (schema.revision(old), _content(old)) == (START, before)
    _keep_waiting(old, url)
    assert (schema.revision(old), _content(old)) == (START, before)
    assert _upgrades_at_once(url) == [schema.head()] * 3
    assert schema.current(old)


@pytest.mark.full
@pytest.mark.parametrize("statement", EARLIER)
def test_an_upgrade_may_be_killed_at_any_statement(
    old: Engine, url: str, tmp_path: Path, statement: str
) -> None:
    before = _content(old)
    assert _upgrade(url, tmp_path, statement).returncode == -signal.SIGKILL
    assert (schema.revision(old), _content(old)) == (START, before)
    assert schema.upgrade(old) == schema.head()


def _keep_waiting(old: Engine, url: str) -> None:
    """Hold what an upgrade needs, until it has given up."""
    other = engines.create(url)
    with immediate(other) as holding:
        holding.execute(text("DELETE FROM slice_profile WHERE rows < 0"))
        with pytest.raises(Unavailable, match="lock"):
            schema.upgrade(old)
    other.dispose()


def _upgrades_at_once(url: str) -> list[object]:
    found: list[object] = []

    def work() -> None:
        engine = engines.create(url)
        try:
            found.append(schema.upgrade(engine))
        except Exception as error:
            found.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    return found


def _upgrade(url: str, folder: Path, statement: str) -> subprocess.CompletedProcess[str]:
    """Run ``driftline db upgrade``, killed right before such a statement."""
    file = folder / "driftline.yaml"
    file.write_text(CONFIGURATION.format(database=url))
    return subprocess.run(
        [sys.executable, "-m", "tests.upgrades.dying", statement, "db", "upgrade", "-c", str(file)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def _content(engine: Engine) -> dict[str, list[Row]]:
    with reading(engine) as connection:
        return {
            name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for name, table in tables_of(connection).items()
        }
