"""PostgreSQL behind TLS, with the three roles of docs/connections.md."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from monitor import cli
from monitor.store import schema
from monitor.store.engine import create, reading
from schemas.errors import StoreError, Unavailable
from tests.kit.certificates import Authority
from tests.kit.secured_postgres import SecuredPostgres
from tests.security.connections_page import blocks, statements

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("secured")]


@pytest.fixture(scope="module")
def tables(secured_postgres: SecuredPostgres, database_passwords: dict[str, str]) -> SecuredPostgres:
    """The database with its tables, made by their owner, and with all that the page takes away."""
    engine = create(address(secured_postgres, "driftline_owner", database_passwords))
    schema.upgrade(engine)
    engine.dispose()
    with secured_postgres.connect("driftline") as connection:
        for statement in statements(blocks("sql")[2]):
            connection.execute(statement.encode())
    return secured_postgres


def address(server: SecuredPostgres, role: str, passwords: dict[str, str], **changes: str) -> str:
    """Address that checks the server, and shows the role's certificate."""
    client = server.authority.issue(role)
    client.key.chmod(0o600)
    parameters = {
        "sslmode": "verify-full", "sslrootcert": str(server.authority.certificate),
        "sslcert": str(client.certificate), "sslkey": str(client.key),
    }  # fmt: skip
    return server.address(role, passwords[role], "driftline", **{**parameters, **changes})


def libpq(url: str) -> str:
    return url.replace("postgresql+psycopg", "postgresql")


def test_every_connection_is_encrypted_and_the_service_shows_a_certificate(
    tables: SecuredPostgres, database_passwords: dict[str, str]
):
    with psycopg.connect(libpq(address(tables, "driftline_service", database_passwords))) as connection:
        found = connection.execute(
            "SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).fetchone()
    assert found == (True, "/CN=driftline_service")


@pytest.mark.parametrize(
    ("statement", "is_allowed"),
    [
        ("SELECT count(*) FROM result", True),
        ("DELETE FROM result", True),
        ("DROP TABLE result", False),
        ("ALTER TABLE result ADD COLUMN x int", False),
        ("TRUNCATE result", False),
        ("CREATE TABLE mine (x int)", False),
        ("CREATE SCHEMA mine", False),
        ("UPDATE alembic_version SET version_num = 'x'", False),
        ("CREATE ROLE other", False),
    ],
)
def test_the_service_works_on_rows_and_not_on_tables(
    tables: SecuredPostgres, database_passwords: dict[str, str], statement: str, is_allowed: bool
):
    with psycopg.connect(libpq(address(tables, "driftline_service", database_passwords))) as connection:
        if is_allowed:
            connection.execute(statement.encode())
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
        connection.rollback()


@pytest.mark.parametrize(
    ("statement", "is_allowed"),
    [
        ("SELECT count(*) FROM result", True),
        ("SELECT count(*) FROM api_token", False),
        ("SELECT count(*) FROM session", False),
        ("SELECT count(*) FROM dead_letter", False),
        ("DELETE FROM result", False),
    ],
)
def test_readers_read_and_see_neither_tokens_nor_messages(
    tables: SecuredPostgres, database_passwords: dict[str, str], statement: str, is_allowed: bool
):
    with psycopg.connect(libpq(address(tables, "driftline_reader", database_passwords))) as connection:
        if is_allowed:
            connection.execute(statement.encode())
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
        connection.rollback()


def test_tables_of_later_versions_are_the_services_too(
    tables: SecuredPostgres, database_passwords: dict[str, str]
):
    owner, service, reader = (
        libpq(address(tables, f"driftline_{role}", database_passwords))
        for role in ("owner", "service", "reader")
    )
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("CREATE TABLE later (id serial PRIMARY KEY, x int)")
    try:
        with psycopg.connect(service) as connection:
            connection.execute("INSERT INTO later (x) VALUES (1)")
        with psycopg.connect(reader) as connection:
            assert connection.execute("SELECT x FROM later").fetchall() == [(1,)]
    finally:
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute("DROP TABLE later")


def test_a_role_that_may_not_upgrade_says_who_has_to(
    tables: SecuredPostgres,
    database_passwords: dict[str, str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):
    (tmp_path / "url").write_text(address(tables, "driftline_service", database_passwords))
    path = tmp_path / "driftline.yaml"
    path.write_text(f"""
kafka: {{bootstrap_servers: "127.0.0.1:1"}}
database_url_file: {tmp_path}/url
streams: [{{topic: x, kind: predictions}}]
""")
    assert cli.run(["db", "upgrade", "-c", str(path)]) == cli.FINE
    assert "already" in capfd.readouterr().out
    with tables.connect("driftline") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0015_pages'")
    try:
        assert cli.run(["db", "upgrade", "-c", str(path)]) == cli.UNAVAILABLE
        said = capfd.readouterr().err
        assert cli.run(["run", "-c", str(path)]) == cli.UNAVAILABLE
        assert "as the role that owns the tables" in capfd.readouterr().err
    finally:
        with tables.connect("driftline") as connection:
            connection.execute(f"UPDATE alembic_version SET version_num = '{schema.head()}'".encode())
    assert "(run: driftline db upgrade -c FILE) as the role that owns the tables" in said
    assert "Traceback" not in said
    assert database_passwords["driftline_service"] not in said


@pytest.mark.parametrize(
    ("role", "changes", "password", "expected"),
    [
        ("driftline_service", {"sslrootcert": "OTHER"}, None, "certificate verify failed"),
        ("driftline_service", {"sslmode": "disable", "sslrootcert": ""}, None, "no encryption"),
        ("driftline_service", {"sslcert": "/nowhere", "sslkey": "/nowhere"}, None, "certificate"),
        ("driftline_owner", {}, "not-the-password", "password authentication failed"),
    ],
    ids=["authority", "plain", "no certificate", "password"],
)
def test_what_is_wrong_with_a_connection_is_said_without_the_password(
    secured_postgres: SecuredPostgres, database_passwords: dict[str, str], tmp_path: Path,
    role: str, changes: dict[str, str], password: str | None, expected: str,
):  # fmt: skip
    other = Authority(tmp_path, "other")
    given = {k: str(other.certificate) if v == "OTHER" else v for k, v in changes.items()}
    passwords = {role: password or database_passwords[role]}
    url = address(secured_postgres, role, passwords, **given)
    engine = create(url)
    try:
        with pytest.raises(Unavailable, match=expected) as caught, reading(engine):
            pass
    finally:
        engine.dispose()
    assert f"{role}@127.0.0.1" in str(caught.value)
    assert passwords[role] not in str(caught.value)


def test_a_right_that_is_missing_is_something_to_wait_for(
    tables: SecuredPostgres, database_passwords: dict[str, str]
):
    engine = create(address(tables, "driftline_reader", database_passwords))
    try:
        with (
            pytest.raises(StoreError, match="permission denied for table api_token"),
            reading(engine) as open_,
        ):
            open_.exec_driver_sql("SELECT * FROM api_token")
    finally:
        engine.dispose()
