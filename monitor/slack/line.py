"""A Socket Mode connection that is kept open: Slack's way of telling a program that nobody can call.

Notes
-----
The connection itself is slack-sdk's built-in client. When to connect again is decided here, since the client
would wait for minutes inside a call when Slack asks it to, connect without any pause when Slack closes
connections as fast as they come, and not notice for long that the other end is gone.

Slack renews connections every few hours (``disconnect`` with ``refresh_requested``): the new one is there
before the old one is closed. Envelopes may come twice, and on whichever connection of the app: an app has at
most ten, in all processes together.

References
----------
https://docs.slack.dev/apis/events-api/using-socket-mode/
"""

from __future__ import annotations

import logging
import queue
import random
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

import msgspec
from pydantic import SecretStr
from slack_sdk.errors import SlackClientError
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.builtin.connection import Connection, ConnectionState
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from alerting.slack.client import Refused, SlackApi, silent
from monitor.clock import Clock
from monitor.deliver import backoff_s
from schemas.decoding import json_decoder
from schemas.errors import RetryLater

logger = logging.getLogger("driftline.slack_buttons")

STABLE_S = 10.0  # a connection that lasted as long was a good one
HELLO_S = 10.0
LONGEST_DELAY_S = 60.0
TOO_MANY_S = 30.0
REFUSED_S = 300.0  # until a person has mended it
LOOK_S = 0.25
LEAVE_S = 0.4
HURRY_S = 0.2  # on a connection that ends anyway
FRAME_BYTES = 65_536
RENEWALS = frozenset({"refresh_requested", "warning"})
OnPayload = Callable[[dict[str, Any]], None]


class _Heard(msgspec.Struct):
    """What is read of every message of Slack."""

    type: str = ""
    reason: str = ""


class SocketLine:
    """Keeps one connection open, in a thread of its own, until it is closed.

    Parameters
    ----------
    api : SlackApi
        With the app's token.
    token : SecretStr
        The same token (``xapp-…``); it needs the scope ``connections:write``.
    on_payload : callable
        Called with the payload of every interaction, after it was acknowledged; must return at once.
    clock : Clock
        For spans of time.
    rng : random.Random
        Spreads attempts to connect.
    """

    def __init__(
        self, api: SlackApi, token: SecretStr, on_payload: OnPayload, clock: Clock, rng: random.Random
    ) -> None:
        self._api, self._token, self._on_payload = api, token, on_payload
        self._clock, self._rng = clock, rng
        self._stop = threading.Event()
        self._heard: queue.SimpleQueue[_Heard] = queue.SimpleQueue()
        self._client: _Client | None = None
        self._thread = threading.Thread(target=self._run, name="slack-line", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def close(self, patience_s: float = LEAVE_S) -> None:
        """Hang up; what is in the middle of a call that long leaves later, on its own."""
        self._stop.set()
        self._heard.put(_Heard())
        self._hang_up()
        self._thread.join(patience_s)

    def _run(self) -> None:
        client = self._client = _Client(self._token, self._api, self._note)
        client.socket_mode_request_listeners.append(self._take)
        attempts = 0
        try:
            while not self._stop.is_set():
                began = self._clock.monotonic()
                delay_s = self._hold(client)
                is_stable = self._clock.monotonic() - began >= STABLE_S
                attempts = 0 if is_stable else attempts + 1
                if attempts:
                    delay_s = max(delay_s, min(LONGEST_DELAY_S, backoff_s(attempts - 1, self._rng)))
                if delay_s:
                    self._drop(client)
                    self._stop.wait(delay_s)
        finally:
            self._hang_up()
            client.message_queue.put(None)  # ends its wait for a message
            client.close()

    def _hold(self, client: _Client) -> float:
        """Connect, and stay as long as the connection is good; seconds to wait before the next one."""
        try:
            client.wss_uri = client.issue_new_wss_url()
            self._forget()
            client.connect()  # closes the connection before, once the new one is there
            return self._attend(client)
        except RetryLater as error:
            logger.warning("buttons in Slack do not work yet: %s", error)
            return error.after_s or 0.0
        except Refused as refusal:
            logger.error("buttons in Slack do not work: %s", refusal)  # noqa: TRY400 - says everything
            return REFUSED_S
        except Exception:  # whatever the SDK does, it is tried again
            logger.exception("the connection for buttons in Slack failed")
            return 0.0

    def _attend(self, client: _Client) -> float:
        """Wait until the connection is to be replaced."""
        deadline = self._clock.monotonic() + HELLO_S
        is_greeted = False
        while not self._stop.is_set():
            heard = self._next()
            if heard.type == "hello":
                is_greeted = True
                logger.info("buttons in Slack work")
            elif heard.type == "disconnect":
                return _noted(heard.reason)
            if is_cut(client) or (not is_greeted and self._clock.monotonic() > deadline):
                logger.warning("the connection for buttons in Slack is gone")
                return 0.0
        return 0.0

    def _next(self) -> _Heard:
        try:
            return self._heard.get(timeout=LOOK_S)
        except queue.Empty:
            return _Heard()

    def _forget(self) -> None:
        """Drop what was heard on connections before."""
        while not self._heard.empty():
            self._heard.get()

    def _note(self, raw: str) -> None:
        try:
            heard = json_decoder(_Heard).decode(raw)
        except msgspec.MsgspecError as error:
            logger.warning("Slack sent something that is no message: %s", error)
            return
        if heard.type == "disconnect":
            self._hurry()
        if heard.type in ("hello", "disconnect"):
            self._heard.put(heard)

    def _hurry(self) -> None:
        """Let the reader look up often: who replaces the connection waits until it does."""
        sock = _socket_of(self._client) if self._client is not None else None
        if sock is not None:
            sock.settimeout(HURRY_S)

    def _take(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        """Acknowledge first, within the three seconds that Slack gives; then hand on what people did."""
        try:
            client.send_socket_mode_response(SocketModeResponse(request.envelope_id))
        except (SlackClientError, OSError) as error:
            kind = type(error).__name__
            logger.warning("an answer to Slack got lost (%s): it will tell of the same press again", kind)
        if request.type == "interactive":
            self._on_payload(request.payload)

    def _drop(self, client: _Client) -> None:
        """Close the connection; the SDK would read on and on from one whose other end is gone."""
        self._hang_up()
        client.current_session_state.terminated = True
        client.disconnect()

    def _hang_up(self) -> None:
        """Wake whoever reads from the connection."""
        client = self._client
        sock = _socket_of(client) if client is not None else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                logger.debug("the connection was closed already: %s", error)


class _Client(SocketModeClient):
    """The SDK's client, which leaves to others when to connect."""

    def __init__(self, token: SecretStr, api: SlackApi, on_message: Callable[[str], None]) -> None:
        super().__init__(
            token.get_secret_value(),
            logger=silent,
            web_client=api.client,
            auto_reconnect_enabled=False,
            receive_buffer_size=FRAME_BYTES,
            on_message_listeners=[on_message],
        )
        self._api = api

    def issue_new_wss_url(self) -> str:
        """Ask Slack where to connect.

        Raises
        ------
        RetryLater, Refused
            As `SlackApi.call`.
        """
        answer = self._api.call(self.web_client.apps_connections_open, app_token=self.app_token)
        url = answer.get("url")
        if not isinstance(url, str):
            msg = "Slack did not say where to connect"
            raise RetryLater(msg)
        return url

    def connect_to_new_endpoint(self, force: bool = False) -> None:
        """Do nothing: the line has heard the same message."""

    def _run_current_session(self) -> None:
        """Read from the connection that there is until it is dropped; called again and again.

        The SDK's own begins by taking back that a connection was given up. One that is exchanged or closed
        at that moment would be read for ever, in place of the next one, and who closes the client would wait.
        """
        session = self.current_session
        if session is None or not session.is_active():
            return
        try:
            session.run_until_completion(_Reading(self, session))
        except Exception:  # else nobody would read from the next one
            logger.exception("reading from the connection for buttons in Slack failed")


class _Reading(ConnectionState):
    """Says when to stop reading from a connection: once it was given up, or another has taken its place."""

    def __init__(self, client: SocketModeClient, session: Connection) -> None:
        self._client, self._session, self._is_over = client, session, False

    @property
    def terminated(self) -> bool:
        """Whether to stop; the reader sets it when the connection ends by itself."""
        client = self._client
        return (
            self._is_over
            or client.current_session is not self._session
            or client.current_session_state.terminated
        )

    @terminated.setter
    def terminated(self, is_over: bool) -> None:
        self._is_over = is_over


def is_cut(client: SocketModeClient) -> bool:
    """Whether a connection is closed, by either end."""
    sock = _socket_of(client)
    if sock is None or sock.fileno() < 0:
        return True
    watch = select.poll()
    watch.register(sock.fileno(), select.POLLRDHUP)
    return bool(watch.poll(0))


def _socket_of(client: SocketModeClient) -> socket.socket | None:
    session = client.current_session
    return None if session is None else session.sock


def _noted(reason: str) -> float:
    """Log why Slack ends a connection; seconds to wait at least before the next one."""
    if reason in RENEWALS:
        logger.info("Slack renews the connection for buttons")
        return 0.0
    if reason == "too_many_websockets":
        logger.warning("buttons in Slack do not work here: the app has ten connections already")
        return TOO_MANY_S
    if reason == "link_disabled":
        logger.error("buttons in Slack do not work: Socket Mode is switched off in the settings of the app")
        return REFUSED_S
    logger.warning("Slack ends the connection for buttons: %.80s", reason or "no reason given")
    return 0.0
