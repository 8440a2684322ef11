"""Whether the database has the tables this version needs, and bringing it up to date.

A newer version says in the database how old a program may be that goes on beside it, so that processes of
both run while an upgrade rolls through them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, inspect, select, text
from sqlalchemy.exc import ProgrammingError

from monitor.store.engine import describe, immediate, is_refusal, reading
from monitor.store.sql import upsert
from monitor.store.tables import counter
from schemas.errors import StoreError

_MIGRATIONS = Path(__file__).with_name("migrations")
_LOCK_KEY = 0x6472_6966_746C_696E  # "driftlin": PostgreSQL's advisory lock while one process migrates

OLDEST_PROGRAM = "oldest program"
"""Row of `counter` with the number of the revision that a program must know at least."""
OLDEST = 17
"""What this version writes there; a migration that takes away what an older program uses raises it."""


def head() -> str:
    """Revision that this version of the program needs.

    Raises
    ------
    RuntimeError
        If the migrations have no single newest revision, which is a fault of the package.
    """
    newest = _scripts().get_current_head()
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


def require(engine: Engine) -> str:
    """Refuse a database that this version of the program cannot work with; never makes one.

    Returns
    -------
    str
        Revision of the database: the one that is needed, or a newer one whose program lets this one go on.

    Raises
    ------
    StoreError
        Says which revision the database has, which is needed, and the command that helps.
    Unavailable
        If the database is away.
    """
    file = Path(engine.url.database or "")
    # Where the folder is not there either, as when a disk is not mounted, the attempt says so.
    if engine.dialect.name == "sqlite" and file.parent.is_dir() and not file.exists():
        msg = f"database {describe(engine.url)}: does not exist yet (run: driftline db upgrade -c FILE)"
        raise StoreError(msg)
    with reading(engine) as connection:
        found, needed = MigrationContext.configure(connection).get_current_revision(), head()
        if found == needed or (found is not None and _goes_on_beside(connection, found)):
            return found
    msg = f"database {describe(engine.url)}: {_difference(found, needed)}"
    raise StoreError(msg)


def upgrade(engine: Engine) -> str:
    """Bring the database to the newest revision, all or nothing; does nothing if it is there already.

    Nor does it if a newer version of the program has migrated the database and lets this one go on. Any
    number of processes may call this at once: they wait for each other.

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
        If a newer version of the program has migrated the database and this one is too old for it, or the
        role may not change tables.
    Unavailable
        If the database is away.
    """
    with immediate(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and _goes_on_beside(connection, found):
            return found
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
        if found != head():
            upsert(connection, counter, [{"name": OLDEST_PROGRAM, "value": OLDEST}])
    return head()


def _goes_on_beside(connection: Connection, found: str) -> bool:
    """Whether a revision is of a newer program that lets this one run beside it."""
    if found in _known() or not inspect(connection).has_table(counter.name):
        return False
    oldest = connection.execute(select(counter.c.value).where(counter.c.name == OLDEST_PROGRAM)).scalar()
    return oldest is not None and oldest <= int(head().partition("_")[0])


def _difference(found: str | None, needed: str) -> str:
    if found is None:
        return "has no Driftline tables yet (run: driftline db upgrade -c FILE)"
    if found in _known():
        return f"is at revision {found}, this version needs {needed} (run: driftline db upgrade -c FILE)"
    return f"is at revision {found}, which this version does not know (use the newer Driftline that made it)"


def _known() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


@cache
def _scripts() -> ScriptDirectory:
    """Read the migrations once for a process: they are run as Python files each time they are read."""
    return ScriptDirectory.from_config(_configuration())


def _configuration(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config
