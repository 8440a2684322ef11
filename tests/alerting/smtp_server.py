"""A local mail server that speaks enough SMTP to be trusted with mails, with faults on request."""

import base64
import contextlib
import email
import email.policy
import socket
import socketserver
import ssl
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage

from tests.alerting.servers import LOOPBACK, Answer, Request


@dataclass(frozen=True)
class Mail:
    sender: str
    recipients: tuple[str, ...]
    data: bytes

    @property
    def parsed(self) -> EmailMessage:
        message = email.message_from_bytes(self.data, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        return message

    @property
    def text(self) -> str:
        return self.parsed.get_body(("plain",)).get_content()

    @property
    def html(self) -> str:
        return self.parsed.get_body(("html",)).get_content()


class SmtpServer:
    """Takes mails, with users if there are any, over TLS if it has a context.

    `will` says how the next mails are answered once they have arrived, in the terms of HTTP: 429 and 5xx
    pass, other statuses from 400 on are final. `reply_to` says what is replied to the next commands of a
    kind, and `recipients` what is replied to single addresses.
    """

    def __init__(
        self, users: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None, *, is_tls_first=False
    ) -> None:
        self.users = dict(users or {})
        self.tls = tls
        self.is_tls_first = is_tls_first
        self.mails: list[Mail] = []
        self.requests: list[Request] = []
        self.commands: list[str] = []
        self.script: deque[Answer] = deque()
        self.at: dict[str, deque[str]] = {}
        self.recipients: dict[str, str] = {}
        self.released = threading.Event()
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def address(self) -> str:
        return f"smtp://{LOOPBACK}:{self.port}"

    def __enter__(self):
        self._server = _Server((LOOPBACK, 0), _handler_of(self))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def will(self, *answers: Answer) -> None:
        """Answer the next mails like this."""
        self.script.extend(answers)

    def reply_to(self, command: str, *replies: str) -> None:
        """Reply to the next commands of a kind like this; an empty reply breaks the connection."""
        self.at.setdefault(command, deque()).extend(replies)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address) -> None:
        """Clients that give up are part of the tests."""


class _BrokenError(Exception):
    """The server breaks the connection."""


class _Session:
    def __init__(self, server: SmtpServer, connection: socket.socket) -> None:
        self.server = server
        self.connection = connection
        self.file = connection.makefile("rb")
        self.is_secure = server.is_tls_first
        self.is_known = not server.users
        self.sender = ""
        self.recipients: list[str] = []

    def serve(self) -> None:
        self.say(self.scripted("CONNECT") or "220 mail.example ready")
        while line := self.file.readline():
            command = line.decode().strip()
            self.server.commands.append(command)
            verb, _, rest = command.partition(" ")
            reply = self.scripted(verb.upper())
            if reply is None:
                reply = getattr(self, f"do_{verb.lower()}", self.unknown)(rest)
            if reply:
                self.say(reply)
            if verb.upper() == "QUIT":
                return

    def scripted(self, command: str) -> str | None:
        """Take the reply that a test wants; raises if it is to break the connection."""
        replies = self.server.at.get(command)
        if not replies:
            return None
        reply = replies.popleft()
        if not reply:
            raise _BrokenError
        return reply

    def say(self, reply: str) -> None:
        self.connection.sendall(f"{reply}\r\n".encode())

    def unknown(self, rest: str) -> str:
        return "502 unknown"

    def do_ehlo(self, rest: str) -> str:
        offers = ["mail.example"]
        if self.server.tls and not self.is_secure:
            offers.append("STARTTLS")
        if self.server.users:
            offers.append("AUTH PLAIN")
        return "\r\n".join(f"250-{offer}" for offer in offers) + "\r\n250 SIZE 1000000"

    def do_starttls(self, rest: str) -> str:
        self.say("220 go on")
        assert self.server.tls is not None
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.file = self.connection.makefile("rb")
        self.is_secure = True
        return ""

    def do_auth(self, rest: str) -> str:
        _, user, password = base64.b64decode(rest.removeprefix("PLAIN ")).decode().split("\0")
        self.is_known = self.server.users.get(user) == password
        return "235 welcome" if self.is_known else f"535 5.7.8 {password} is wrong"

    def do_mail(self, rest: str) -> str:
        if not self.is_known:
            return "530 5.7.0 log in first"
        self.sender, self.recipients = rest.partition("<")[2].partition(">")[0], []
        return "250 ok"

    def do_rcpt(self, rest: str) -> str:
        address = rest.partition("<")[2].partition(">")[0]
        reply = self.server.recipients.get(address, "250 ok")
        if reply.startswith("2"):
            self.recipients.append(address)
        return reply

    def do_rset(self, rest: str) -> str:
        return "250 ok"

    def do_noop(self, rest: str) -> str:
        return "250 ok"

    def do_quit(self, rest: str) -> str:
        return "221 bye"

    def do_data(self, rest: str) -> str:
        self.say("354 go on")
        lines = []
        while (line := self.file.readline()) not in (b".\r\n", b""):
            assert line.endswith(b"\r\n")
            assert len(line) <= 1_000
            lines.append(line[1:] if line.startswith(b"..") else line)
        mail = Mail(self.sender, tuple(self.recipients), b"".join(lines))
        readable = f"{mail.parsed['Subject']}\n{mail.text}\n{mail.html}"
        self.server.requests.append(Request("DATA", "", {}, readable.encode()))
        return self.answered(mail, self.server.script.popleft() if self.server.script else Answer())

    def answered(self, mail: Mail, answer: Answer) -> str:
        if answer.is_kept or not (answer.drop or answer.hang or answer.status >= 400):
            self.server.mails.append(mail)
        if answer.hang:
            self.server.released.wait(600)
        if answer.hang or answer.drop:
            raise _BrokenError
        if answer.status >= 400:
            return "451 4.3.0 later" if answer.status == 429 or answer.status >= 500 else "554 5.6.0 no"
        return "250 taken"


def _handler_of(server: SmtpServer) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connection = self.request
            if server.is_tls_first:
                connection = server.tls.wrap_socket(connection, server_side=True)
            session = _Session(server, connection)
            with contextlib.suppress(_BrokenError, OSError):
                session.serve()
            session.file.close()
            session.connection.close()

    return Handler
