"""What every notifier is: options that build it, one method that sends, one that checks."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict

from alerting.digest import DigestNotice
from alerting.notice import Notice
from alerting.secrets import Secrets
from schemas.errors import DeliveryError

ReceiverState = dict[str, Any]


class ReceiverDisabled(DeliveryError):  # noqa: N818 - reads as a state in `except ReceiverDisabled`
    """The receiver said that it is gone for good: later messages to it are not even tried."""


class ReceiverOptions(BaseModel):
    """Options of a receiver as they stand in the configuration; each notifier adds its own ``type`` literal.

    Secrets are named by ``…_env`` (environment variable) or ``…_file``, so options can be shown and hashed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: str


@dataclass(frozen=True)
class Example:
    """Options with which the generic suite tries a notifier against a local server.

    Parameters
    ----------
    options : mapping
        As in the configuration; ``{server}`` in a text stands for the address of the server.
    environment : mapping of str to str
        Variables that the options name; none of the values may ever show up in a message.
    answer : mapping
        JSON that the server answers with if all is well.
    """

    options: Mapping[str, object]
    environment: Mapping[str, str] = field(default_factory=dict)
    answer: Mapping[str, object] = field(default_factory=dict)


class Notifier(ABC):
    """Sends notices to one receiver; retries are not its business.

    Parameters
    ----------
    options : ReceiverOptions
        An instance of the class's own `Options`.
    secrets : Secrets
        Where the secrets that the options name are read, once.
    now_ms : callable
        Wall clock, epoch milliseconds.

    Guarantees
    ----------
    `send` may be called from several threads. Secrets are in no message, representation or log line.
    """

    Options: ClassVar[type[ReceiverOptions]]
    only_latest_matters: ClassVar[bool] = False
    """Whether an older notice of an alert is pointless once a newer one waits (a message that is edited)."""

    def __init__(self, options: ReceiverOptions, secrets: Secrets, now_ms: Callable[[], int]) -> None:
        self.options = options
        self.secrets = secrets
        self.now_ms = now_ms

    @classmethod
    def type_name(cls) -> str:
        """Name of the notifier in the configuration."""
        return str(get_args(cls.Options.model_fields["type"].annotation)[0])

    @property
    def fingerprint(self) -> str:
        """Changes whenever the options do; a receiver that was disabled is tried again after that."""
        return hashlib.sha256(self.options.model_dump_json().encode()).hexdigest()[:16]

    @abstractmethod
    def send(self, notice: Notice, state: ReceiverState | None) -> ReceiverState | None:
        """Tell the receiver of one change.

        Parameters
        ----------
        notice : Notice
            What happened. The same notice may come again if an earlier attempt was not recorded.
        state : dict or None
            What the previous call for the same alert returned.

        Returns
        -------
        dict or None
            To be kept for the next notice of the same alert; ``None`` keeps nothing new.

        Raises
        ------
        RetryLater
            The outcome is unknown or a later attempt may go through.
        ReceiverDisabled
            The receiver is gone for good.
        DeliveryError
            The receiver refused this message and will refuse it again; says what to do about it.
        """

    @abstractmethod
    def send_digest(self, notice: DigestNotice) -> None:
        """Tell the receiver what drifted in a week.

        Parameters
        ----------
        notice : DigestNotice
            The same notice may come again if an earlier attempt was not recorded.

        Raises
        ------
        RetryLater, ReceiverDisabled, DeliveryError
            As `send`.
        """

    @abstractmethod
    def check(self) -> str:
        """Find out whether the receiver can be reached, without telling anyone anything.

        Returns
        -------
        str
            What was found, in a few words.

        Raises
        ------
        DeliveryError
            If it cannot be reached or refuses us.
        """

    @classmethod
    @abstractmethod
    def examples(cls) -> list[Example]:
        """Options for the generic suite, one for each way of working."""

    def close(self) -> None:  # noqa: B027 - most notifiers hold nothing open
        """Let go of connections."""
