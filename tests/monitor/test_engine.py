"""The engine on SQLite and PostgreSQL: durable, serial writers, snapshots, errors that mean "away"."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from monitor.store.engine import create, describe, immediate, reading
from schemas.errors import StoreError, Unavailable, UsageError
from tests.kit.ports import free_port


@pytest.fixture
def engine(database_url):
    engine = create(database_url)
    with immediate(engine) as connection:
        connection.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)"))
        connection.execute(text("INSERT INTO t VALUES (1, 0)"))
    yield engine
    engine.dispose()


def lose_connection(connection, killer):
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with immediate(killer) as other:
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    connection.execute(text("SELECT 1"))


def fill_disk(connection):
    connection.execute(text("CREATE TABLE t (b BLOB)"))
    connection.exec_driver_sql("PRAGMA max_page_count = 4")
    connection.execute(text("INSERT INTO t VALUES (zeroblob(1000000))"))


def execute_and_fail(engine, *statements):
    with immediate(engine) as connection:
        for statement in statements:
            connection.execute(text(statement))
        raise ZeroDivisionError


def value(engine):
    with reading(engine) as connection:
        return connection.execute(text("SELECT value FROM t WHERE id = 1")).scalar_one()


def test_writes_are_committed_at_the_end_of_the_block(engine):
    with immediate(engine) as connection:
        connection.execute(text("UPDATE t SET value = 7"))
    assert value(engine) == 7


def test_an_exception_rolls_everything_back(engine):
    with pytest.raises(ZeroDivisionError):
        execute_and_fail(engine, "UPDATE t SET value = 7", "INSERT INTO t VALUES (2, 2)")
    assert value(engine) == 0


def test_tables_are_created_in_the_transaction(engine):
    with pytest.raises(ZeroDivisionError):
        execute_and_fail(engine, "CREATE TABLE u (id INTEGER)")
    with immediate(engine) as connection:
        connection.execute(text("CREATE TABLE u (id INTEGER)"))


def test_concurrent_read_and_write_loses_no_update(engine):
    """Reading first and writing later fails or loses updates in SQLite unless the lock is taken at once."""
    lock = "" if engine.dialect.name == "sqlite" else " FOR UPDATE"

    def work():
        for _ in range(25):
            with immediate(engine) as connection:
                seen = connection.execute(text(f"SELECT value FROM t WHERE id = 1{lock}")).scalar_one()
                connection.execute(text("UPDATE t SET value = :v WHERE id = 1"), {"v": seen + 1})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(engine) == 100


def test_a_reader_sees_one_snapshot_and_does_not_wait_for_the_writer(engine):
    with reading(engine) as reader:
        before = reader.execute(text("SELECT value FROM t")).scalar_one()
        with immediate(engine) as writer:
            writer.execute(text("UPDATE t SET value = 7"))
            assert reader.execute(text("SELECT value FROM t")).scalar_one() == before
        assert reader.execute(text("SELECT value FROM t")).scalar_one() == before
    assert value(engine) == 7


def test_mistakes_of_ours_pass_unchanged(engine):
    with pytest.raises(DBAPIError), immediate(engine) as connection:
        connection.execute(text("SELECT * FROM nowhere"))
    with pytest.raises(IntegrityError), immediate(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (1, 1)"))
    assert value(engine) == 0


def test_values_stay_out_of_errors(engine):
    with pytest.raises(DBAPIError) as caught, immediate(engine) as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:v)"), {"v": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_lock_held_too_long_means_unavailable(engine):
    impatient = create(engine.url.render_as_string(hide_password=False), patience_s=0.2)
    with immediate(engine) as holder:
        holder.execute(text("UPDATE t SET value = 1"))
        with pytest.raises(Unavailable, match="lock"), immediate(impatient) as connection:
            connection.execute(text("UPDATE t SET value = 2"))
    impatient.dispose()
    assert value(engine) == 1


def test_an_exhausted_pool_means_unavailable(engine):
    small = create(engine.url.render_as_string(hide_password=False), patience_s=0.1)
    held = [small.connect() for _ in range(15)]
    with pytest.raises(Unavailable, match="no free connection"), reading(small):
        pass
    for connection in held:
        connection.close()
    small.dispose()


def test_sqlite_is_durable_and_concurrent(sqlite_url):
    with create(sqlite_url).connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_many_connections_open_a_new_sqlite_file_at_once(sqlite_url):
    failures = []

    def work():
        try:
            with immediate(create(sqlite_url)) as connection:
                connection.execute(text("CREATE TABLE IF NOT EXISTS t (id INTEGER)"))
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_sqlite_file_that_cannot_be_opened(tmp_path):
    with (
        pytest.raises(Unavailable, match="unable to open database file"),
        reading(create(f"sqlite:///{tmp_path}")),
    ):
        pass


def test_a_file_that_is_no_database(tmp_path):
    file = tmp_path / "driftline.db"
    file.write_bytes(b"no database" * 1_000)
    with pytest.raises(StoreError, match="not a database") as caught, reading(create(f"sqlite:///{file}")):
        pass
    assert not isinstance(caught.value, Unavailable)


def test_a_disk_that_is_full(sqlite_url):
    engine = create(sqlite_url)
    with pytest.raises(Unavailable, match="full"), immediate(engine) as connection:
        fill_disk(connection)


def test_nobody_listens():
    url = f"postgresql+psycopg://ann:hunter2@127.0.0.1:{free_port()}/x?password=hunter2"
    with pytest.raises(Unavailable, match="refused") as caught, reading(create(url)):
        pass
    assert "hunter2" not in str(caught.value)


@pytest.mark.acceptance
def test_a_wrong_password_is_not_repeated(postgres_url):
    url = make_url(postgres_url).set(password="hunter2")
    with (
        pytest.raises(Unavailable, match="password authentication failed") as caught,
        reading(create(url.render_as_string(hide_password=False))),
    ):
        pass
    assert "hunter2" not in str(caught.value)


@pytest.mark.acceptance
def test_a_lost_connection_means_unavailable_and_the_next_one_works(postgres_url):
    engine = create(postgres_url)
    killer = create(postgres_url)
    with pytest.raises(Unavailable), immediate(engine) as connection:
        lose_connection(connection, killer)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
        name = connection.execute(text("SHOW application_name")).scalar_one()
    assert name == "driftline"
    engine.dispose()
    killer.dispose()


@pytest.mark.acceptance
def test_reading_cannot_write_in_postgresql(postgres_url):
    engine = create(postgres_url)
    with pytest.raises(DBAPIError, match="read-only"), reading(engine) as connection:
        connection.execute(text("CREATE TABLE t (id INTEGER)"))
    with immediate(engine) as connection:
        connection.execute(text("CREATE TABLE t (id INTEGER)"))
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite:///x", "postgresql://a:hunter2@b/c", "x"]
)
def test_other_urls_are_refused(url):
    with pytest.raises(UsageError, match=r"\(use sqlite:///") as caught:
        create(url)
    assert "hunter2" not in str(caught.value)


def test_describe_hides_what_may_be_secret(tmp_path: Path):
    url = make_url("postgresql+psycopg://ann:hunter2@db:5432/x?password=hunter2&sslmode=require")
    assert describe(url) == "postgresql+psycopg://ann@db:5432/x"
    assert describe(make_url(f"sqlite:///{tmp_path}/a.db")) == f"sqlite:///{tmp_path}/a.db"
