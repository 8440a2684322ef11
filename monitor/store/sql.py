"""What SQLite and PostgreSQL spell alike but SQLAlchemy keeps apart: insert unless present, insert or add."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def inserting(connection: Connection, table: Table) -> Any:
    """Start an INSERT that can say what to do about conflicts."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows, leaving out those whose key is there already."""
    if rows:
        connection.execute(inserting(connection, table).on_conflict_do_nothing(), rows)


def upsert(
    connection: Connection, table: Table, rows: list[dict[str, Any]], changed: dict[str, Any] | None = None
) -> None:
    """Insert rows, or change those whose primary key is there already.

    Parameters
    ----------
    connection : Connection
    table : Table
    rows : list of dict
        All columns of each row.
    changed : dict, optional
        Expression for each column to change; default: every column that is not part of the key takes the new
        value.
    """
    if not rows:
        return
    statement = inserting(connection, table)
    keys = [column.name for column in table.primary_key]
    if changed is None:
        changed = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)
