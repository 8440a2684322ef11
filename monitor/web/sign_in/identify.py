"""Finds out who asks: by token, by session, by what a trusted proxy says; or that nobody has to say."""

from __future__ import annotations

from starlette.requests import Request

from monitor.config.sign_in import OidcSignIn, ProxySignIn
from monitor.store import api_tokens, sessions
from monitor.store.engine import immediate, reading
from monitor.web.context import Context
from monitor.web.problems import Refused
from monitor.web.sign_in.origin import lies_in, networks
from monitor.web.sign_in.roles import printable, role_of
from monitor.web.sign_in.sessions import Sessions
from monitor.web.sign_in.tokens import PREFIX, hash_of, is_token
from monitor.web.sign_in.user import User

USED_EVERY_MS = 60_000
NO_ROLE = "none of your groups has a role here (see http.sign_in.roles in the configuration)"


class Identify:
    """Says who is behind a request.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        http = context.configuration.http
        self._context, self._http = context, http
        self.sessions = Sessions(context, http.sign_in) if isinstance(http.sign_in, OidcSignIn) else None
        self._proxy = http.sign_in if isinstance(http.sign_in, ProxySignIn) else None
        self._proxies = networks(self._proxy.trusted) if self._proxy else ()

    @property
    def is_local(self) -> bool:
        """Whether nobody has to sign in, because only this machine can reach us."""
        return self._http.sign_in is None and not self._http.allow_anonymous

    @property
    def how(self) -> str:
        """How to come in, in words."""
        if self.sessions is not None:
            return "sign in first, at /sign-in, or send an API token (Authorization: Bearer dl_…)"
        return (
            "come through the proxy that signs people in, or send an API token (Authorization: Bearer dl_…)"
        )

    def who(self, request: Request, peer: str, address: str) -> User | None:
        """Find out who asks; None if nobody says so.

        Parameters
        ----------
        request : Request
        peer : str
            Address of the other end of the connection.
        address : str
            Where the request comes from.

        Raises
        ------
        Refused
            401 if a token is wrong, 403 if somebody has no role, 429 after too many wrong tokens.
        """
        given = request.headers.getlist("authorization")
        scheme, _, token = given[0].partition(" ") if given else ("", "", "")
        if scheme.lower() == "bearer" and (not self.is_local or token.startswith(PREFIX)):
            return self._by_token(token.strip() if len(given) == 1 else "", address)
        if self.sessions is not None:
            return self.sessions.find(request.cookies)
        if self._proxy is not None:
            return self._by_proxy(self._proxy, request) if lies_in(peer, self._proxies) else None
        return None if self.is_local else User("anonymous", self._http.anonymous_role, "anonymous")

    def touch(self, user: User) -> None:
        """Remember that a session or token was used, to the minute."""
        now_ms = self._context.clock.now_ms()
        if user.key and (user.used_at_ms is None or user.used_at_ms <= now_ms - USED_EVERY_MS):
            with immediate(self._context.engine) as connection:
                if user.via == "session":
                    sessions.touch(connection, user.key, now_ms)
                else:
                    api_tokens.touch(connection, int(user.key), now_ms)

    def _by_token(self, token: str, address: str) -> User:
        hash_ = hash_of(token)
        guesses = self._context.guesses
        guesses.check(address, hash_)
        row = None
        if is_token(token):
            with reading(self._context.engine) as connection:
                row = api_tokens.find(connection, hash_, self._context.clock.now_ms())
        if row is None:
            guesses.wrong(address, hash_)
            raise Refused(401, "the token is not valid", headers={"WWW-Authenticate": "Bearer"})
        guesses.right(address, hash_)
        return User(f"token {row.name}", row.role, "token", "", str(row.id), row.used_at_ms)

    def _by_proxy(self, options: ProxySignIn, request: Request) -> User | None:
        names = request.headers.getlist(options.user_header)
        if len(names) > 1:  # the proxy added its own to one that came from outside
            raise Refused(401, f"there is more than one {options.user_header} header")
        name = printable(names[0]) if names else ""
        if not name:
            return None
        lines = request.headers.getlist(options.groups_header) if options.groups_header else []
        groups = [group.strip() for line in lines for group in line.split(",") if group.strip()]
        role = role_of(groups, options.roles)
        if role is None:
            raise Refused(403, NO_ROLE)
        return User(name, role, "proxy")
