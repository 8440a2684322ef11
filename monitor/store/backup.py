"""Copies a SQLite database while it is in use.

Source: https://www.sqlite.org/backup.html.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from monitor.store.engine import describe, translated
from schemas.errors import StoreError, Unavailable, UsageError

_SOUND = "ok"


def back_up(engine: Engine, target: Path) -> int:
    """Copy a SQLite database into a new file, as it stands at one instant.

    Parameters
    ----------
    engine : Engine
    target : Path
        A file that is not there yet.

    Returns
    -------
    int
        Size of the copy in bytes.

    Raises
    ------
    UsageError
        If the file is there, or the database is not SQLite.
    StoreError
        If the copy does not pass SQLite's own check, which means that the database is damaged.
    Unavailable
        If the database cannot be read, or the file cannot be written.

    Guarantees
    ----------
    Nobody who reads or writes has to wait. The file has its name once it is whole and on the disk; a copy
    that fails leaves nothing behind.
    """
    if engine.dialect.name != "sqlite":
        msg = (
            f"database {describe(engine.url)}: only SQLite is copied by this command (use the tools of "
            "PostgreSQL: pg_dump --format=custom, or pg_basebackup)"
        )
        raise UsageError(msg)
    if target.exists():
        msg = f"{target}: is there already (give a name that is free)"
        raise UsageError(msg)
    if not target.parent.is_dir():
        msg = f"{target}: there is no folder {target.parent} (make it first)"
        raise UsageError(msg)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _copy(engine, part)
        size = part.stat().st_size
        os.link(part, target)  # unlike a rename, it overwrites nothing
    except FileExistsError:
        msg = f"{target}: is there already (give a name that is free)"
        raise UsageError(msg) from None
    except (OSError, sqlite3.Error) as error:
        msg = f"{target}: cannot be written: {error}"
        raise Unavailable(msg) from error
    finally:
        part.unlink(missing_ok=True)
    _keep_names(target.parent)
    return size


def _copy(engine: Engine, part: Path) -> None:
    with translated(engine), engine.connect() as connection:
        source: Any = connection.connection.driver_connection
        with contextlib.closing(sqlite3.connect(part)) as copy:
            # All pages in one step: one snapshot, beside any writer, as the write-ahead log allows.
            source.backup(copy, pages=-1)
            # A copy that is one file alone; the service turns the log on again when it opens it.
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
            said = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    if said != _SOUND:
        msg = f"database {describe(engine.url)} is damaged: {said}"
        raise StoreError(msg)
    with part.open("rb") as file:
        os.fsync(file.fileno())


def _keep_names(folder: Path) -> None:
    """Let the new name survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
