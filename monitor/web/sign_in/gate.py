"""The gate in front of all routes: finds out who asks, lets in who may, and notes who changes something."""

from __future__ import annotations

import logging
from urllib.parse import quote

from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.web.console.shell import page_before, query
from monitor.web.context import Context
from monitor.web.guard import SAFE_METHODS
from monitor.web.limits.rate import Rate
from monitor.web.problems import RETRY_AFTER_S, PageOf, Refused, answer
from monitor.web.sign_in.access import needed
from monitor.web.sign_in.acting import acting
from monitor.web.sign_in.audit import Audit
from monitor.web.sign_in.identify import Identify
from monitor.web.sign_in.origin import networks, origin_of, peer_of
from monitor.web.sign_in.user import User
from schemas.errors import Unavailable

logger = logging.getLogger(__name__)

API = ("/api/", "/v1/")


class Gate:
    """Middleware that enforces `monitor.web.sign_in.access`.

    Parameters
    ----------
    app : ASGI application
    context : Context
    identify : Identify
    audit : Audit
    page : callable, optional
        Makes pages of problem documents, for browsers.

    Notes
    -----
    Routes find the user in ``request.state.user``: None where nobody has to sign in.
    """

    def __init__(
        self, app: ASGIApp, context: Context, identify: Identify, audit: Audit, page: PageOf | None = None
    ) -> None:
        self._app, self._identify, self._audit, self._page = app, identify, audit, page
        self._http = context.configuration.http
        self._proxies = networks(self._http.trusted_proxies)
        self._rate = Rate(context.clock, self._http.limits, is_on=not identify.is_local)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer = peer_of(scope)
        address, scope["scheme"] = origin_of(scope, self._proxies)
        state = scope.setdefault("state", {})
        state |= {"user": None, "address": address, "is_outside": not self._identify.is_local}
        request = Request(scope)
        access = needed(request.method, scope["path"], metrics_need_token=self._http.metrics_need_token)
        if access == "own":  # senders of events are as many as the brokers take
            await self._app(scope, receive, send)
            return
        if access == "open":
            try:
                self._rate.take_open(scope["path"], address)
            except Refused as error:
                await self._refusal(request, error)(scope, receive, send)
                return
            await self._app(scope, receive, send)
            return
        try:
            self._rate.check_stranger(request, address)
            user = await run_in_threadpool(self._identify.who, request, peer, address)
            self._rate.take(user, request, address)
            if user is None and not self._identify.is_local:
                await self._unknown(request)(scope, receive, send)
                return
            state |= {"user": user, "is_outside": False}
            number = await self._written_down(request, user, address)
        except (Refused, Unavailable) as error:
            await self._refusal(request, error)(scope, receive, send)
            return
        if user is not None and not user.may(access):
            reason = f"this takes the role {access}, and {user.name} has the role {user.role}"
            await self._finish(number, 403)
            await self._told(request, answer(403, reason))(scope, receive, send)
            return
        await self._pass(scope, receive, send, user, number)

    async def _pass(
        self, scope: Scope, receive: Receive, send: Send, user: User | None, number: int | None
    ) -> None:
        """Let a request through, and write down how it was answered."""
        status, notes = 500, list[str]()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            with acting(user) as notes:
                await self._app(scope, receive, send_and_note)
        finally:
            await self._finish(number, status, "; ".join(notes))
            if user is not None:
                await self._touched(user)

    async def _written_down(self, request: Request, user: User | None, address: str) -> int | None:
        """Write down that something is about to be changed; None if nothing is."""
        if request.method in SAFE_METHODS:
            return None
        path = request.scope["path"]
        return await run_in_threadpool(self._audit.begin, user, request.method, path, address)

    async def _finish(self, number: int | None, status: int, detail: str = "") -> None:
        if number is not None:
            await run_in_threadpool(self._audit.finish, number, status, detail)

    async def _touched(self, user: User) -> None:
        try:
            await run_in_threadpool(self._identify.touch, user)
        except Unavailable as error:
            logger.warning("%s was here, which could not be written down: %s", user.name, error)

    def _unknown(self, request: Request) -> Response:
        """Ask somebody whom we do not know to sign in."""
        path, headers = request.scope["path"], {"WWW-Authenticate": "Bearer"}
        if self._identify.sessions is None or path.startswith(API):
            return self._told(request, answer(401, self._identify.how, headers=headers))
        if "hx-request" in request.headers:
            headers["HX-Redirect"] = f"/sign-in{query({'back': page_before(request)})}"
        elif request.method in SAFE_METHODS and _is_browser(request):
            came = path + (f"?{request.url.query}" if request.url.query else "")
            return Response(status_code=303, headers={"Location": f"/sign-in?back={quote(came, safe='')}"})
        return self._told(request, answer(401, self._identify.how, headers=headers))

    def _refusal(self, request: Request, error: Refused | Unavailable) -> Response:
        if isinstance(error, Refused):
            return self._told(request, answer(error.status, error.detail, error.errors, error.headers))
        return self._told(request, answer(503, str(error), headers={"Retry-After": str(RETRY_AFTER_S)}))

    def _told(self, request: Request, made: JSONResponse) -> Response:
        """Make a page of a problem document where a person reads it."""
        if self._page is None or not _is_browser(request) or request.scope["path"].startswith(API):
            return made
        page = self._page(request, made)
        kept = {name: value for name, value in made.headers.items() if not name.startswith("content-")}
        page.headers.update(kept)
        return page


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
