"""Reads and writes many rows of a table at once: integers, the first of them the key, and a payload.

Values one by one cost more than what the database does with them, so they go over as whole arrays that numpy
has made. SQLite has no arrays: keys are a JSON array, other integers digits of a fixed width in one blob, and
payloads follow each other in another; a row takes its own by its index. PostgreSQL gets rows in the binary
format of COPY, and keys as a binary array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format
from sqlalchemy import BigInteger, Connection, Table
from sqlalchemy.exc import DBAPIError

from detectors.tensor import HashArray, IntArray

Payload = NDArray[np.uint8]

AT_ONCE = 16_384  # rows: no blob comes near the 1 GB that either database allows
INSERTED_AT_ONCE = 512  # on SQLite: longer statements are slower where each row is on a page of its own
_DIGITS = 24  # of an integer: four of sign and spaces, and 20
_FOUR_DIGITS = np.array([f"{number:04d}" for number in range(10_000)], "S4")
_COPY_BEGIN, _COPY_END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_INT8_OID, _INT8_ARRAY_OID = 20, 1016


@dataclass(frozen=True)
class Rows:
    """Rows that were found, with payloads of one length.

    Parameters
    ----------
    columns : dict of str to int64 array [n]
    payload : uint8 array [n, length]
    """

    columns: dict[str, IntArray]
    payload: Payload


def look_up(connection: Connection, table: Table, keys: IntArray) -> list[Rows]:
    """Find all rows with any of the keys.

    Parameters
    ----------
    connection : Connection
    table : Table
        Its columns are `key`, which leads the primary key, other integers, and at the end `payload`.
    keys : int64 array [n]
        Distinct; sorted ones are found faster.
    """
    find = _find_postgresql if connection.dialect.name == "postgresql" else _find_sqlite
    names = table.columns.keys()[:-1]
    return [
        rows
        for first in range(0, len(keys), AT_ONCE)
        for rows in find(connection, table, names, keys[first : first + AT_ONCE])
    ]


def put(
    connection: Connection,
    table: Table,
    columns: Mapping[str, IntArray],
    payload: Payload,
    replaced: NDArray[np.bool_] | None = None,
) -> None:
    """Insert rows.

    Parameters
    ----------
    connection : Connection
        Inside a write transaction.
    table : Table
        As for `look_up`.
    columns : mapping of str to int64 array [n]
        In the table's order; sorted keys are inserted faster.
    payload : uint8 array [n, length]
    replaced : bool array [n], optional
        Rows that are stored already, and take the place of what is; default: none.
    """
    order = list(columns.values())
    is_stored = np.zeros(len(payload), bool) if replaced is None else replaced
    is_postgresql = connection.dialect.name == "postgresql"
    write, at_once = (_copy, AT_ONCE) if is_postgresql else (_insert_sqlite, INSERTED_AT_ONCE)
    for first in range(0, len(payload), at_once):
        part = slice(first, first + at_once)
        write(connection, table, [column[part] for column in order], payload[part], is_stored[part])


# --- SQLite -------------------------------------------------------------------------------------------------


def digits(numbers: IntArray) -> bytes:
    """Write integers as text of a fixed width.

    Examples
    --------
    >>> digits(np.array([-7, 2**63 - 1]))
    b'   -00000000000000000007    09223372036854775807'
    """
    bits: HashArray = numbers.astype(np.int64).view(np.uint64)
    is_negative = numbers < 0
    rest = np.where(is_negative, ~bits + np.uint64(1), bits)
    found = np.empty((len(numbers), _DIGITS // 4), "S4")
    for place in range(_DIGITS // 4 - 1, 0, -1):
        rest, four = np.divmod(rest, np.uint64(10_000))
        found[:, place] = _FOUR_DIGITS[four.astype(np.intp)]
    found[:, 0] = np.where(is_negative, b"   -", b"    ")
    return found.tobytes()


def _insert_sqlite(
    connection: Connection,
    table: Table,
    columns: Sequence[IntArray],
    payload: Payload,
    replaced: NDArray[np.bool_],
) -> None:
    values: list[str] = ["value"]
    given: list[Any] = [_json(columns[0])]
    for column in columns[1:]:
        value, parameter = _value(f"?{len(given) + 1}", column)
        values.append(value)
        given.append(parameter)
    width = payload.shape[1]
    values.append(f"substr(?{len(given) + 1}, key * {width} + 1, {width})")
    verb = "INSERT OR REPLACE" if replaced.any() else "INSERT"
    into = f"{table.name} ({', '.join(table.columns.keys())})"
    statement = f"{verb} INTO {into} SELECT {', '.join(values)} FROM json_each(?1)"  # noqa: S608 - no input
    connection.exec_driver_sql(statement, (*given, payload.tobytes()))


def _value(parameter: str, column: IntArray) -> tuple[str, Any]:
    """Expression for the integer of a row, and its parameter."""
    if (column == column[0]).all():
        return parameter, int(column[0])
    return f"CAST(substr({parameter}, key * {_DIGITS} + 1, {_DIGITS}) AS INTEGER)", digits(column)


def _find_sqlite(
    connection: Connection, table: Table, names: Sequence[str], keys: IntArray
) -> Iterator[Rows]:
    columns = ", ".join(f"stored.{name}" for name in (*names, "payload"))
    query = (
        f"SELECT {columns} FROM json_each(?) AS wanted "  # noqa: S608 - no input
        f"CROSS JOIN {table.name} AS stored ON stored.key = wanted.value"
    )
    found = connection.exec_driver_sql(query, (_json(keys),)).fetchall()
    if not found:
        return
    *numbers, payloads = zip(*found, strict=True)
    columns_ = [np.array(column, np.int64) for column in numbers]
    lengths = np.array([len(payload) for payload in payloads])
    for length in np.unique(lengths).tolist():
        at = np.flatnonzero(lengths == length)
        data = b"".join(payloads if len(at) == len(payloads) else [payloads[i] for i in at.tolist()])
        yield Rows(
            {name: column[at] for name, column in zip(names, columns_, strict=True)},
            np.frombuffer(data, np.uint8).reshape(len(at), length),
        )


def _json(keys: IntArray) -> str:
    return str(keys.tolist())


# --- PostgreSQL ---------------------------------------------------------------------------------------------


class _Keys(bytes):
    """An array of keys as PostgreSQL's binary format has it."""


class _KeysDumper(Dumper):
    format = Format.BINARY
    oid = _INT8_ARRAY_OID

    def dump(self, obj: bytes) -> Buffer:
        return bytes(obj)


def _array(keys: IntArray) -> _Keys:
    """One dimension, no nulls, and the first index is 1; each element after its length."""
    head = np.array([1, 0, _INT8_OID, len(keys), 1], ">i4").tobytes()
    elements = np.zeros(len(keys), [("length", ">i4"), ("key", ">i8")])
    elements["length"], elements["key"] = 8, keys
    return _Keys(head + elements.tobytes())


@contextmanager
def _cursor(connection: Connection) -> Iterator[psycopg.Cursor[Any]]:
    """Give out a cursor of the driver, whose errors are raised as SQLAlchemy would."""
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor(binary=True) as cursor:
            cursor.adapters.register_dumper(_Keys, _KeysDumper)
            yield cursor
    except psycopg.Error as error:
        raise DBAPIError.instance(
            None, None, error, psycopg.Error, hide_parameters=True, dialect=connection.dialect
        ) from error


def _copy(
    connection: Connection,
    table: Table,
    columns: Sequence[IntArray],
    payload: Payload,
    replaced: NDArray[np.bool_],
) -> None:
    names = table.columns.keys()
    kinds = [">i8" if isinstance(table.c[name].type, BigInteger) else ">i4" for name in names[:-1]]
    fields: list[Any] = [("fields", ">i2")]
    for name, kind in zip(names[:-1], kinds, strict=True):
        fields += [(f"{name} length", ">i4"), (name, kind)]
    fields += [("payload length", ">i4"), ("payload", "u1", (payload.shape[1],))]
    rows = np.zeros(len(payload), np.dtype(fields))
    rows["fields"] = len(names)
    for name, column in zip(names, [*columns, payload], strict=True):
        rows[name] = column
        rows[f"{name} length"] = rows.dtype[name].itemsize
    with _cursor(connection) as cursor:
        if replaced.any():
            gone = f"DELETE FROM {table.name} WHERE key = ANY(%s)"  # noqa: S608 - no input
            cursor.execute(gone, (_array(columns[0][replaced]),))
        with cursor.copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(_COPY_BEGIN + rows.tobytes() + _COPY_END)


def _find_postgresql(
    connection: Connection, table: Table, names: Sequence[str], keys: IntArray
) -> Iterator[Rows]:
    """Find rows; the server puts those with payloads of one length together in one value."""
    row = " || ".join([*(f"int8send({name}::bigint)" for name in names), "payload"])
    query = (
        f"SELECT octet_length(payload), string_agg({row}, ''::bytea) FROM {table.name} "  # noqa: S608 - no input
        "WHERE key = ANY(%s) GROUP BY 1"
    )
    with _cursor(connection) as cursor:
        found = cursor.execute(query, (_array(keys),)).fetchall()
    for length, data in found:
        layout = np.dtype([*((name, ">i8") for name in names), ("payload", "u1", (length,))])
        rows = np.frombuffer(data, layout)
        yield Rows({name: rows[name].astype(np.int64) for name in names}, rows["payload"])
