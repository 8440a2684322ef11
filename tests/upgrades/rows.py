"""Rows for every table that a database has: real ones where the service makes some, and invented ones."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    insert,
    inspect,
    select,
)
from sqlalchemy.dialects import sqlite

from monitor.store import tables
from monitor.store.engine import reading
from monitor.store.months import PARTITIONED
from tests.monitor.web_world import World

Row = dict[str, Any]
LONGEST = 40  # of an invented text; shorter where a column is


def real_rows(sqlite_url: str) -> dict[str, list[Row]]:
    """What the service writes of some slices, a judged window and its alerts, by table."""
    world = World(sqlite_url)
    world.add(range(10))
    world.learn(range(10))
    world.add(range(10, 20), dead=[("undecodable", b"\x00\xff{")])
    world.judge(10)
    world.alert()
    with reading(world.engine) as connection:
        found = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in tables.metadata.sorted_tables
        }
    world.engine.dispose()
    return {name: rows for name, rows in found.items() if rows}


def tables_of(connection: Connection) -> dict[str, Table]:
    """Tables that there are; partitions are parts of theirs."""
    partitions = re.compile(f"({'|'.join(PARTITIONED)})_(default|[0-9]{{4}}_[0-9]{{2}})")
    names = [
        name
        for name in inspect(connection).get_table_names()
        if name != "alembic_version" and not partitions.fullmatch(name)
    ]
    metadata = MetaData()
    metadata.reflect(connection, only=names)
    return dict(metadata.tables)


def fill(connection: Connection, table: Table, rows: list[Row], number: int) -> list[Row]:
    """Add the rows that fit into a table, and two that were never there; returns all as they are stored.

    Parameters
    ----------
    rows : list of dict
        Real ones, maybe of a later revision with further columns, which are left out.
    number : int
        Different at each call for a table.
    """
    own = numbered_by(table.name)  # the database gives the same numbers again
    known = [{key: row[key] for key in row if key in table.columns and key != own} for row in rows]
    invented = [invent(table, 2 * number + i, leave_out=bool(i)) for i in range(2)]
    added = []
    for row in [*known, *invented]:
        key = connection.execute(insert(table).values(row)).inserted_primary_key
        assert key is not None
        is_it = [column == value for column, value in zip(table.primary_key.columns, key, strict=True)]
        added.append(dict(connection.execute(select(table).where(*is_it)).mappings().one()))
    return added


def numbered_by(table: str) -> str | None:
    """Name of the column that the database counts up."""
    column = tables.metadata.tables[table].columns.get("id")
    if column is None or not isinstance(column.type, BigInteger):
        return None
    return "id" if column.type.compile(sqlite.dialect()) == "INTEGER" else None


def invent(table: Table, number: int, *, leave_out: bool) -> Row:
    """A row with a value in each column, or only in those that need one."""
    row = {}
    for column in table.columns:
        is_given = column.name != numbered_by(table.name)
        if is_given and not (leave_out and (column.nullable or column.server_default is not None)):
            row[column.name] = _value(column, number, is_key=_is_key(table, column))
    return row


def _value(column: Column[Any], number: int, *, is_key: bool) -> Any:
    kind = column.type
    if isinstance(kind, Boolean):
        return bool(number % 2)
    if isinstance(kind, Integer):
        return 1_500_000_000 + number if is_key else number
    if isinstance(kind, Float):
        return number + 0.1
    if isinstance(kind, LargeBinary):
        return bytes((number + i) % 256 for i in range(300))
    text = f"{number}é'\"%:\\n{column.name}" if is_key else "[]"
    return text[: min(getattr(kind, "length", None) or LONGEST, LONGEST)]


def _is_key(table: Table, column: Column[Any]) -> bool:
    unique = [one.columns for one in table.constraints if isinstance(one, UniqueConstraint)]
    unique += [index.columns for index in table.indexes if index.unique]
    return column.primary_key or any(column.name in columns for columns in unique)
