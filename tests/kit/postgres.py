"""A real PostgreSQL server on loopback."""

import os
import pwd
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from tests.kit.ports import LOOPBACK, free_port
from tests.kit.process import ServerProcess, program
from tests.kit.waiting import PATIENCE_S

_USER = "driftline"


class PostgresServer:
    """A server of its own with password authentication, stopped by its process id.

    Parameters
    ----------
    fsync
        Whether commits wait for the disk, as they do in production.
    copy_of
        A running server whose data this one begins with, by ``pg_basebackup``.
    settings
        Further settings of ``postgresql.conf``.

    Notes
    -----
    PostgreSQL refuses to run as root; the account of Debian's package, or else ``nobody``, runs it then.
    """

    def __init__(
        self, *, fsync: bool = True, copy_of: "PostgresServer | None" = None, **settings: str
    ) -> None:
        self._postgres = _server_program("postgres")
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        self._temporary = tempfile.TemporaryDirectory(prefix="driftline-postgres-")
        self._folder = Path(self._temporary.name)
        self._data = self._folder / "data"
        self.port = free_port()
        # The password shows up in URLs on purpose: no message, row or log line may repeat it.
        self.password: str = f"secret-{uuid.uuid4().hex[:12]}" if copy_of is None else copy_of.password
        self._process: ServerProcess | None = None
        self._settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "on" if fsync else "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
            **settings,
        }
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self._folder, account.pw_uid, account.pw_gid)
        if copy_of is None:
            self._initialise()
        else:
            self._copy(copy_of)

    def __enter__(self) -> "PostgresServer":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the postmaster, the parent of all others."""
        if self._process is None:
            msg = "the server does not run"
            raise RuntimeError(msg)
        return self._process.pid

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        self._process = ServerProcess(
            [self._postgres, "-D", str(self._data), *options], self._folder / "server.log", user=self._user
        )
        self._process.wait_until(self._answers, what="PostgreSQL takes no connections")

    def restart(self) -> None:
        """Stop the server in an orderly way, disconnecting its clients, and start it again."""
        self._shut_down(signal.SIGINT)
        self.start()

    def kill(self) -> None:
        """End the server at once, so that its next start has to recover from the log."""
        self._shut_down(signal.SIGQUIT)

    def stop(self) -> None:
        """End the server and remove its data."""
        if self._process is not None:
            self._shut_down(signal.SIGQUIT)
        self._temporary.cleanup()

    def url(self, database: str) -> str:
        """Return the address of a database, as SQLAlchemy takes it."""
        return f"postgresql+psycopg://{_USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def create_database(self, copy_of: str = "template1") -> str:
        """Make a database, empty or like another that nobody is connected to, and return its name."""
        name = f"test_{uuid.uuid4().hex}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(copy_of)))
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, disconnecting its clients."""
        self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Connect without SQLAlchemy; every statement is a transaction of its own."""
        return psycopg.connect(
            host=LOOPBACK,
            port=self.port,
            user=_USER,
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=60,
        )

    def tool(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs, such as ``pg_dump``, against this server."""
        given = {
            "PGHOST": LOOPBACK, "PGPORT": str(self.port), "PGUSER": _USER, "PGPASSWORD": self.password,
        }  # fmt: skip
        command = [_server_program(name), *arguments]
        subprocess.run(command, env={**os.environ, **given}, check=True, capture_output=True, timeout=300)

    def log_tail(self) -> str:
        """Return the end of the server's log."""
        return self._process.log_tail() if self._process else ""

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self.password)
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(secret, account.pw_uid, account.pw_gid)
        self._make(
            [
                _server_program("initdb"),
                f"--pgdata={self._data}",
                f"--username={_USER}",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                # An empty data folder need not survive a power cut; what the server commits later does, by
                # fsync.
                "--no-sync",
            ]
        )
        secret.unlink()

    def _copy(self, other: "PostgresServer") -> None:
        address = ["--host", LOOPBACK, "--port", str(other.port), "--username", _USER, "--no-password"]
        command = [_server_program("pg_basebackup"), f"--pgdata={self._data}", "--checkpoint=fast", *address]
        self._make(command, {"PGPASSWORD": other.password})

    def _make(self, command: list[str], environment: Mapping[str, str] | None = None) -> None:
        """Make the data folder, as the user who will run the server."""
        if self._user is not None:
            setpriv = program("setpriv", "util-linux")
            command = [setpriv, "--reuid", self._user, "--regid", self._user, "--init-groups", "--", *command]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode != 0:
            msg = f"PostgreSQL's data folder could not be made:\n{done.stdout}{done.stderr}"
            raise RuntimeError(msg)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: sql.Composed) -> None:
        with self.connect() as connection:
            connection.execute(statement)

    def _shut_down(self, signum: signal.Signals) -> None:
        if self._process is None:
            msg = "PostgreSQL does not run"
            raise RuntimeError(msg)
        self._process.stop(signum)
        self._process = None


def _server_program(name: str) -> str:
    # Debian keeps each major version in a folder outside the PATH; the newest is taken.
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True
    )
    return program(name, "postgresql", also_in=folders)


def _unprivileged_user() -> str:
    known = {account.pw_name for account in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
