"""Messages that could not be taken in, newest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, LargeBinary, func, select

from monitor.store.tables import dead_letter


def dead_letters(
    connection: Connection,
    topic: str | None,
    kind: str | None,
    after: int | None,
    limit: int,
    shown_bytes: int,
) -> list[Any]:
    """List dead letters with the beginning of their value.

    Parameters
    ----------
    topic, kind : str or None
        Only those; None: all.
    after : int or None
        Id of the last one seen.
    limit : int
        Most letters.
    shown_bytes : int
        Bytes of each value that are read.

    Returns
    -------
    list of rows
        All columns; ``value`` may be cut, ``stored_bytes`` says how much of it there is.
    """
    columns = dead_letter.c
    query = _selected(func.substr(columns.value, 1, shown_bytes, type_=LargeBinary))
    if topic is not None:
        query = query.where(columns.topic == topic)
    if kind is not None:
        query = query.where(columns.kind == kind)
    if after is not None:
        query = query.where(columns.id < after)
    return list(connection.execute(query.order_by(columns.id.desc()).limit(limit)))


def dead_letter_of(connection: Connection, id_: int) -> Any | None:
    """Read one dead letter whole; None if there is none of that id."""
    query = _selected(dead_letter.c.value).where(dead_letter.c.id == id_)
    return connection.execute(query).one_or_none()


def _selected(value: Any) -> Any:
    others = [column for column in dead_letter.c if column.name != "value"]
    return select(*others, value.label("value"), func.length(dead_letter.c.value).label("stored_bytes"))
