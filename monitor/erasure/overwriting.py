"""Lets a database overwrite what is removed, where it can."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event

from monitor.store.engine import translated


def overwrite(engine: Engine) -> None:
    """Let SQLite write zeros over what is removed from here on.

    PostgreSQL does so when it vacuums, which it does by itself.
    """
    if engine.dialect.name == "sqlite":
        engine.dispose()  # connections that are open would go on as they were
        event.listen(engine, "connect", _overwrite)


def _overwrite(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA secure_delete=ON").fetchall()


def empty_log(engine: Engine) -> bool:
    """Empty SQLite's write-ahead log, which still holds what pages were before.

    Returns
    -------
    bool
        Whether nothing of it is left; False if somebody reads or writes at this moment.
    """
    if engine.dialect.name != "sqlite":
        return True
    with translated(engine), engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
