"""E-mail through a mail server: one mail a change, the mails of an incident in one thread.

Notes
-----
The identity of a mail follows from that of the notice, so mail programs can tell a mail that comes twice
because an answer was lost. If a server takes a mail for some of the addresses only, the others are tried
again alone. Once everybody else has the mail, an address that is refused for good is logged, and the mail
counts as delivered; it is given up if all are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import parseaddr
from typing import Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from alerting.digest import DigestNotice
from alerting.finding import instant
from alerting.held import HeldNotice
from alerting.http.addresses import Resolve, resolve_all
from alerting.http.receiver import trust_of
from alerting.mail.message import email_of, message_id
from alerting.mail.relay import PORTS, Relay, Security
from alerting.messages.plain import Message, digest_message_of, held_message_of, message_of
from alerting.notice import Notice
from alerting.notifiers.base import Example, Notifier, ReceiverOptions, ReceiverState
from alerting.progress import Progress
from alerting.secrets import Secrets

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
THIS_MACHINE = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")


class EmailOptions(ReceiverOptions):
    """Options of an ``email`` receiver.

    Parameters
    ----------
    host : str
        Name of the mail server; its certificate has to be for it.
    port : int, optional
        587 with ``starttls``, 465 with ``tls`` and 25 with ``none`` if it is left out.
    security : {"starttls", "tls", "none"}
        Plain text that turns to TLS before anything else is said, TLS from the beginning, or no protection.
    username : str, optional
        User, with `password_env` or `password_file`. Without protection only to a server on this machine.
    password_env, password_file : str, optional
        Password of `username`.
    from : str
        Sender, such as ``Driftline <driftline@example.com>``.
    to : list of str
        Addresses, at most 50.
    allow_private : bool
        Whether the server may be at a private, loopback or link-local address.
    timeout_s : float
        For connecting and for each reply; a mail may take three times as long in all.
    ca_file : str, optional
        Certificates to trust in place of the public ones.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    type: Literal["email"]
    host: str = Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")
    port: int | None = Field(default=None, ge=1, le=65_535)
    security: Security = Security.STARTTLS
    username: str | None = Field(default=None, pattern=r"^[ -~]+$")
    password_env: str | None = None
    password_file: str | None = None
    sender: str = Field(alias="from", max_length=320)
    to: tuple[str, ...] = Field(min_length=1, max_length=50)
    allow_private: bool = False
    timeout_s: float = Field(default=15.0, gt=0, le=20)
    ca_file: str | None = None

    @field_validator("sender")
    @classmethod
    def _sender(cls, sender: str) -> str:
        _, address = parseaddr(sender)
        if not sender.isprintable() or not ADDRESS.fullmatch(address):
            msg = "not a sender (use driftline@example.com or Driftline <driftline@example.com>)"
            raise ValueError(msg)
        return sender

    @field_validator("to")
    @classmethod
    def _addresses(cls, to: tuple[str, ...]) -> tuple[str, ...]:
        for address in to:
            if not ADDRESS.fullmatch(address):
                msg = f"'{address[:80]}' is not an address (use name@example.com)"
                raise ValueError(msg)
        return tuple(dict.fromkeys(to))

    @model_validator(mode="after")
    def _complete(self) -> Self:
        passwords = [name for name in ("password_env", "password_file") if getattr(self, name) is not None]
        if len(passwords) > 1 or (self.username is None) != (not passwords):
            msg = "give username together with one of password_env, password_file, or none of them"
            raise ValueError(msg)
        if self.username and self.security is Security.NONE and not THIS_MACHINE.fullmatch(self.host):
            msg = "security: none would send the password in the clear (use starttls or tls)"
            raise ValueError(msg)
        return self


class EmailNotifier(Notifier):
    """Sends a mail for every change; the state kept is the first mail of the incident and its subject."""

    Options = EmailOptions
    options: EmailOptions
    reads_lists = True

    def __init__(
        self,
        options: EmailOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms)
        password = secrets.read_optional(options, "password")
        if password and not password.get_secret_value().isascii():
            problem = secrets.problem("password", "holds characters beyond ASCII, which SMTP cannot send")
            raise problem
        self._relay = Relay(
            options.host,
            options.port or PORTS[options.security],
            options.security,
            trust_of(options.ca_file, secrets),
            options.username or "",
            password.get_secret_value() if password else "",
            options.timeout_s,
            options.allow_private,
            now_ms,
            resolve,
        )
        self._progress = Progress()

    def send(self, notice: Notice, state: ReceiverState | None) -> ReceiverState | None:
        """Send a mail, in the thread of the incident's first one."""
        message, alert = message_of(notice), notice.alert
        id_ = message_id(notice.id, self.options.sender)
        kept = state or {"first": id_, "subject": message.about}
        # Nobody gets a mail of this name; it holds the thread together if the first one is not known.
        thread = message_id(f"incident-{alert.id}", self.options.sender)
        answers = kept["first"] if kept["first"] != id_ else ""
        self._deliver(message, id_, f"[{alert.state.capitalize()}] {kept['subject']}", thread, answers)
        return kept

    def send_digest(self, notice: DigestNotice) -> None:
        """Send what drifted in a week; a mail of its own."""
        message = digest_message_of(notice)
        id_ = message_id(notice.id, self.options.sender)
        self._deliver(message, id_, f"[{message.title}] {message.about}")

    def send_list(self, notice: HeldNotice) -> None:
        """Send what the limit held back; a mail of its own."""
        message = held_message_of(notice)
        id_ = message_id(notice.id, self.options.sender)
        self._deliver(message, id_, f"[{message.title}] {message.about}")

    def check(self) -> str:
        """Connect, protect the connection and log in, without sending anything."""
        count = len(self.options.to)
        return f"mail server {self._relay.greet()} answers; {count} address{'es' if count > 1 else ''}"

    @classmethod
    def examples(cls) -> list[Example]:
        """One with a user, one without."""
        plain: dict[str, object] = {
            "type": "email",
            "host": "{host}",
            "port": "{port}",
            "security": "none",
            "from": "Driftline <driftline@example.com>",
            "to": ["ml@example.com", "oncall@example.com"],
            "allow_private": True,
        }
        user: dict[str, object] = {**plain, "username": "driftline", "password_env": "PASSWORD"}
        return [
            Example(plain, server="smtp", can_ask_to_wait=False),
            Example(user, {"PASSWORD": "pass-phrase-of-the-relay"}, server="smtp", can_ask_to_wait=False),
        ]

    def _deliver(self, message: Message, id_: str, subject: str, thread: str = "", answers: str = "") -> None:
        """Send to those who have not got it yet; see `Progress.conclude` for what is raised."""
        left = self._progress.left(id_, self.options.to)
        mail = email_of(
            message,
            id_=id_,
            subject=subject,
            sender=self.options.sender,
            to=self.options.to,
            at=instant(self.now_ms()),
            thread=thread,
            answers=answers,
        )
        missing = self._relay.send(parseaddr(self.options.sender)[1], left, mail.as_bytes()) if left else {}
        self._progress.note(id_, got=[address for address in left if address not in missing])
        self._progress.conclude(id_, len(self.options.to), missing)
