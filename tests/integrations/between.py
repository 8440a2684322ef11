"""Stands between Driftline and a tool, to act at a moment that nothing else can hit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx

from tests.kit.ports import LOOPBACK

Predicate = Callable[[str, str, bytes], bool]
PASSED_ON = ("authorization", "content-type", "accept", "dagster-cloud-api-token")


class Between:
    """Passes requests on; swallows the answer to the first one that matters. A context manager.

    Parameters
    ----------
    address : str
        Of the tool.
    matters : callable
        Told method, path and body of a request.
    act : callable
        Called once, when the tool has answered the first request that matters; Driftline never sees that
        answer.
    """

    def __init__(self, address: str, matters: Predicate, act: Callable[[], None]) -> None:
        self._address, self._matters, self._act = address, matters, act
        self._lock = threading.Lock()
        self._is_first = True
        self._acted = threading.Event()
        self._failure: BaseException | None = None
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="between")
        self.count = 0  # of requests that matter
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_until_acted(self, timeout_s: float) -> None:
        """Wait until it has acted.

        Raises
        ------
        TimeoutError
            No request that matters has come.
        """
        if not self._acted.wait(timeout_s):
            msg = f"after {timeout_s:g} s: no request to start a run has come"
            raise TimeoutError(msg)
        if self._failure is not None:
            raise self._failure

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response | None:
        """Ask the tool; None if its answer is to be swallowed."""
        does_matter = self._matters(method, path, body)
        with self._lock:
            self.count += does_matter
            is_last_moment = does_matter and self._is_first
            self._is_first = self._is_first and not does_matter
        with httpx.Client(trust_env=False, timeout=60) as client:
            answer = client.request(method, self._address + path, headers=headers, content=body)
        if not is_last_moment:
            return answer
        try:
            answer.raise_for_status()
            self._act()
        except BaseException as error:
            self._failure = error
        self._acted.set()
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        between = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self) -> None:
                self._do()

            def do_POST(self) -> None:
                self._do()

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
                answer = between.pass_on(self.command, self.path, headers, body)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status_code)
                self.send_header("content-type", answer.headers.get("content-type", "text/plain"))
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

        return Handler
