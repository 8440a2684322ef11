"""Judges what the database holds once more, with the configuration at hand, and tells nobody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from monitor import logs
from monitor.backtest.harvest import harvest
from monitor.backtest.replay import Replay
from monitor.backtest.report import Backtest
from monitor.backtest.run import Progress, silent
from monitor.backtest.scratch import copy_content, scratch_database
from monitor.backtest.stored_content import Wanted, read_content
from monitor.clock import Clock, SystemClock
from monitor.config import Configuration
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import describe, reading
from schemas.errors import UsageError


def backtest_stored(
    configuration: Configuration,
    wanted: Wanted | None = None,
    *,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Backtest:
    """Judge the stored slices as the service would have with this configuration.

    Parameters
    ----------
    configuration : Configuration
        Its database is read; Kafka and receivers are not touched.
    wanted : Wanted, optional
        Which windows; default: all.
    clock : Clock, optional
        Wall clock: how far event time has come.
    progress : callable, optional
        Called with the number of windows judged and that of all windows.

    Raises
    ------
    UsageError
        If the model is not known, or there is nothing that can be judged in the range.
    StoreError
        If the database is not the one of this version of the program.
    Unavailable
        If the database is away.

    Guarantees
    ----------
    The database is only read, in one snapshot, and is let go before judging begins. What is needed of it is
    copied in bounded portions to a file in the folder for temporary files, which is removed at the end.
    """
    with scratch_database() as scratch:
        source = _read_only(configuration.database())
        try:
            schema.require(source)
            with reading(source) as connection:
                now_ms = (clock or SystemClock()).now_ms()
                content = read_content(connection, configuration, wanted or Wanted(), now_ms)
                copy_content(connection, scratch, content)
        finally:
            source.dispose()
        with logs.rehearsal():
            Replay(_at_once(configuration), scratch, content, progress or silent).run()
        with reading(scratch) as connection:
            return harvest(connection, configuration, content)


def _at_once(configuration: Configuration) -> Configuration:
    """Leave out the moment that first messages wait for more: everything is judged in one moment here."""
    alerts = configuration.alerts
    grouping = alerts.grouping.model_copy(update={"wait_ms": 0})
    return configuration.model_copy(update={"alerts": alerts.model_copy(update={"grouping": grouping})})


def _read_only(url: str) -> Engine:
    """Open the real database; PostgreSQL's transactions are read-only by `reading`.

    Raises
    ------
    UsageError
        If there is no file of that name: SQLite would make one.
    """
    source = engines.create(url)
    if source.dialect.name == "sqlite":
        if not Path(source.url.database or "").is_file():
            msg = f"database {describe(source.url)}: there is no such file"
            raise UsageError(msg)
        event.listen(source, "connect", _only_queries)
    return source


def _only_queries(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA query_only=ON").fetchall()
