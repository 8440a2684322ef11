"""Problems of the database: away, tables of another version, a disk that is full, old rows that stay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, select, text

from monitor.attention.problem import Facts, Problem
from monitor.attention.taking_in import DAY_MS
from monitor.store.tables import dead_letter

LEAST_SHARE = 0.05
LEAST_BYTES = 1 << 30
NEXT_TO_NOTHING = 256 << 20


def away(reason: str) -> Problem:
    """The database cannot be read."""
    do = "say what is wrong with it: driftline check --live --no-messages; nothing is lost meanwhile"
    return Problem("DriftlineDatabaseUnreadable", "page", reason, do)


def schema_old(reason: str) -> Problem:
    """The tables are not those that this version of the program needs."""
    do = "bring them up to date, or use the version that made them: driftline db upgrade"
    return Problem("DriftlineSchemaOld", "page", reason, do)


def disk(engine: Engine) -> Iterator[Problem]:
    """The disk below a SQLite file is almost full."""
    file = engine.url.database
    if engine.dialect.name != "sqlite" or not file or not Path(file).exists():
        return
    usage = shutil.disk_usage(Path(file).resolve().parent)
    if usage.free < min(LEAST_BYTES, usage.total * LEAST_SHARE):
        what = f"the disk of {file} is almost full: {usage.free >> 20} MiB are free"
        do = "make room, or keep less (keep in the configuration); when it is full, reading waits"
        is_urgent = usage.free < min(NEXT_TO_NOTHING, usage.total * LEAST_SHARE / 4)
        yield Problem("DriftlineDiskFull", "page" if is_urgent else "warn", what, do)


def overdue(facts: Facts) -> Iterator[Problem]:
    """Rows that should have gone because of their age."""
    if facts.configuration.dead_letters is not None:
        return  # those that wait to be sent on stay
    d = dead_letter.c
    query = select(d.stored_at_ms).where(d.status != "marked").order_by(d.id).limit(1)
    oldest_ms = facts.connection.execute(query).scalar_one_or_none()
    cut_ms = facts.now_ms - facts.configuration.kept.dead_letters_ms - DAY_MS
    if oldest_ms is not None and oldest_ms < cut_ms:
        what = "rows that should have gone because of their age are still there"
        do = "look at the log of the processes with the role evaluate (or all): old data is removed later"
        yield Problem("DriftlineRetentionBehind", "info", what, do)


def size_bytes(connection: Connection) -> int:
    """Size of the database."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
