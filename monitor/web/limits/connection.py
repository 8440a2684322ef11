"""Connections of the HTTP server: how many one client may hold, and how slowly it may send and read."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from monitor.config.service import Http
from monitor.loopback import is_loopback
from monitor.telemetry import Answered, Telemetry
from monitor.web.limits.sources import source_of
from monitor.web.sign_in.origin import Networks, lies_in, networks

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 5
Phase = Literal["none", "header", "body"]


@dataclass(frozen=True)
class ConnectionLimits:
    """What connections may do.

    Parameters
    ----------
    most : int
        Connections of all clients together.
    per_client : int
        Connections of one address, unless it is this machine or trusted.
    trusted : sequence of networks
        Proxies, behind which are many clients.
    read_s : float
        Seconds that the header of a request may take to come, and then its body.
    write_s : float
        Seconds that a client may leave an answer unread.
    """

    most: int = 400
    per_client: int = 100
    trusted: Networks = ()
    read_s: float = 30.0
    write_s: float = 60.0

    @classmethod
    def of(cls, http: Http) -> ConnectionLimits:
        """Take them from the configuration."""
        limits = http.limits
        return cls(
            per_client=limits.connections_per_client,
            trusted=networks(http.trusted_proxies),
            read_s=limits.read_timeout_ms / 1_000,
        )


class Connections:
    """Counts the connections of a server; used by its one thread."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a new connection; False if there are too many already."""
        source, limits = source_of(address), self.limits
        is_local = is_loopback(address) or is_loopback(source)
        is_one_client = not is_local and not lies_in(address, limits.trusted)
        is_full = self._open.total() >= limits.most or (
            is_one_client and self._open[source] >= limits.per_client
        )
        if not is_full:
            self._open[source] += 1
        return not is_full

    def leave(self, address: str) -> None:
        """Count a connection no more."""
        source = source_of(address)
        self._open[source] -= 1
        if not self._open[source]:
            del self._open[source]


class LimitedConnection(H11Protocol):
    """One connection, which is closed when its client is too slow.

    Notes
    -----
    Each phase of a request has one deadline, which further bytes do not move: whoever sends a byte a second
    gets no further than who sends none. Between requests, uvicorn's own timeout for kept connections holds.
    """

    connections_of_all: Connections
    telemetry: Telemetry

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._phase: Phase = "none"
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._address, self._is_counted = "", False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._is_counted = self.connections_of_all.enter(self._address)
        if self._is_counted:
            self._go_on("header")
        else:
            self._say(503, "too many connections", ("retry-after", str(RETRY_AFTER_S)))

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._go_on("none")
        self._read_on()
        if self._is_counted:
            self.connections_of_all.leave(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on with what the client has sent meanwhile."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._abort_later()

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        super().resume_writing()
        self._read_on()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is not used; what the client has not read is given up after a while."""
        super().timeout_keep_alive_handler()
        self._abort_later()

    def _watch(self) -> None:
        """Find out what the client owes us, and by when."""
        state = self.conn.their_state
        if self.transport.is_closing():
            self._go_on("none")
        elif state is h11.SEND_BODY:
            self._go_on("body")
        elif state is h11.IDLE and (self._phase == "header" or self.conn.trailing_data[0]):
            self._go_on("header")
        else:
            self._go_on("none")

    def _go_on(self, phase: Phase) -> None:
        if phase == self._phase:
            return
        self._phase = phase
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if phase != "none":
            after_s = self.connections_of_all.limits.read_s
            self._reading = self.loop.call_later(after_s, self._give_up_reading)

    def _give_up_reading(self) -> None:
        self._reading = None
        has_begun = self._phase == "body" or bool(self.conn.trailing_data[0])
        logger.info("a request from %s took too long to come: its %s", self._address, self._phase)
        if not has_begun or self._is_answering:
            self._close()
            return
        if self.cycle is not None:
            self.cycle.disconnected = True  # whoever waits for the body learns that it does not come
            self.cycle.message_event.set()
        self._say(408, "the request took too long to come (see http.limits.read_timeout)")

    @property
    def _is_answering(self) -> bool:
        """Whether an answer is under way or done, so that no other can be given."""
        return self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    def _say(self, status: int, detail: str, *more: tuple[str, str]) -> None:
        """Give an answer of ours, and close."""
        self.telemetry.emit(Answered(status))
        headers = [("content-type", "text/plain; charset=utf-8"), ("connection", "close"), *more]
        for event in (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=detail.encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self._close()

    def _close(self) -> None:
        self.transport.close()
        self._abort_later()

    def _abort_later(self) -> None:
        if self._writing is None:
            self._writing = self.loop.call_later(self.connections_of_all.limits.write_s, self.transport.abort)

    def _read_on(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None


def connection_class(limits: ConnectionLimits, told: Telemetry) -> type[LimitedConnection]:
    """Make the class of a server's connections, which count themselves and tell what they refuse."""

    class OneServersConnection(LimitedConnection):
        connections_of_all = Connections(limits)
        telemetry = told

    return OneServersConnection
