"""What surrounds every answer: security headers, and requests that are refused before anything is read."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.loopback import is_loopback
from monitor.web.problems import answer

logger = logging.getLogger(__name__)

MOST_BODY_BYTES = 65_536
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with less, browsers do not say where a form of ours comes from
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Adds headers to every answer, answers faults of ours, and keeps foreign web pages from using the API.

    Parameters
    ----------
    app : ASGI application
    host : str
        Address that the service listens on. If it is a loopback address, requests must name a local host, so
        that a foreign web page cannot reach the service through a name of its own (DNS rebinding).
    larger : mapping of str to int
        Largest body in bytes of paths that may have more than others.
    named : str, optional
        Name under which a proxy on this machine may be asked for us as well.
    """

    def __init__(self, app: ASGIApp, host: str, larger: Mapping[str, int], named: str = "") -> None:
        self._app, self._larger = app, larger
        self._hosts = LOCAL_NAMES | {host, named} - {""} if is_loopback(host) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        is_answered = False

        async def send_with_headers(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is not None:
            await answer(*refusal)(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            if is_answered:
                raise
            logger.exception("%s %s failed", scope["method"], scope["path"])
            failed = answer(500, "this is a fault of Driftline; its log says more")
            await failed(scope, receive, send_with_headers)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self._hosts is not None and _name_of(host) not in self._hosts:
            return 421, "this service answers to local names only (use localhost or 127.0.0.1)"
        if method in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, "a web page from elsewhere may not change anything here"
        if "transfer-encoding" in headers:
            return 411, "the size of the body has to be given (use Content-Length)"
        size, most = headers.get("content-length", "0"), self._larger.get(path, MOST_BODY_BYTES)
        if not size.isascii() or not size.isdigit() or int(size[:20]) > most:
            return 413, f"the body is too large (use at most {most} bytes)"
        return None


def _name_of(host: str) -> str:
    """Host without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
