"""The audit log: every change is written down before it is made, and how it was answered afterwards."""

from __future__ import annotations

import logging
import threading

from monitor.store import audit as stored
from monitor.store.engine import immediate
from monitor.web.context import Context
from monitor.web.sign_in.user import User
from schemas.errors import Unavailable

logger = logging.getLogger(__name__)

FORGET_EVERY_S = 3_600.0
MOST_DETAIL = 2_000
LOCAL = "local"
"""Who acts where nobody signs in: whoever sits at this machine, and may do everything."""


class Audit:
    """Writes the log.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._forget_at = float("-inf")
        self._lock = threading.Lock()

    def begin(
        self, user: User | None, method: str, path: str, address: str, status: int | None = None
    ) -> int:
        """Write down that somebody is about to do something; returns the number of the entry.

        Raises
        ------
        Unavailable
            If the database is away; nothing may be done then.
        """
        who = user or User(LOCAL, "admin", "anonymous")
        row = {
            "at_ms": self._context.clock.now_ms(),
            "actor": who.name,
            "subject": who.subject,
            "via": LOCAL if user is None else who.via,
            "role": who.role,
            "method": method[:16],
            "path": path.replace("\0", "")[:1_024],
            "address": address[:64],
            "status": status,
        }
        with immediate(self._context.engine) as connection:
            number = stored.begin(connection, row)
            if self._is_time_to_forget():
                keep_ms = self._context.configuration.http.audit_keep_ms
                stored.forget(connection, self._context.clock.now_ms() - keep_ms)
        return number

    def finish(self, number: int, status: int, detail: str = "") -> None:
        """Write down how it was answered; without a database, the entry says that this is not known."""
        said = "".join(sign if sign.isprintable() else " " for sign in detail[:MOST_DETAIL])
        try:
            with immediate(self._context.engine) as connection:
                stored.finish(connection, number, status, said or None)
        except Unavailable as error:
            logger.warning("the answer %d is missing in entry %d of the audit log: %s", status, number, error)

    def _is_time_to_forget(self) -> bool:
        with self._lock:
            now = self._context.clock.monotonic()
            if now < self._forget_at:
                return False
            self._forget_at = now + FORGET_EVERY_S
            return True
