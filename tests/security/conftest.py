"""The broker that lets in only whom it knows, and PostgreSQL behind TLS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.secured_kafka import SecuredKafka
from tests.kit.secured_postgres import SecuredPostgres
from tests.security.connections_page import blocks, statements

PASSWORDS = {
    "driftline_owner": "owner-geheim", "driftline_service": "service-geheim",
    "driftline_reader": "reader-geheim",
}  # fmt: skip


@pytest.fixture(scope="session")
def secured_kafka() -> Iterator[SecuredKafka]:
    """One broker for all tests of this folder: take users, topics and groups of your own."""
    with SecuredKafka() as broker:
        yield broker


@pytest.fixture(scope="session")
def secured_postgres() -> Iterator[SecuredPostgres]:
    """One server for all tests of this folder, with the roles and the database of docs/connections.md."""
    with SecuredPostgres(certified="driftline_service") as server:
        as_superuser, in_database, _ = blocks("sql")
        for database, block in (("postgres", as_superuser), ("driftline", in_database)):
            with server.connect(database) as connection:
                for statement in statements(block):
                    connection.execute(statement.encode())
        with server.connect() as connection:
            for role, password in PASSWORDS.items():
                connection.execute(f"ALTER ROLE {role} PASSWORD '{password}'".encode())
        yield server


@pytest.fixture(scope="session")
def database_passwords() -> dict[str, str]:
    """Passwords of the roles of PostgreSQL."""
    return PASSWORDS
