"""The WebSocket end of Slack's Socket Mode, after RFC 6455, as much of it as the SDK uses."""

import base64
import contextlib
import hashlib
import itertools
import json
import socket
import struct
import threading
import time
import urllib.parse

from tests.alerting.servers import LOOPBACK, Answer
from tests.kit.waiting import wait_for

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MOST_CONNECTIONS = 10


class Link:
    """The WebSocket end of Socket Mode: greets, tells of presses, keeps acknowledgements."""

    def __init__(self) -> None:
        self._port = 0
        self._listener: socket.socket | None = None
        self._tickets: set[str] = set()
        self._connections: list[socket.socket] = []
        self._sending = threading.Lock()
        self._count = itertools.count(1)
        self.acknowledged: set[str] = set()
        self.opened_s: list[float] = []  # when, on a clock that only moves on
        self.greeted = 0
        self.pongs: list[bytes] = []
        self.refuse = 0  # handshakes to answer with 503
        self.greeting = True
        self.most = MOST_CONNECTIONS

    @property
    def opened(self) -> int:
        return len(self.opened_s)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def start(self) -> None:
        listener = socket.create_server((LOOPBACK, self._port))
        self._listener, self._port = listener, listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def stop(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def offer(self, _fields) -> Answer:
        ticket = f"ticket-{next(self._count)}"
        self._tickets.add(ticket)
        return Answer(200, {"ok": True, "url": f"ws://{LOOPBACK}:{self._port}/link/?ticket={ticket}"})

    def tell(self, payload: object, envelope: str | None = None, kind: str = "interactive") -> str:
        """Send an envelope over the newest connection."""
        envelope = envelope or f"envelope-{next(self._count)}"
        message = {
            "envelope_id": envelope,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": True,
        }
        self.send(json.dumps(message).encode())
        return envelope

    def say_goodbye(self, reason: str) -> None:
        self.send(json.dumps({"type": "disconnect", "reason": reason, "debug_info": {}}).encode())

    def send(self, data: bytes, opcode: int = TEXT) -> None:
        with self._sending:
            self._connections[-1].sendall(_frame(data, opcode))

    def cut(self) -> None:
        """Close all connections without a word."""
        for connection in self._connections[:]:
            self._forget(connection)

    def await_ack(
        self,
        envelope: str,
    ) -> None:
        wait_for(lambda: envelope in self.acknowledged, what=f"{envelope} was not acknowledged", every_s=0.01)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        try:
            if not self._shake_hands(connection, stream):
                connection.close()
                return
            with self._sending:
                self._connections.append(connection)
                self.opened_s.append(time.monotonic())
                if self.greeting:
                    self.greeted += 1
                    connection.sendall(_frame(json.dumps({"type": "hello", "num_connections": 1}).encode()))
            if len(self._connections) > self.most:
                self.say_goodbye("too_many_websockets")
            while self._take(connection, *_read_frame(stream)):
                pass
        except (OSError, EOFError):
            pass
        self._forget(connection)

    def _shake_hands(self, connection: socket.socket, stream) -> bool:
        lines = list(iter(lambda: stream.readline().strip(), b""))
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines)
        }
        asked = urllib.parse.urlsplit(lines[0].split()[1].decode()).query
        ticket = dict(urllib.parse.parse_qsl(asked)).get("ticket", "")
        if self.refuse or ticket not in self._tickets:
            self.refuse = max(0, self.refuse - 1)
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
            return False
        self._tickets.remove(ticket)  # good for one connection
        digest = hashlib.sha1(headers[b"sec-websocket-key"] + WEBSOCKET_GUID).digest()  # noqa: S324 - RFC 6455
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
        )
        return True

    def _take(self, connection: socket.socket, opcode: int, data: bytes) -> bool:
        if opcode == PING:
            with self._sending:
                connection.sendall(_frame(data, PONG))
        elif opcode == PONG:
            self.pongs.append(data)
        elif opcode == TEXT:
            self.acknowledged.add(json.loads(data)["envelope_id"])
        return opcode != CLOSE

    def _forget(self, connection: socket.socket) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def _frame(data: bytes, opcode: int = TEXT) -> bytes:
    length = len(data)
    if length < 126:
        return struct.pack("!BB", 0x80 | opcode, length) + data
    if length < 65_536:
        return struct.pack("!BBH", 0x80 | opcode, 126, length) + data
    return struct.pack("!BBQ", 0x80 | opcode, 127, length) + data


def _read_frame(stream) -> tuple[int, bytes]:
    """Read one frame of a client, which has to mask it."""
    first, second = _exactly(stream, 2)
    assert second & 0x80, "a client has to mask its frames"
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", _exactly(stream, 2))
    elif length == 127:
        (length,) = struct.unpack("!Q", _exactly(stream, 8))
    mask = _exactly(stream, 4)
    data = _exactly(stream, length)
    return first & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def _exactly(stream, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
