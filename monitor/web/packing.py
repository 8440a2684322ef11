"""Packs data, scripts and styles with gzip for browsers that understand it.

Pages are not packed: they hold the token of their forms beside text from their address, and the size of
packed contents tells how much two texts have in common.
"""

from __future__ import annotations

import gzip
import re

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEVEL = 6
LEAST_BYTES = 1_024
LARGE_BYTES = 65_536  # packed beside other requests from here on
PACKED = frozenset({"application/json", "text/css", "text/javascript", "text/csv", "image/svg+xml"})
_GZIP = re.compile(
    r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q\s*=\s*(?P<q>[01](?:\.\d{0,3})?)\s*)?(?=,|$)", re.IGNORECASE
)


class Packing:
    """Packs whole answers of some types; what comes in pieces is passed on as it is.

    Parameters
    ----------
    app : ASGI application
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_understood = understands_gzip(Headers(scope=scope).get("accept-encoding", ""))
        begin: Message | None = None

        async def send_packed(message: Message) -> None:
            nonlocal begin
            if message["type"] == "http.response.start" and _is_packable(message):
                begin = message
                return
            if begin is None:
                await send(message)
                return
            body = message.get("body", b"")
            headers = MutableHeaders(scope=begin)
            headers.add_vary_header("Accept-Encoding")
            if is_understood and not message.get("more_body") and len(body) >= LEAST_BYTES:
                body = await run_in_threadpool(pack, body) if len(body) >= LARGE_BYTES else pack(body)
                headers["Content-Encoding"] = "gzip"
                headers["Content-Length"] = str(len(body))
                message = {**message, "body": body}
            first, begin = begin, None
            await send(first)
            await send(message)

        await self._app(scope, receive, send_packed)


def pack(body: bytes) -> bytes:
    """Pack bytes; the same ones always to the same."""
    return gzip.compress(body, LEVEL, mtime=0)


def understands_gzip(accepted: str) -> bool:
    """Whether a client takes gzip.

    Examples
    --------
    >>> [understands_gzip(one) for one in ("gzip, br", "br;q=1, GZIP;q=0.5", "*", "gzip;q=0", "identity", "")]
    [True, True, True, False, False, False]
    """
    found = _GZIP.search(accepted)
    return found is not None and float(found["q"] or 1) > 0


def _is_packable(begin: Message) -> bool:
    headers = Headers(raw=begin["headers"])
    media_type = headers.get("content-type", "").partition(";")[0]
    return media_type in PACKED and "content-encoding" not in headers
