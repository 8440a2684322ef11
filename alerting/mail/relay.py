"""Hands mails to a mail server: one connection a mail, TLS, and errors that say who has not got it.

References
----------
RFC 5321, section 4.2.1: replies that begin with 4 pass, those with 5 are final. RFC 3207 (STARTTLS) and
RFC 8314 (TLS from the first byte).
"""

from __future__ import annotations

import base64
import contextlib
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from alerting.finding import shorten
from alerting.http.addresses import Resolve, checked, resolve_all
from schemas.errors import DeliveryError, RetryLater

MAX_QUOTED = 160
# Methods of smtplib, the preferred one first; the connection is protected before.
WAYS_TO_LOG_IN = {"PLAIN": "auth_plain", "LOGIN": "auth_login", "CRAM-MD5": "auth_cram_md5"}


class Security(StrEnum):
    """How a connection is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


PORTS = {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}


@dataclass(frozen=True)
class Relay:
    """A mail server, and how to talk to it.

    Parameters
    ----------
    host, port
        Its name, which its certificate has to be for.
    security : Security
    context : ssl.SSLContext
        Which certificates are trusted.
    username, password : str
        Both empty: no login.
    timeout_s : float
        For connecting and for each reply; a mail may take three times as long in all.
    allow_private : bool
        Whether the server may be at a private, loopback or link-local address.
    now_ms : callable
        Wall clock, epoch milliseconds.
    resolve : callable
        Looks names up.
    """

    host: str
    port: int
    security: Security
    context: ssl.SSLContext
    username: str
    password: str
    timeout_s: float
    allow_private: bool
    now_ms: Callable[[], int]
    resolve: Resolve = resolve_all

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def send(self, sender: str, to: Sequence[str], mail: bytes) -> Mapping[str, DeliveryError]:
        """Hand over one mail.

        Returns
        -------
        mapping of str to DeliveryError
            Who has not got it, and why; `RetryLater` for those who may get it later. Everybody else has.

        Raises
        ------
        RetryLater, DeliveryError
            If it got no further than the sender; nobody is known to have got it.
        """
        with self._session() as client:
            try:
                refused = client.sendmail(sender, list(to), mail)
            except smtplib.SMTPRecipientsRefused as error:
                unasked = dict.fromkeys(to, (421, b"the connection was closed"))
                refused = {**unasked, **error.recipients}
            except smtplib.SMTPDataError as error:
                reply = error.smtp_error
                words = reply if isinstance(reply, bytes) else reply.encode()
                refused = dict.fromkeys(to, (error.smtp_code, words))
        return {address: self._refusal(*reply, f" {address}") for address, reply in refused.items()}

    def greet(self) -> str:
        """Connect, protect the connection and log in, without sending anything; returns the server's name.

        Raises
        ------
        RetryLater, DeliveryError
            If that does not work.
        """
        with self._session() as client:
            client.rset()
        return self.host

    @contextlib.contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """Connect, and turn everything that goes wrong until the end into errors of deliveries."""
        client = _PinnedClient(
            self, checked(self.host, self.port, self.resolve, allow_private=self.allow_private)
        )
        try:
            self._open(client)
            yield client
            with contextlib.suppress(OSError, smtplib.SMTPException):
                client.quit()  # the mail is delivered whatever the answer to this is
        except smtplib.SMTPSenderRefused as error:
            raise self._refusal(error.smtp_code, error.smtp_error, " the sender") from None
        except smtplib.SMTPAuthenticationError as error:
            raise self._refusal(error.smtp_code, error.smtp_error, " the user or the password") from None
        except smtplib.SMTPResponseException as error:
            raise self._refusal(error.smtp_code, error.smtp_error) from None
        except smtplib.SMTPNotSupportedError as error:
            msg = f"the mail server cannot do what is needed: {self._quoted(str(error))}"
            raise DeliveryError(msg) from None
        except (OSError, smtplib.SMTPException) as error:
            msg = f"no answer from the mail server: {_reason(error)}"
            raise RetryLater(msg) from None
        finally:
            client.close()

    def _open(self, client: _PinnedClient) -> None:
        code, greeting = client.connect(self.host, self.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, greeting)
        client.ehlo_or_helo_if_needed()
        if self.security is Security.STARTTLS:
            client.starttls(context=self.context)
            client.ehlo_or_helo_if_needed()
        if self.username:
            self._log_in(client)

    def _log_in(self, client: _PinnedClient) -> None:
        """Log in one way only: servers that hang up after the first attempt would hide what was wrong."""
        offered = client.esmtp_features.get("auth", "").upper().split()
        name = next((name for name in WAYS_TO_LOG_IN if name in offered), None)
        if name is None:
            msg = f"it offers none of {', '.join(WAYS_TO_LOG_IN)} to log in"
            raise smtplib.SMTPNotSupportedError(msg)
        client.user, client.password = self.username, self.password
        client.auth(name, getattr(client, WAYS_TO_LOG_IN[name]))

    def _refusal(self, code: int, reply: bytes | str, what: str = "") -> DeliveryError:
        """Tell what passes from what does not, by the first digit of the reply."""
        words = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
        msg = f"the mail server refused{what}: {code} {self._quoted(words)}".rstrip()
        return DeliveryError(msg) if 500 <= code < 600 else RetryLater(msg)

    def _quoted(self, words: str) -> str:
        """Repeat what the server said, on one line, without the password, also as it is sent to log in."""
        if self.password:
            both = f"\0{self.username}\0{self.password}"
            sent = [base64.b64encode(text.encode()).decode() for text in (both, self.password)]
            for secret in (*sent, self.password):
                words = words.replace(secret, "…")
        printable = "".join(letter if letter.isprintable() else " " for letter in words)
        return shorten(" ".join(printable.split()), MAX_QUOTED)


class _PinnedClient(smtplib.SMTP):
    """Connects to an address that was checked; the name stays that of the certificate."""

    def __init__(self, relay: Relay, addresses: Sequence[str]) -> None:
        super().__init__(timeout=relay.timeout_s)
        self._relay = relay
        self._addresses = addresses
        self._host = relay.host  # the name in the certificate, also for starttls
        self._latest_ms = relay.now_ms() + round(3_000 * relay.timeout_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = self._connected(port, timeout)
        if self._relay.security is not Security.TLS:
            return plain
        try:
            return self._relay.context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def _connected(self, port: int, timeout: float) -> socket.socket:
        """Connect to the first address that takes a connection, while there is time."""
        for address in self._addresses[:-1]:
            self._check_time()
            with contextlib.suppress(OSError):
                return socket.create_connection((address, port), timeout)
        self._check_time()
        return socket.create_connection((self._addresses[-1], port), timeout)

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply, unless the mail has taken too long already."""
        self._check_time()
        return super().getreply()

    def _check_time(self) -> None:
        if self._relay.now_ms() > self._latest_ms:
            raise TimeoutError


def _reason(error: Exception) -> str:
    """Say what went wrong on the way, by kind."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ssl.SSLError):
        return "no secure connection (the certificate is not valid for it, or it speaks no TLS)"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return f"connection broke ({type(error).__name__})"
