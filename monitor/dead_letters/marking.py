"""Marks dead letters for a replay, by their ids or by what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, not_, select, update

from monitor.dead_letters.letters import MARKED, REFUSED, REPLAYED, WAITING
from monitor.store.queries.dead_letters import Wanted, is_cut
from monitor.store.tables import dead_letter
from schemas.errors import UsageError

MOST_IDS = 1_000
MOST_NAME = 256


@dataclass(frozen=True)
class Asking:
    """Who asks for a replay, when by the wall clock, and why; the names are kept with the letters."""

    by: str
    at_ms: int
    cause: str = ""


@dataclass(frozen=True)
class Marking:
    """What came of marking.

    Parameters
    ----------
    marked : int
        Letters that will be replayed now.
    cut : int
        Letters that cannot be, because only the beginning of their message was stored.
    """

    marked: int
    cut: int


def mark(
    connection: Connection,
    wanted: Wanted,
    ids: Sequence[int] = (),
    *,
    asking: Asking | None = None,
    dry_run: bool = False,
) -> Marking:
    """Mark letters that are waiting, or that were refused by a replay before.

    Parameters
    ----------
    connection : Connection
        Of a transaction.
    wanted : Wanted
        Which letters.
    ids : sequence of int
        Only these. Letters that are marked already are left as they are.
    asking : Asking, optional
        Who asks for it.
    dry_run : bool
        Change nothing, only count.

    Raises
    ------
    UsageError
        If one of the ids is of no letter, of one that was replayed, or of one that is not stored whole.
    """
    if ids:
        _check(connection, ids)
    c = dead_letter.c
    which = [*wanted.conditions(), c.status.in_((WAITING, REFUSED))]
    if ids:
        which.append(c.id.in_(list(ids)))
    cut = _count(connection, [*which, is_cut()])
    whole = [*which, not_(is_cut())]
    if dry_run:
        return Marking(_count(connection, whole), cut)
    values: dict[str, Any] = {"status": MARKED}
    if asking is not None:
        who = {"marked_by": asking.by[:MOST_NAME], "marked_at_ms": asking.at_ms}
        values |= who | {"marked_cause": asking.cause or None}
    done = connection.execute(update(dead_letter).where(*whole).values(values))
    return Marking(int(done.rowcount), cut)


def _check(connection: Connection, ids: Sequence[int]) -> None:
    if len(ids) > MOST_IDS:
        msg = f"{len(ids)} ids are too many (use at most {MOST_IDS}, or say what the letters have in common)"
        raise UsageError(msg)
    c = dead_letter.c
    query = select(c.id, c.status, c.value_bytes, func.length(c.value).label("stored_bytes"))
    found = {row.id: row for row in connection.execute(query.where(c.id.in_(list(ids))))}
    for id_ in ids:
        row = found.get(id_)
        if row is None:
            msg = f"there is no dead letter {id_}"
            raise UsageError(msg)
        if row.status == REPLAYED:
            msg = f"dead letter {id_} was replayed already"
            raise UsageError(msg)
        if row.value_bytes > row.stored_bytes:
            msg = (
                f"dead letter {id_} cannot be replayed: "
                f"only {row.stored_bytes} of its {row.value_bytes} bytes are stored"
            )
            raise UsageError(msg)


def _count(connection: Connection, which: Sequence[Any]) -> int:
    return int(connection.execute(select(func.count()).select_from(dead_letter).where(*which)).scalar_one())
