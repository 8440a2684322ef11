"""What was spent of the false-alarm budget."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from monitor.store.tables import ledger


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
    """Sum up windows that ended after `from_ms` and not after `to_ms`, by model version."""
    c = ledger.c
    query = (
        select(c.model, c.version, func.count(), func.sum(c.spent), func.sum(c.alarms))
        .where(c.end_ms > from_ms, c.end_ms <= to_ms)
        .group_by(c.model, c.version)
        .order_by(c.model, c.version)
    )
    return [
        Spent(row[0], row[1], int(row[2]), float(row[3]), int(row[4])) for row in connection.execute(query)
    ]
