"""Local servers that behave like Slack and like an endpoint of Standard Webhooks, with faults on request."""

import base64
import hashlib
import hmac
import itertools
import json
import socket
import ssl
import threading
import urllib.parse
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Answer:
    """What the server does with one request.

    `drop` closes the connection without an answer; `hang` waits until the server is stopped; `is_kept` says
    whether the request takes effect all the same, as when only the answer gets lost.
    """

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hang: bool = False
    is_kept: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """The body as Slack reads it: JSON or a form."""
        if "json" in self.headers.get("content-type", ""):
            return json.loads(self.body)
        return dict(urllib.parse.parse_qsl(self.body.decode()))


class LocalServer:
    """Answers from a script first, then as `respond` says; remembers every request."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.script: deque[Answer] = deque()
        self._released = threading.Event()
        self._port = port
        self._server: ThreadingHTTPServer | None = None

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._released.clear()
        self._server = _Server((LOOPBACK, self._port), _handler_of(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def will(self, *answers: Answer) -> None:
        """Answer the next requests like this."""
        self.script.extend(answers)

    def respond(self, request: Request) -> Answer:
        return Answer(200, {"ok": True})

    def handle(self, request: Request) -> Answer:
        self.requests.append(request)
        answer = self.script.popleft() if self.script else None
        if answer is None:
            return self.respond(request)
        if answer.is_kept:
            self.respond(request)
        if answer.hang:
            self._released.wait(600)
        return answer


class SlackServer(LocalServer):
    """The part of Slack's API that a bot with ``chat:write`` uses, with its limits."""

    def __init__(self, token: str, channels: Iterable[str] = ("#ml",)) -> None:
        super().__init__()
        self.token = token
        self.channels = {name: f"C{number}" for number, name in enumerate(channels)}
        self.messages: dict[str, dict[str, Any]] = {}
        self.replies: dict[str, list[dict[str, Any]]] = {}
        self._count = itertools.count(1)

    def respond(self, request: Request) -> Answer:
        if request.path.startswith("/services/"):
            return self._incoming(request)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return _refusal("invalid_auth")
        method = request.path.removeprefix("/api/")
        if method == "auth.test":
            return Answer(200, {"ok": True, "user": "driftline", "team": "ml"})
        fields = request.fields
        problem = _broken_limit(fields)
        if problem:
            return _refusal(problem)
        return self._post(fields) if method == "chat.postMessage" else self._update(fields)

    def _post(self, fields: dict[str, Any]) -> Answer:
        known = {**self.channels, **{id_: id_ for id_ in self.channels.values()}}
        channel = known.get(fields["channel"])
        if channel is None:
            return _refusal("channel_not_found")
        ts = f"1767225600.{next(self._count):06d}"
        if "thread_ts" in fields:
            self.replies.setdefault(fields["thread_ts"], []).append(fields)
        else:
            self.messages[ts] = fields
        return Answer(200, {"ok": True, "channel": channel, "ts": ts})

    def _update(self, fields: dict[str, Any]) -> Answer:
        if fields["channel"] not in self.channels.values():
            return _refusal("channel_not_found")
        if fields["ts"] not in self.messages:
            return _refusal("message_not_found")
        self.messages[fields["ts"]] = fields
        return Answer(200, {"ok": True, "channel": fields["channel"], "ts": fields["ts"]})

    def _incoming(self, request: Request) -> Answer:
        problem = _broken_limit(request.fields)
        if problem:
            return Answer(400, problem)
        self.messages[f"incoming-{next(self._count)}"] = request.fields
        return Answer(200, "ok")


class WebhookServer(LocalServer):
    """Checks signatures with code of its own and keeps each message once, by its id."""

    def __init__(self, *secrets: str) -> None:
        super().__init__()
        self.secrets = secrets
        self.kept: dict[str, dict[str, Any]] = {}
        self.order: list[str] = []
        self.rejected: list[str] = []

    def respond(self, request: Request) -> Answer:
        if request.method == "HEAD":
            return Answer(405)
        id_ = request.headers.get("webhook-id", "")
        if not all(self.is_signed(request, secret) for secret in self.secrets):
            self.rejected.append(id_)
            return Answer(401, {"error": "signature"})
        if id_ not in self.kept:
            self.kept[id_] = json.loads(request.body)
            self.order.append(id_)
        return Answer(204)

    @staticmethod
    def is_signed(request: Request, secret: str) -> bool:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = b".".join(
            [
                request.headers["webhook-id"].encode(),
                request.headers["webhook-timestamp"].encode(),
                request.body,
            ]
        )
        wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return wanted in request.headers["webhook-signature"].split(" ")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """Clients that give up are part of the tests."""


def _handler_of(server: LocalServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, self.rfile.read(length))
            answer = server.handle(request)
            if answer.drop or answer.hang:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.connection.close()
                return
            body = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            data = b"" if answer.body is None else body.encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            kind = "text/plain" if isinstance(answer.body, str) else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_POST = _serve  # noqa: N815
        do_GET = _serve  # noqa: N815
        do_HEAD = _serve  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Keep the output of tests clean."""

    return Handler


def _refusal(code: str) -> Answer:
    return Answer(200, {"ok": False, "error": code})


def _broken_limit(fields: dict[str, Any]) -> str | None:
    """Name the error that Slack gives for a message beyond its limits."""
    blocks = fields.get("blocks", [])
    blocks = json.loads(blocks) if isinstance(blocks, str) else blocks
    if not fields.get("text"):
        return "no_text"
    if len(fields["text"]) > 40_000:
        return "msg_too_long"
    limits = {"header": 150, "section": 3_000}
    texts = [(block["type"], block["text"]["text"]) for block in blocks if "text" in block]
    is_within = len(blocks) <= 50 and all(0 < len(text) <= limits[kind] for kind, text in texts)
    return None if is_within and sum(len(text) for _, text in texts) <= 13_000 else "invalid_blocks"
