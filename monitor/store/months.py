"""The large tables in PostgreSQL, kept by months of event time, so that an old month is dropped as a whole.

Rows of a month without a partition of its own are in the default partition: time long past (a replay), and
whatever came before the partition was made. There they are removed one by one, as on SQLite.

Source: https://www.postgresql.org/docs/15/ddl-partitioning.html.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from monitor.store.engine import immediate, reading
from schemas.errors import Unavailable

logger = logging.getLogger(__name__)

PARTITIONED = {
    "slice_profile": "slice_ms",
    "outcome_slice": "slice_ms",
    "judgement": "start_ms",
    "result": "start_ms",
}
"""Tables that are kept by months, and the column with the event time."""
AHEAD = 3  # months that are made before they begin
LOCK_PATIENCE = "5s"

_NAME = re.compile(r"(?P<table>[a-z_]+)_(?P<year>\d{4})_(?P<month>\d\d)")

NOBODY = ("", "")
Range = tuple[int, int]
Key = tuple[str, str]


@dataclass(frozen=True)
class Month:
    """One partition: rows of a table with event times in ``[from_ms, to_ms)``."""

    table: str
    name: str
    from_ms: int
    to_ms: int


def month_of(table: str, year: int, month: int) -> Month:
    """Name a month of a table.

    Examples
    --------
    >>> month_of("result", 2013, 12)
    Month(table='result', name='result_2013_12', from_ms=1385856000000, to_ms=1388534400000)
    """
    first, last = (
        int(
            datetime(
                year + (month + later - 1) // 12, (month + later - 1) % 12 + 1, 1, tzinfo=UTC
            ).timestamp()
        )
        for later in (0, 1)
    )
    return Month(table, f"{table}_{year:04}_{month:02}", first * 1_000, last * 1_000)


def months_owned(engine: Engine) -> list[Month] | None:
    """Months that there are, oldest first; None if this role does not own them, or on SQLite."""
    if engine.dialect.name != "postgresql":
        return None
    with reading(engine) as connection:
        owned = connection.execute(
            text("SELECT pg_has_role(relowner, 'MEMBER') FROM pg_class WHERE oid = 'result'::regclass")
        ).scalar_one()
        names = connection.execute(
            text(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
                "WHERE i.inhparent = ANY (CAST(:tables AS regclass[]))"
            ),
            {"tables": list(PARTITIONED)},
        ).scalars()
        found = [match for name in names if (match := _NAME.fullmatch(name))]
    if not owned:
        return None
    months = [month_of(m["table"], int(m["year"]), int(m["month"])) for m in found]
    return sorted(months, key=lambda month: (month.from_ms, month.table))


def make_months(engine: Engine, now_ms: int) -> list[str]:
    """Make the partitions of this month and of those to come; returns what was made.

    Does nothing on SQLite, for a role that does not own the tables, and where the default partition holds
    rows of the month already.

    Raises
    ------
    Unavailable
        If the database is away.
    """
    there = months_owned(engine)
    if there is None:
        return []
    known, made = {month.name for month in there}, []
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    for table in PARTITIONED:
        for later in range(AHEAD + 1):
            months = now.year * 12 + now.month - 1 + later
            month = month_of(table, months // 12, months % 12 + 1)
            if month.name not in known and _make(engine, month):
                made.append(month.name)
    return made


def _make(engine: Engine, month: Month) -> bool:
    try:
        with immediate(engine) as connection:
            _wait_briefly(connection)
            # IF NOT EXISTS does not see what another process is about to make.
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('driftline.months', 0))"))
            connection.execute(
                text(
                    f"CREATE TABLE IF NOT EXISTS {month.name} PARTITION OF {month.table} "
                    f"FOR VALUES FROM ({month.from_ms}) TO ({month.to_ms})"
                )
            )
    except IntegrityError:
        logger.debug("%s is not made: rows of it are in the default partition", month.name)
        return False
    except (OperationalError, Unavailable) as error:
        logger.info("%s is made later: %s", month.name, error)
        return False
    return True


def drop_months(
    engine: Engine, cut_of: Callable[[str, Key], int | None], staying: Callable[[Key], Sequence[Range]]
) -> int:
    """Drop the months that hold nothing which is still to be kept.

    Parameters
    ----------
    engine : Engine
    cut_of : callable
        Event time before which the rows of a table and a model version are not kept; None: they are. Also
        asked for `NOBODY`, whose event time is the wall clock.
    staying : callable
        Ranges of event time of a model version whose rows are kept nevertheless; they move to the default
        partition.

    Returns
    -------
    int
        Rows that went with them.

    Raises
    ------
    Unavailable
        If the database is away.
    """
    number = 0
    for month in months_owned(engine) or ():
        with reading(engine) as connection:
            found = connection.execute(text(f"SELECT DISTINCT model, version FROM {month.name}"))  # noqa: S608
            keys = [(row.model, row.version) for row in found]
        # A month without rows may still be to come: what it is measured by is the wall clock.
        cuts = [cut_of(month.table, key) for key in keys or [NOBODY]]
        if all(cut is not None and cut >= month.to_ms for cut in cuts):
            number += _drop(engine, month, {key: staying(key) for key in keys})
    return number


def _drop(engine: Engine, month: Month, staying: dict[Key, Sequence[Range]]) -> int:
    column = PARTITIONED[month.table]
    try:
        with immediate(engine) as connection:
            _wait_briefly(connection)
            connection.execute(text(f"ALTER TABLE {month.table} DETACH PARTITION {month.name}"))
            rows = int(connection.execute(text(f"SELECT count(*) FROM {month.name}")).scalar_one())  # noqa: S608
            kept = 0
            for (model, version), ranges in staying.items():
                for from_ms, to_ms in ranges:
                    kept += connection.execute(
                        text(
                            f"INSERT INTO {month.table} SELECT * FROM {month.name} "  # noqa: S608
                            f"WHERE model = :model AND version = :version "
                            f"AND {column} >= :from_ms AND {column} < :to_ms"
                        ),
                        {"model": model, "version": version, "from_ms": from_ms, "to_ms": to_ms},
                    ).rowcount
            connection.execute(text(f"DROP TABLE {month.name}"))
    except (OperationalError, Unavailable) as error:
        logger.info("%s is dropped later: %s", month.name, error)
        return 0
    return rows - kept


def _wait_briefly(connection: Connection) -> None:
    """Rather later than in the way: whoever waits for a lock on a table keeps all others from it."""
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE}'"))
