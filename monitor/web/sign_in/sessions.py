"""Sessions: what a browser keeps, and what is stored of it.

The browser keeps 256 random bits in a cookie that scripts cannot read; the database keeps their hash, so that
whoever reads it cannot pass for anybody. All web processes know all sessions.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from fastapi import Response

from monitor.config.sign_in import OidcSignIn
from monitor.store import sessions as stored
from monitor.store.engine import immediate, reading
from monitor.web.context import Context
from monitor.web.sign_in.tokens import hash_of
from monitor.web.sign_in.user import User

ID_BYTES = 32
MOST_SIGNS = 64


class Sessions:
    """Begins, finds and ends sessions.

    Parameters
    ----------
    context : Context
    options : OidcSignIn
    """

    def __init__(self, context: Context, options: OidcSignIn) -> None:
        self._context, self._options = context, options
        self.is_safe = (context.configuration.http.public_url or "").startswith("https://")
        self.cookie = "__Host-driftline_session" if self.is_safe else "driftline_session"

    def find(self, cookies: Mapping[str, str]) -> User | None:
        """Say whose session a browser has; None if it has none that is alive."""
        id_ = cookies.get(self.cookie, "")
        if not id_ or len(id_) > MOST_SIGNS:
            return None
        with reading(self._context.engine) as connection:
            now_ms = self._context.clock.now_ms()
            row = stored.find(connection, hash_of(id_), now_ms, self._options.idle_ms)
        if row is None:
            return None
        return User(row.name, row.role, "session", row.subject, row.id_hash, row.used_at_ms)

    def begin(self, user: User, cookies: Mapping[str, str], response: Response) -> None:
        """Sign a browser in, with an id that nobody can have known before; a session that it had ends."""
        id_, now_ms = secrets.token_urlsafe(ID_BYTES), self._context.clock.now_ms()
        row = {
            "id_hash": hash_of(id_),
            "name": user.name,
            "subject": user.subject,
            "role": user.role,
            "created_at_ms": now_ms,
            "used_at_ms": now_ms,
            "expires_at_ms": now_ms + self._options.lifetime_ms,
        }
        with immediate(self._context.engine) as connection:
            stored.end_stale(connection, now_ms, self._options.idle_ms)
            stored.end(connection, hash_of(cookies.get(self.cookie, "")))
            stored.add(connection, row)
        self.set_cookie(response, self.cookie, id_, self._options.lifetime_ms // 1_000)

    def end(self, user: User, response: Response) -> None:
        """Sign a browser out."""
        with immediate(self._context.engine) as connection:
            stored.end(connection, user.key)
        self.set_cookie(response, self.cookie, "", 0)

    def set_cookie(self, response: Response, name: str, value: str, age_s: int) -> None:
        """Let the browser keep something that scripts cannot read and other sites cannot send along."""
        response.set_cookie(
            name, value, max_age=age_s, secure=self.is_safe, httponly=True, samesite="lax", path="/"
        )
