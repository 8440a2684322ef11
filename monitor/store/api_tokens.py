"""SQL of API tokens: their hashes, never the tokens."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, or_, select, update
from sqlalchemy.exc import IntegrityError

from monitor.store.tables import api_token
from schemas.errors import UsageError

MOST_LISTED = 500


def add(connection: Connection, row: dict[str, Any]) -> int:
    """Write a token; returns its number.

    Raises
    ------
    UsageError
        If a token of that name is not revoked.
    """
    try:
        with connection.begin_nested():
            return int(connection.execute(api_token.insert().returning(api_token.c.id), row).scalar_one())
    except IntegrityError as error:
        msg = f"there is a token named {row['name']!r} already (revoke it first, or use another name)"
        raise UsageError(msg) from error


def find(connection: Connection, hash_: str, now_ms: int) -> Any | None:
    """Read the token of a hash, unless it is revoked or has expired."""
    columns = api_token.c
    query = select(api_token).where(
        columns.hash == hash_,
        columns.revoked_at_ms.is_(None),
        or_(columns.expires_at_ms.is_(None), columns.expires_at_ms > now_ms),
    )
    return connection.execute(query).one_or_none()


def touch(connection: Connection, number: int, now_ms: int) -> None:
    """Remember that a token was used."""
    connection.execute(update(api_token).where(api_token.c.id == number).values(used_at_ms=now_ms))


def revoke(connection: Connection, number: int, by: str, now_ms: int) -> bool:
    """Revoke a token; whether it was still to revoke."""
    statement = update(api_token).where(api_token.c.id == number, api_token.c.revoked_at_ms.is_(None))
    return connection.execute(statement.values(revoked_at_ms=now_ms, revoked_by=by)).rowcount == 1


def number_of(connection: Connection, name: str) -> int | None:
    """Find the number of the token of a name that is not revoked."""
    query = select(api_token.c.id).where(api_token.c.name == name, api_token.c.revoked_at_ms.is_(None))
    return connection.execute(query).scalar()


def was_just_made(connection: Connection, name: str, by: str, since_ms: int) -> bool:
    """Whether the same person has made the token of a name since then."""
    columns = api_token.c
    query = select(columns.id).where(columns.name == name, columns.revoked_at_ms.is_(None))
    mine = query.where(columns.created_by == by, columns.created_at_ms >= since_ms)
    return connection.execute(mine).first() is not None


def name_of(connection: Connection, number: int) -> str | None:
    """Name of a token, by its number."""
    return connection.execute(select(api_token.c.name).where(api_token.c.id == number)).scalar()


def listed(connection: Connection) -> list[Any]:
    """Read tokens, those that are not revoked first, then the newest first; at most 500."""
    columns = api_token.c
    query = select(api_token).order_by(columns.revoked_at_ms.is_not(None), columns.id.desc())
    return list(connection.execute(query.limit(MOST_LISTED)))
