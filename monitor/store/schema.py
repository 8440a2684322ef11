"""Whether the database has the tables this version needs, and bringing it up to date."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from monitor.store.engine import describe, immediate, is_refusal, reading
from schemas.errors import StoreError

_MIGRATIONS = Path(__file__).with_name("migrations")
_LOCK_KEY = 0x6472_6966_746C_696E  # "driftlin": PostgreSQL's advisory lock while one process migrates


def head() -> str:
    """Revision that this version of the program needs.

    Raises
    ------
    RuntimeError
        If the migrations have no single newest revision, which is a fault of the package.
    """
    newest = ScriptDirectory.from_config(_configuration()).get_current_head()
    if newest is None:
        msg = f"no migrations in {_MIGRATIONS}"
        raise RuntimeError(msg)
    return newest


def revision(engine: Engine) -> str | None:
    """Revision of a database; None if Driftline has never set it up.

    Raises
    ------
    Unavailable
        If the database is away.
    """
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def current(engine: Engine) -> bool:
    """Whether the database has exactly the tables that this version of the program needs.

    Raises
    ------
    Unavailable
        If the database is away.
    """
    return revision(engine) == head()


def require(engine: Engine) -> None:
    """Refuse a database that is not `current`.

    Raises
    ------
    StoreError
        Says which revision the database has, which is needed, and the command that helps.
    Unavailable
        If the database is away.
    """
    found, needed = revision(engine), head()
    if found != needed:
        msg = f"database {describe(engine.url)}: {_difference(found, needed)}"
        raise StoreError(msg)


def upgrade(engine: Engine) -> str:
    """Bring the database to the newest revision, all or nothing; does nothing if it is there already.

    Any number of processes may call this at once: they wait for each other.

    Parameters
    ----------
    engine : Engine
        From `monitor.store.engine.create`.

    Returns
    -------
    str
        Revision that the database has now.

    Raises
    ------
    StoreError
        If a newer version of the program has migrated the database already, or the role may not change
        tables.
    Unavailable
        If the database is away.
    """
    with immediate(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        found = MigrationContext.configure(connection).get_current_revision()
        try:
            command.upgrade(_configuration(connection), "head")
        except CommandError as error:
            msg = f"database {describe(engine.url)}: {_difference(found, head())}"
            raise StoreError(msg) from error
        except ProgrammingError as error:
            if not is_refusal(error):
                raise
            refusal = f"{_difference(found, head())} as the role that owns the tables: {error.orig}"
            msg = f"database {describe(engine.url)}: {refusal.strip()}"
            raise StoreError(msg) from error
    return head()


def _difference(found: str | None, needed: str) -> str:
    if found is None:
        return "has no Driftline tables yet (run: driftline db upgrade -c FILE)"
    known = {script.revision for script in ScriptDirectory.from_config(_configuration()).walk_revisions()}
    if found in known:
        return f"is at revision {found}, this version needs {needed} (run: driftline db upgrade -c FILE)"
    return f"is at revision {found}, which this version does not know (use the newer Driftline that made it)"


def _configuration(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config
