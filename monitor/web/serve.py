"""Serves an application over HTTP in a thread, with a clean start and stop."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType

import uvicorn
from starlette.types import ASGIApp

from monitor.telemetry import Telemetry
from monitor.web.guard import MOST_HEADER_BYTES
from monitor.web.limits.connection import ConnectionLimits, connection_class
from schemas.errors import Unavailable

START_TIMEOUT_S = 60.0
GRACE_S = 1  # for requests under way
STOP_TIMEOUT_S = 5.0
BACKLOG = 512
MOST_REQUESTS = 200


class Serving:
    """An HTTP server in a thread of its own; answers requests as soon as it is made, until `stop`.

    Parameters
    ----------
    app : ASGI application
        From `monitor.web.app.create_app`.
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 for any free one, see `port`.
    limits : ConnectionLimits, optional
        How many connections there may be, and how slow.
    telemetry : Telemetry, optional
        Told of connections that are refused.

    Attributes
    ----------
    port : int
        Port that it listens on.

    Raises
    ------
    Unavailable
        If the address cannot be had, or the server does not start; names the address.

    Examples
    --------
    >>> from fastapi import FastAPI
    >>> with Serving(FastAPI(), "127.0.0.1", 0) as serving:
    ...     serving.port > 0
    True
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        limits: ConnectionLimits | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.host, self.port = host, port
        self._socket = self._listen()
        self.port = int(self._socket.getsockname()[1])
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=connection_class(limits or ConnectionLimits(), telemetry or Telemetry()),
                h11_max_incomplete_event_size=MOST_HEADER_BYTES,
                ws="none",
                log_config=None,
                access_log=False,
                log_level="warning",  # we say ourselves when we come and go
                server_header=False,
                proxy_headers=False,  # monitor.web.sign_in.origin knows whom to believe
                timeout_graceful_shutdown=GRACE_S,
                limit_concurrency=MOST_REQUESTS,
            )
        )
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._start()

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Answer requests under way for at most a second, then close; does nothing a second time."""
        self._server.should_exit = True
        self._thread.join(STOP_TIMEOUT_S)
        self._socket.close()

    def __enter__(self) -> Serving:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _listen(self) -> socket.socket:
        """Bind here and not in the thread, so that the caller learns what is wrong."""
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
        except OSError as error:
            raise Unavailable(self._unavailable(error)) from error
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise Unavailable(self._unavailable(error)) from error
        return listener

    def _run(self) -> None:
        with suppress(SystemExit):  # how uvicorn leaves when it cannot start; `_start` says so
            self._server.run(sockets=[self._socket])

    def _start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                msg = f"the HTTP server at {self.url} does not start (the log says why)"
                raise Unavailable(msg)
            time.sleep(0.005)

    def _unavailable(self, error: OSError) -> str:
        reason = error.strerror or error
        return f"cannot listen on {self.host}:{self.port}: {reason} (see http in the configuration)"
