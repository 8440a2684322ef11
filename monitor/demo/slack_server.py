"""As much of Slack's API as a bot needs to post, edit and reply; nothing leaves the machine."""

from __future__ import annotations

import itertools
import json
import secrets
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

LOOPBACK = "127.0.0.1"
CHANNEL_ID = "C0DRIFTLINE"
LONGEST_BODY = 1_000_000
JOIN_TIMEOUT_S = 2.0

Fields = dict[str, Any]


@dataclass(frozen=True)
class Posted:
    """What a bot did: posted a message, replied in its thread, or edited it.

    Parameters
    ----------
    ts : str
        Slack's name of the message that was posted or edited; of the first of the thread, for a reply.
    text : str
    blocks : tuple of dict
        Slack's blocks; empty for a reply.
    is_edit, is_reply : bool
    """

    ts: str
    text: str
    blocks: tuple[Fields, ...] = ()
    is_edit: bool = False
    is_reply: bool = False


class LoopbackSlack:
    """A server that takes the place of Slack.

    Parameters
    ----------
    on_posted : callable
        Called with everything that a bot does, in a thread of the server.

    Attributes
    ----------
    token : str
        The only one that is let in.
    """

    def __init__(self, on_posted: Callable[[Posted], None]) -> None:
        self.token = f"xoxb-demo-{secrets.token_hex(8)}"
        self._on_posted = on_posted
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((LOOPBACK, 0), _handler(self))
        self._server.daemon_threads = True
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.1,), name="slack", daemon=True)
        self._thread.start()

    @property
    def base_url(self) -> str:
        """Address that takes the place of ``https://slack.com/api/``."""
        return f"http://{LOOPBACK}:{self._server.server_address[1]}/api/"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(JOIN_TIMEOUT_S)
        self._server.server_close()

    def answer(self, path: str, token: str, fields: Fields) -> Fields:
        """Answer one call, as Slack does: errors are answers too."""
        if token != self.token:
            return {"ok": False, "error": "invalid_auth"}
        method = path.rsplit("/", 1)[-1]
        if method == "auth.test":
            return {"ok": True, "user": "driftline", "team": "demo"}
        if method not in ("chat.postMessage", "chat.update"):
            return {"ok": False, "error": "unknown_method"}
        with self._lock:
            return self._take(method, fields)

    def _take(self, method: str, fields: Fields) -> Fields:
        thread, blocks = fields.get("thread_ts"), fields.get("blocks") or []
        if isinstance(blocks, str):
            blocks = json.loads(blocks)
        is_edit = method == "chat.update"
        ts = str(fields["ts"]) if is_edit else f"{next(self._numbers)}.000000"
        text = str(fields.get("text", ""))
        self._on_posted(Posted(str(thread or ts), text, tuple(blocks), is_edit, is_reply=thread is not None))
        return {"ok": True, "channel": CHANNEL_ID, "ts": ts}


def _handler(slack: LoopbackSlack) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length", 0)), LONGEST_BODY)
            fields = _fields(self.headers.get("Content-Type", ""), self.rfile.read(length))
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            body = json.dumps(slack.answer(self.path, token, fields)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing: what is posted is shown."""

    return Handler


def _fields(content_type: str, body: bytes) -> Fields:
    if "json" in content_type:
        found: Fields = json.loads(body or b"{}")
        return found
    return dict(urllib.parse.parse_qsl(body.decode()))
