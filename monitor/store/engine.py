"""Opens the database, SQLite or PostgreSQL, and the two kinds of transaction that the program uses.

`immediate` writes: it holds SQLite's write lock from its first statement on, so that a compare-and-set cannot
fail half-way with "database is locked". `reading` sees one snapshot and never takes that lock. Both translate
"the database is away" into `schemas.errors.Unavailable`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from monitor.logs import hide
from schemas.errors import StoreError, Unavailable, UsageError

PATIENCE_S = 30.0
CONNECT_TIMEOUT_S = 10
DEAD_PEER_S = 30
ALLOWED_URLS = "sqlite:///file.db or postgresql+psycopg://user@host:5432/name"

# Primary result codes after which the same transaction may succeed later: https://sqlite.org/rescode.html
_SQLITE_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
_AFTER = "driftline: after the commit"
# Somebody may give the right while the program waits: https://www.postgresql.org/docs/current/errcodes-appendix.html
_NOT_ALLOWED = "42501"
_SQLITE_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def create(url: str, patience_s: float = PATIENCE_S) -> Engine:
    """Make the engine for a database URL; connects to nothing yet.

    Parameters
    ----------
    url : str
        ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``postgresql+psycopg://…``.
    patience_s : float
        How long to wait for a lock that another writer holds, and for a free connection.

    Returns
    -------
    Engine
        SQLite: WAL, ``synchronous=FULL`` (a commit survives power loss), foreign keys on, 30 s patience with
        other writers. PostgreSQL: psycopg 3, connections checked before use, 10 s to connect, 30 s patience
        with locks, READ COMMITTED, ``application_name=driftline`` unless the URL names another.

    Raises
    ------
    UsageError
        If the URL is of another kind; says what is allowed and never shows the URL.

    Examples
    --------
    >>> create("mysql://root:hunter2@db/x")
    Traceback (most recent call last):
    schemas.errors.UsageError: database URLs of kind 'mysql' are not supported (use sqlite:///file.db or ...
    """
    parsed = read_url(url)
    for secret in (parsed.password, *(parsed.query.get(name) for name in ("password", "sslpassword"))):
        if isinstance(secret, str):
            hide(secret)
    build = _create_sqlite if parsed.drivername == "sqlite" else _create_postgresql
    return build(parsed, patience_s)


def read_url(url: str) -> URL:
    """Parse and check a database URL.

    Raises
    ------
    UsageError
        If it is not a URL, of an unsupported kind, or an in-memory SQLite database, which threads and
        processes could not share. The message never holds the URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        msg = f"not a database URL (use {ALLOWED_URLS})"
        raise UsageError(msg) from error
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        msg = f"database URLs of kind {parsed.drivername!r} are not supported (use {ALLOWED_URLS})"
        raise UsageError(msg)
    if parsed.drivername == "sqlite" and (parsed.host or (parsed.database or ":memory:") == ":memory:"):
        msg = "SQLite needs a file that threads and processes can share (use sqlite:///file.db or sqlite:////path/file.db)"
        raise UsageError(msg)
    return parsed


def describe(url: URL) -> str:
    """Write a URL for people: neither password nor query, which may hold one too.

    Examples
    --------
    >>> describe(make_url("postgresql+psycopg://ann:hunter2@db:5432/drift?password=hunter2"))
    'postgresql+psycopg://ann@db:5432/drift'
    """
    bare = URL.create(url.drivername, url.username, None, url.host, url.port, url.database)
    return bare.render_as_string()


@contextmanager
def immediate(engine: Engine) -> Iterator[Connection]:
    """Open a write transaction; commits at the end of the block, rolls back on any exception.

    Yields
    ------
    Connection
        SQLite: inside ``BEGIN IMMEDIATE``. PostgreSQL: READ COMMITTED.

    Raises
    ------
    Unavailable
        If the database is away or another writer held it for too long. When raised by the COMMIT
        itself the outcome is not known: read the guarded row again before retrying.

    Examples
    --------
    >>> from sqlalchemy import text
    >>> import tempfile
    >>> engine = create(f"sqlite:///{tempfile.mkdtemp()}/example.db")
    >>> with immediate(engine) as connection:
    ...     connection.execute(text("SELECT 1")).scalar()
    1
    """
    with translated(engine), engine.connect() as connection:
        connection.execution_options(begin_with="BEGIN IMMEDIATE")
        actions = connection.info[_AFTER] = []
        with connection.begin():
            yield connection
    for action in actions:
        action()


def after_commit(connection: Connection, action: Callable[[], object]) -> None:
    """Do something once the write transaction of a connection has been committed; never if it is not."""
    connection.info.setdefault(_AFTER, []).append(action)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a read-only transaction on one snapshot: every statement of the block sees the same data.

    Yields
    ------
    Connection
        SQLite: ``BEGIN``, a snapshot beside any writer, as WAL allows. PostgreSQL: REPEATABLE READ, READ
        ONLY.

    Raises
    ------
    Unavailable
        If the database is away.
    """
    with translated(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Turn the driver's "the database is away" into `Unavailable`; other errors pass.

    Raises
    ------
    Unavailable
        Connection refused or lost, locked for too long, disk full or failing, a right that is missing: try
        again later.
    StoreError
        The SQLite file is damaged or is no database.
    """
    where = describe(engine.url)
    try:
        yield
    except PoolTimeoutError as error:
        msg = f"database {where}: no free connection"
        raise Unavailable(msg) from error
    except DBAPIError as error:
        kind = _kind_of(error)
        if kind is None:
            raise
        msg = f"database {where}: {_reason(error)}"
        raise kind(msg) from error


def is_refusal(error: DBAPIError) -> bool:
    """Whether PostgreSQL lets this role not do what was asked."""
    return getattr(error.orig, "sqlstate", None) == _NOT_ALLOWED


def _kind_of(error: DBAPIError) -> type[StoreError] | None:
    """Say whether an error means "away", "damaged", or (None) a mistake of ours."""
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
        if code in _SQLITE_AWAY:
            return Unavailable
        return StoreError if code in _SQLITE_BROKEN else None
    if is_refusal(error):
        return Unavailable
    lost = isinstance(error, DatabaseError) and error.connection_invalidated
    return Unavailable if lost or isinstance(error, OperationalError | InterfaceError) else None


def _reason(error: DBAPIError) -> str:
    """First line of what the driver said; statements and parameters stay out of it."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__


def _create_sqlite(url: URL, patience_s: float) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": patience_s}, pool_timeout=patience_s, hide_parameters=True
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = (
        None  # the driver's own BEGIN comes too late for a lock; _begin_sqlite emits ours
    )
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-65536",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin_with", "BEGIN"))


def _create_postgresql(url: URL, patience_s: float) -> Engine:
    preferred: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "driftline",
        "options": f"-c lock_timeout={round(patience_s * 1_000)}ms",
        "keepalives_idle": DEAD_PEER_S,
        "tcp_user_timeout": DEAD_PEER_S * 1_000,
    }
    return create_engine(
        url,
        connect_args={name: value for name, value in preferred.items() if name not in url.query},
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_timeout=patience_s,
        hide_parameters=True,
    )
