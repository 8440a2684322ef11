"""How many dead letters there are of each reason, and of which topics, of a bounded number of the newest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from monitor.store.queries.dead_letters import Wanted
from monitor.store.tables import dead_letter, partition_state

MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Reason:
    """One reason, with the number of letters that have it."""

    kind: str
    reason: str
    letters: int


@dataclass(frozen=True)
class Reasons:
    """Letters by their reasons.

    Parameters
    ----------
    letters : int
        All that were counted.
    is_cut : bool
        Whether there are more than were counted: the newest were.
    reasons : tuple of Reason
        The most frequent ones, most letters first.
    others : int
        Letters with other reasons.
    """

    letters: int
    is_cut: bool
    reasons: tuple[Reason, ...]
    others: int


def count_reasons(
    connection: Connection, wanted: Wanted, limit: int, most_counted: int = MOST_COUNTED
) -> Reasons:
    """Count dead letters by kind and reason.

    Parameters
    ----------
    connection : Connection
    wanted : Wanted
        Only those.
    limit : int
        Most reasons that are listed.
    most_counted : int
        Most letters that are looked at, the newest.
    """
    c = dead_letter.c
    newest = (
        select(c.kind, c.reason).where(*wanted.conditions()).order_by(c.id.desc()).limit(most_counted + 1)
    )
    of = newest.subquery()
    number = func.count().label("letters")
    query = select(of.c.kind, of.c.reason, number).group_by(of.c.kind, of.c.reason)
    rows = [Reason(*row) for row in connection.execute(query.order_by(number.desc(), of.c.kind, of.c.reason))]
    counted = sum(one.letters for one in rows)
    shown = tuple(rows[:limit])
    return Reasons(
        min(counted, most_counted),
        counted > most_counted,
        shown,
        min(counted, most_counted) - sum(one.letters for one in shown),
    )


def reasons_among(letters: Iterable[tuple[str, str]], limit: int) -> Reasons:
    """Count letters that are at hand, given by kind and reason, as `count_reasons` counts stored ones.

    Examples
    --------
    >>> reasons_among([("future", "b"), ("undecodable", "a"), ("undecodable", "a")], 1)
    Reasons(letters=3, is_cut=False, reasons=(Reason(kind='undecodable', reason='a', letters=2),), others=1)
    """
    numbers = Counter(letters)
    rows = sorted((-number, kind, reason) for (kind, reason), number in numbers.items())
    shown = tuple(Reason(kind, reason, -number) for number, kind, reason in rows[:limit])
    return Reasons(numbers.total(), False, shown, numbers.total() - sum(one.letters for one in shown))


def topics(connection: Connection) -> list[str]:
    """Name every topic that was ever read."""
    column = partition_state.c.topic
    return list(connection.execute(select(column).distinct().order_by(column)).scalars())
