"""Messages that could not be taken in, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, func, select

from monitor.store.tables import dead_letter


@dataclass(frozen=True)
class Wanted:
    """Which dead letters are meant; what is None does not matter.

    Parameters
    ----------
    topic, kind, status : str or None
    reason : str or None
        Part of the reason, in small letters or large.
    from_ms, to_ms : int or None
        Stored at or after the first, and before the second.
    """

    topic: str | None = None
    kind: str | None = None
    status: str | None = None
    reason: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What has to hold of a row."""
        columns = dead_letter.c
        found: list[ColumnElement[bool]] = []
        for name in ("topic", "kind", "status"):
            value = getattr(self, name)
            if value is not None:
                found.append(columns[name] == value)
        if self.reason is not None:
            found.append(columns.reason.icontains(self.reason, autoescape=True))
        if self.from_ms is not None:
            found.append(columns.stored_at_ms >= self.from_ms)
        if self.to_ms is not None:
            found.append(columns.stored_at_ms < self.to_ms)
        return found


def dead_letters(
    connection: Connection, wanted: Wanted, after: int | None, limit: int, shown_bytes: int
) -> list[Any]:
    """List dead letters with the beginning of their value.

    Parameters
    ----------
    wanted : Wanted
        Only those.
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
    query = query.where(*wanted.conditions())
    if after is not None:
        query = query.where(columns.id < after)
    return list(connection.execute(query.order_by(columns.id.desc()).limit(limit)))


def dead_letter_of(connection: Connection, id_: int) -> Any | None:
    """Read one dead letter whole; None if there is none of that id."""
    query = _selected(dead_letter.c.value).where(dead_letter.c.id == id_)
    return connection.execute(query).one_or_none()


def is_cut() -> ColumnElement[bool]:
    """Whether only the beginning of a message was stored."""
    return dead_letter.c.value_bytes > func.length(dead_letter.c.value)


def _selected(value: Any) -> Any:
    others = [column for column in dead_letter.c if column.name != "value"]
    return select(*others, value.label("value"), func.length(dead_letter.c.value).label("stored_bytes"))
