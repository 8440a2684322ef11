"""What every notifier is: options that build it, one method that sends, one that checks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from alerting.charts.data import Chart
from alerting.contributed import Configured
from alerting.digest import DigestNotice
from alerting.held import HeldNotice
from alerting.limit import LimitText
from alerting.notice import Notice
from alerting.secrets import Secrets
from schemas.errors import DeliveryError

ReceiverState = dict[str, Any]


class ReceiverDisabled(DeliveryError):  # noqa: N818 - reads as a state in `except ReceiverDisabled`
    """The receiver said that it is gone for good: later messages to it are not even tried."""


class ReceiverOptions(BaseModel):
    """Options of a receiver as they stand in the configuration; each notifier adds its own ``type`` literal.

    Secrets are named by ``…_env`` (environment variable) or ``…_file``, so options can be shown and hashed.

    Parameters
    ----------
    limit : Limit, optional
        Most messages in a span of wall time, such as ``20 per hour`` (minute, hour or day); what is beyond
        that waits. No limit if it is left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: str
    # Described here as well: the docstring of a subclass does not repeat it.
    limit: LimitText | None = Field(
        default=None,
        title="Limit",
        description="Most messages in a span of wall time: `N per minute`, `hour` or `day`; "
        "what is beyond that waits. No limit if it is left out.",
    )


@dataclass(frozen=True)
class Example:
    """Options with which the generic suite tries a notifier against a local server.

    Parameters
    ----------
    options : mapping
        As in the configuration; ``{server}`` in a text stands for the address of the server, ``{host}`` and
        ``{port}`` for its parts.
    environment : mapping of str to str
        Variables that the options name; none of the values may ever show up in a message.
    answer : mapping
        JSON that the server answers with if all is well.
    server : {"http", "smtp"}
        What the server speaks.
    needs : str
        Module of an optional extra without which the notifier cannot be tried; empty if there is none.
    can_ask_to_wait : bool
        Whether the receiver can say when to try again, and the notifier gets to know it.
    """

    options: Mapping[str, object]
    environment: Mapping[str, str] = field(default_factory=dict)
    answer: Mapping[str, object] = field(default_factory=dict)
    server: Literal["http", "smtp"] = "http"
    needs: str = ""
    can_ask_to_wait: bool = True


class ChartSource(Protocol):
    """Makes the charts that belong to a notice; notifiers know no database."""

    def __call__(self, notice: Notice) -> Sequence[Chart]:
        """Draw what a notice tells of.

        Parameters
        ----------
        notice : Notice

        Returns
        -------
        sequence of Chart
            The one that says most first; empty if there is nothing to be drawn. May raise whatever the
            database raises: a notice is sent without charts then.
        """
        ...


class Notifier(Configured):
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
    options: ReceiverOptions
    only_latest_matters: ClassVar[bool] = False
    """Whether an older notice of an alert is pointless once a newer one waits (a message that is edited)."""
    reads_lists: ClassVar[bool] = False
    """Whether people read what arrives, so that one list may stand for many messages."""
    charts: ChartSource | None = None
    """Where charts come from, for those that can show images; `alerting.notifiers.catalog.build` sets it."""
    resend_after_ms: ClassVar[int | None] = None
    """How often, in wall time, the latest notice of an open incident has to be sent again with the state that
    was kept, because the receiver takes it for over otherwise; None if the receiver remembers by itself."""

    def __init__(self, options: ReceiverOptions, secrets: Secrets, now_ms: Callable[[], int]) -> None:
        self.options = options
        self.secrets = secrets
        self.now_ms = now_ms

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

    def send_list(self, notice: HeldNotice) -> None:
        """Tell the receiver what its limit held back; those that `reads_lists` do.

        Parameters
        ----------
        notice : HeldNotice
            The same notice may come again if an earlier attempt was not recorded.

        Raises
        ------
        RetryLater, ReceiverDisabled, DeliveryError
            As `send`.
        """
        msg = "the receiver reads no lists"
        raise DeliveryError(msg)

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

    def close(self) -> None:
        """Let go of connections."""
