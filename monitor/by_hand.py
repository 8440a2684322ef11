"""What somebody does on the command line, for the audit log."""

from __future__ import annotations

import getpass

from sqlalchemy import Connection

from monitor.store import audit


def who() -> str:
    """Who uses the command line, as the system calls them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # containers run as users without a name
        return "command line"


def write_down(connection: Connection, command: str, now_ms: int, detail: str | None = None) -> None:
    """Write a command that has changed something to the audit log, in the transaction of the change.

    Parameters
    ----------
    command : str
        Without ``driftline``.
    detail : str, optional
        What came of it.
    """
    row = {
        "at_ms": now_ms,
        "actor": who(),
        "subject": "",
        "via": "command",
        "role": "admin",
        "method": "driftline",
        "path": command[:1_024],
        "address": "",
        "status": 200,
        "detail": detail,
    }
    audit.begin(connection, row)
