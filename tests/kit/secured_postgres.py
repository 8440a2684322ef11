"""A real PostgreSQL server behind TLS, which asks one role for a certificate too."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path

from tests.kit.certificates import Authority
from tests.kit.ports import LOOPBACK
from tests.kit.postgres import PostgresServer, _unprivileged_user

# The first line that fits counts. The superuser of the tests comes in as ever.
_RULES = """
host all driftline {loopback}/32 scram-sha-256
hostssl all {certified} {loopback}/32 scram-sha-256 clientcert=verify-full
hostssl all all {loopback}/32 scram-sha-256
"""


class SecuredPostgres(PostgresServer):
    """A server with a certificate of its authority.

    Parameters
    ----------
    certified
        Role that has to show a certificate in its own name, besides its password.

    Attributes
    ----------
    authority : Authority
        Signed the server's certificate, and accepts those it has signed.
    """

    def __init__(self, certified: str) -> None:
        self._secrets = tempfile.TemporaryDirectory(prefix="driftline-certificates-")
        self.folder = Path(self._secrets.name)
        self.authority = Authority(self.folder)
        server = self.authority.issue("postgres")
        # The server wants a key that nobody else may read; it may run under another account.
        own = Path(tempfile.mkdtemp(prefix="server-", dir=self.folder))
        rules = own / "pg_hba.conf"
        rules.write_text(_RULES.format(loopback=LOOPBACK, certified=certified))
        shown = (server.certificate, server.key, self.authority.certificate)
        paths = [Path(shutil.copy(path, own)) for path in shown]
        self.folder.chmod(0o755)
        for path in (own, rules, *paths):
            path.chmod(0o700 if path.is_dir() else 0o600)
            if os.geteuid() == 0:
                account = pwd.getpwnam(_unprivileged_user())
                os.chown(path, account.pw_uid, account.pw_gid)
        certificate, key, authorities = map(str, paths)
        super().__init__(
            fsync=False, ssl="on", ssl_cert_file=certificate, ssl_key_file=key, ssl_ca_file=authorities,
            hba_file=str(rules),
        )  # fmt: skip

    def __enter__(self) -> SecuredPostgres:
        super().__enter__()
        return self

    def stop(self) -> None:
        """End the server and remove what it had."""
        super().stop()
        self._secrets.cleanup()

    def address(self, role: str, password: str, database: str, **parameters: str) -> str:
        """Address of a database for one role, with libpq's parameters."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"postgresql+psycopg://{role}:{password}@{LOOPBACK}:{self.port}/{database}?{query}"
