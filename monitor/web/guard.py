"""What surrounds every answer: security headers, and requests that are refused before anything is read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.loopback import is_loopback
from monitor.telemetry import Answered, Telemetry
from monitor.web.problems import answer

logger = logging.getLogger(__name__)

MOST_BODY_BYTES = 65_536
MOST_TARGET_BYTES = 8_192
MOST_HEADERS = 100
MOST_HEADER_BYTES = 32_768
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PROBES = frozenset({"/livez", "/readyz", "/metrics"})
"""What kubelets and scrapers ask for by the address of a container, whatever its name is."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with less, browsers do not say where a form of ours comes from
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}


class Guard:
    """Adds headers to every answer, counts it, answers faults of ours, and keeps foreign web pages out.

    Parameters
    ----------
    app : ASGI application
    telemetry : Telemetry
        Told the status of every answer.
    host : str
        Address that the service listens on. If it is a loopback address, requests must name a local host, so
        that a foreign web page cannot reach the service through a name of its own (DNS rebinding).
    larger : mapping of str to int
        Largest body in bytes of paths that may have more than others.
    named : str, optional
        Name under which a proxy on this machine may be asked for us as well.
    allowed : iterable of str
        Further names that requests may ask for; if there are any, no others but local ones are, wherever it
        listens. Only probes and scrapes may then come under any name, if it listens to other machines.
    strict_transport_s : int
        For so long browsers that came by HTTPS shall use nothing else; 0: it is not said.
    """

    def __init__(
        self,
        app: ASGIApp,
        telemetry: Telemetry,
        host: str,
        larger: Mapping[str, int],
        named: str = "",
        allowed: Iterable[str] = (),
        strict_transport_s: int = 0,
    ) -> None:
        self._app, self._telemetry, self._larger = app, telemetry, larger
        self._is_inside, known = is_loopback(host), {name.lower() for name in (named, *allowed)} - {""}
        is_checked = self._is_inside or bool(known - {named.lower()})
        self._hosts = LOCAL_NAMES | known | {host} if is_checked else None
        self._strict_transport = f"max-age={strict_transport_s}" if strict_transport_s else ""

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
                self._telemetry.emit(Answered(message["status"]))
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self._strict_transport and scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = self._strict_transport
            await send(message)

        refusal = _too_large(scope) or self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is not None:
            await answer(*refusal)(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            logger.debug("who sent %s %s has gone before its body was there", scope["method"], scope["path"])
        except Exception:
            if is_answered:
                raise
            logger.exception("%s %s failed", scope["method"], scope["path"])
            failed = answer(500, "this is a fault of Driftline; its log says more")
            await failed(scope, receive, send_with_headers)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._answers_to(_name_of(host), path):
            if self._is_inside:
                return 421, "this service answers to local names only (use localhost or 127.0.0.1)"
            return 421, "this service does not go by that name (see http.allowed_hosts in the configuration)"
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

    def _answers_to(self, name: str, path: str) -> bool:
        if self._hosts is None or name in self._hosts:
            return True
        return not self._is_inside and path in PROBES


def _too_large(scope: Scope) -> tuple[int, str] | None:
    """Refuse what a server that takes it all at once lets through, see `monitor.web.limits.connection`."""
    target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if target > MOST_TARGET_BYTES:
        return 414, f"the address is too long (use at most {MOST_TARGET_BYTES} bytes)"
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS or sum(len(n) + len(v) for n, v in headers) > MOST_HEADER_BYTES:
        return 431, f"the header is too large (use at most {MOST_HEADERS} fields, {MOST_HEADER_BYTES} bytes)"
    return None


def _name_of(host: str) -> str:
    """Host without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
