"""What was spent of the false-alarm budget."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, literal, select, union_all

from monitor.store.tables import ledger, outcome_ledger


@dataclass(frozen=True)
class Spent:
    """Windows of one model version in a span, what they could cost, and the alarms in them."""

    model: str
    version: str
    windows: int
    spent: float
    alarms: int


def newest_end_ms(connection: Connection) -> int | None:
    """End of the newest window in any ledger."""
    found = connection.execute(select(func.max(ledger.c.end_ms))).scalar()
    return None if found is None else int(found)


def spent(connection: Connection, from_ms: int, to_ms: int) -> list[Spent]:
    """Sum up windows that ended after `from_ms` and not after `to_ms`, by model version.

    What the outcomes of windows could cost is counted by when the windows ended, and not as further windows.
    """
    parts = [
        select(
            c.model,
            c.version,
            literal(is_window).label("windows"),
            c.spent.label("spent"),
            c.alarms.label("alarms"),
        ).where(c.end_ms > from_ms, c.end_ms <= to_ms)
        for c, is_window in ((ledger.c, 1), (outcome_ledger.c, 0))
    ]
    both = union_all(*parts).subquery().c
    query = (
        select(both.model, both.version, func.sum(both.windows), func.sum(both.spent), func.sum(both.alarms))
        .group_by(both.model, both.version)
        .order_by(both.model, both.version)
    )
    return [
        Spent(row[0], row[1], int(row[2]), float(row[3]), int(row[4])) for row in connection.execute(query)
    ]
