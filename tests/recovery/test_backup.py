"""A database that was restored goes on where it stood: the rest is read from Kafka once more, once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select

from monitor import cli
from monitor.ingest import Ingest
from monitor.judging.judge import Judge
from monitor.performance.judge import OutcomeJudge
from monitor.silence import Silences
from monitor.source.memory import MemorySource
from monitor.store import backup
from monitor.store import engine as databases
from monitor.store.engine import immediate, reading
from monitor.store.positions import Place
from monitor.store.tables import counter, gap, metadata
from schemas.errors import StoreError, Unavailable, UsageError
from tests.kit.postgres import PostgresServer
from tests.monitor.outcome_world import OutcomeWorld
from tests.recovery.world import World

MOVING = {"judged_at_ms", "computed_at_ms", "created_at_ms", "updated_at_ms", "noted_at_ms", "promoted_at_ms"}
WATCHED = (
    "result", "judgement", "performance_value", "alert", "alert_event", "incident", "incident_event",
    "reference_pointer", "window_state", "outcome_window", "ledger", "pending", "truth",
)  # fmt: skip
NUMBERS = {"id", "judgement_id", "look_at_ms", "record_bytes", "not_before_ms"}


def copied(engine: Engine, path: Path) -> Engine:
    """Back a SQLite database up, and open the copy as the service would find it after a restore."""
    backup.back_up(engine, path)
    return databases.create(f"sqlite:///{path}")


# --- positions and counts -----------------------------------------------------------------------------------


def test_all_events_after_the_backup_are_read_again_and_counted_once(
    engine: Engine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    world = World(engine, 41)
    member = world.start()
    world.produce(200)
    world.settle()
    stood = {place: state.next_offset for place, state in world.states().items()}
    with closing_engine(restored(engine, tmp_path, request)) as other:
        world.produce(200)
        world.settle()
        assert {place: state.next_offset for place, state in world.states().items()} != stood
        # Whoever still runs goes on writing to what is lost, and holds the partitions until it leaves.
        world.produce(20)
        world.step(member)
        world.engine = other
        assert {place: state.next_offset for place, state in world.states().items()} == stood
        world.start()
        world.engine = engine
        assert world.commit(member)
        world.leave(member)
        world.engine = other
        world.settle()
        world.check()


def test_a_process_that_lived_through_a_restore_in_place_begins_anew(
    database: Engine, tmp_path: Path
) -> None:
    world = World(database, 43)
    member = world.start()
    world.produce(100)
    world.settle()
    with closing_engine(copied(database, tmp_path / "copy.db")) as copy:
        rows = {table: content(copy, table.name) for table in metadata.sorted_tables}
    world.produce(100)
    world.settle()
    world.produce(50)
    world.step(member)
    with immediate(database) as connection:  # what was there before, with the same epoch and token
        for table, stored in rows.items():
            connection.execute(table.delete())
            if stored:
                connection.execute(insert(table), stored)
    assert world.commit(member)  # fenced: its positions are not those of the database
    world.settle()
    world.check()


def content(engine: Engine, name: str) -> list[dict[str, Any]]:
    with reading(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(select(metadata.tables[name]))]


def restored(engine: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Engine:
    """Back up and restore with the tools of each database, as docs/data.md says."""
    if engine.dialect.name == "sqlite":
        return copied(engine, tmp_path / "copy.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    name, dump = server.create_database(), tmp_path / "driftline.dump"
    request.addfinalizer(lambda: server.drop_database(name))
    server.tool("pg_dump", "--format=custom", f"--file={dump}", str(engine.url.database))
    server.tool("pg_restore", "--exit-on-error", f"--dbname={name}", str(dump))
    return databases.create(server.url(name))


class closing_engine:  # noqa: N801 - reads as the function that it is
    """Dispose an engine at the end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Engine:
        return self._engine

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()


# --- results and messages -----------------------------------------------------------------------------------


class Restored:
    """A service over another database that reads the same topics."""

    def __init__(self, world: OutcomeWorld, engine: Engine) -> None:
        parts = (engine, world.clock, world.parts[2])
        self.ingest = Ingest(world.configuration, engine, MemorySource(world.broker, world.clock), *parts[1:])
        self.judges = Judge(world.configuration, *parts), OutcomeJudge(world.configuration, *parts)
        self.ingest.begin()

    def catch_up(self) -> None:
        """Read and judge all there is."""
        for _ in range(30):
            self.ingest.step()
            self.ingest.commit()
        for judge in self.judges:
            judge.sweep()
        self.ingest.leave()


def test_verdicts_and_messages_after_a_restore_are_those_from_before(sqlite_url: str, tmp_path: Path) -> None:
    world = OutcomeWorld(sqlite_url)
    world.send(0, 80, per_minute=4)
    world.sweep()
    copy = copied(world.engine, tmp_path / "copy.db")
    early = messages(copy)
    world.send(80, 60, per_minute=4, wrong=0.9)
    world.sweep()
    before = {name: said(world.engine, name) for name in WATCHED}
    sent = messages(world.engine)
    assert sent.keys() > early.keys()
    world.close()
    Restored(world, copy).catch_up()
    for name in WATCHED:
        assert said(copy, name) == before[name], name
    assert messages(copy) == sent  # with the same ids, by which receivers know them
    copy.dispose()


def said(engine: Engine, name: str) -> list[str]:
    """Rows without numbers that only the database gives, and without the wall clock."""
    left = MOVING | NUMBERS
    if name in ("alert", "incident", "alert_event"):
        left = left - {"id"}
    return sorted(
        repr({column: value for column, value in row.items() if column not in left})
        for row in content(engine, name)
    )


def messages(engine: Engine) -> dict[str, str]:
    """Messages by id, and the incident that each is about."""
    return {
        row["id"]: f"{row['alert_id']} {row['sequence']} {row['receiver']}"
        for row in content(engine, "outbox")
    }


# --- what Kafka has forgotten -------------------------------------------------------------------------------


def test_what_kafka_has_forgotten_since_the_backup_is_a_gap_and_an_alert(
    sqlite_url: str, tmp_path: Path
) -> None:
    world = OutcomeWorld(sqlite_url)
    world.send(0, 20, per_minute=4)
    copy = copied(world.engine, tmp_path / "copy.db")
    world.send(20, 20, per_minute=4)
    world.close()
    world.broker.trim(Place("pp", 0), 100)
    service = Restored(world, copy)
    service.catch_up()
    with reading(copy) as connection:
        (found,) = connection.execute(select(gap.c.from_offset, gap.c.to_offset, gap.c.reason))
    assert tuple(found) == (80, 100, "offsets 80 to 99 of pp/0 are no longer in Kafka")
    Silences(world.configuration, copy, world.clock, world.parts[2]).sweep()
    assert [(row["kind"], row["state"]) for row in content(copy, "alert")] == [
        ("partition_stopped", "firing")
    ]
    copy.dispose()


# --- the copy -----------------------------------------------------------------------------------------------


@pytest.fixture
def database(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    """A migrated SQLite database, in a folder of its own."""
    path = tmp_path / "live" / "driftline.db"
    path.parent.mkdir()
    shutil.copy(migrated_sqlite, path)
    engine = databases.create(f"sqlite:///{path}")
    yield engine
    engine.dispose()


def test_a_copy_is_whole_while_others_write(database: Engine, tmp_path: Path) -> None:
    written, stop = threading.Event(), threading.Event()
    names: list[str] = []

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with immediate(database) as connection:
                pair = [f"one {number}", f"two {number}"]
                names.extend(pair)
                for name in pair:
                    connection.execute(insert(counter).values(name=name, value=number))
            written.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert written.wait(60)
        sizes = [backup.back_up(database, tmp_path / f"{number}.db") for number in range(3)]
    finally:
        stop.set()
        thread.join()
    for number, size in enumerate(sizes):
        path = tmp_path / f"{number}.db"
        assert path.stat().st_size == size
        with closing_engine(databases.create(f"sqlite:///{path}")) as copy, reading(copy) as connection:
            pairs = connection.execute(
                select(func.count()).where(counter.c.name.in_(names[:1_000])).group_by(counter.c.value)
            )
            assert set(pairs.scalars()) == {2}
    assert {path.name for path in tmp_path.iterdir() if "part" in path.name} == set()


def test_nothing_is_overwritten(database: Engine, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"copy\.db: is there already \(give a name that is free\)"):
        backup.back_up(database, path)
    with pytest.raises(UsageError, match="there is no folder"):
        backup.back_up(database, tmp_path / "nowhere" / "copy.db")
    assert path.read_text() == "mine"


def test_a_copy_that_fails_leaves_nothing(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        msg = "no space left"
        raise OSError(msg)

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(Unavailable, match="no space left"):
            backup.back_up(database, tmp_path / "copy.db")
    assert [path.name for path in tmp_path.iterdir()] == ["live"]


def test_a_damaged_database_is_no_backup(database: Engine, tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    backup.back_up(database, path)
    data = bytearray(path.read_bytes())
    for page in range(4, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    engine = databases.create(f"sqlite:///{path}")
    with pytest.raises(StoreError):
        backup.back_up(engine, tmp_path / "copy.db")
    engine.dispose()
    assert not (tmp_path / "copy.db").exists()


def test_the_command(migrated_sqlite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "driftline.yaml"
    streams = "streams: [{topic: p, kind: predictions}]\nkafka: {bootstrap_servers: 'h:9'}\n"
    file.write_text(f"database_url: sqlite:///{migrated_sqlite}\n{streams}")
    copy = tmp_path / "copy.db"
    assert cli.run(["db", "backup", str(copy), "-c", str(file)]) == 0
    assert capsys.readouterr().out == f"{copy}: {copy.stat().st_size:,} bytes\n"
    assert cli.run(["db", "backup", str(copy), "-c", str(file)]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.acceptance
def test_postgresql_has_tools_of_its_own(postgres_url: str, tmp_path: Path) -> None:
    with closing_engine(databases.create(postgres_url)) as engine, pytest.raises(UsageError, match="pg_dump"):
        backup.back_up(engine, tmp_path / "copy.db")
