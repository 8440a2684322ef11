"""How the messages of one stream are meant, as far as they do not say it themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, get_args, runtime_checkable

from monitor.decode.halves import Half
from monitor.decode.message import Event, Message
from monitor.decode.registry import SchemaRegistry

Kind = Literal["predictions", "labels"]
"""What the messages of a stream say."""

FieldRole = Literal[
    "event_id",
    "model",
    "version",
    "timestamp",
    "prediction",
    "score",
    "scores",
    "label",
    "latency_ms",
    "error",
]
ROLES: tuple[str, ...] = get_args(FieldRole)
"""What the fields of an event can be; fields that are none of these are features."""


@dataclass(frozen=True)
class Reading:
    """What a stream says of its messages.

    Parameters
    ----------
    model : str
        Model of events that name none; empty: such events cannot be read.
    version : str
        Version of events that name none; empty: ``unversioned``.
    fields : mapping of str to str
        Name of the field or output that holds each of `ROLES`, where a format cannot know it.
    inputs : tuple of str
        Names of features that come without names, in their order.
    threshold : float
        Probability from which a binary classifier that sends probabilities alone predicts class 1.
    registry : SchemaRegistry, optional
        Keeps the schemas of messages that only name theirs.
    """

    model: str = ""
    version: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    threshold: float = 0.5
    registry: SchemaRegistry | None = None


@dataclass(frozen=True)
class Example:
    """A message as the specification of a format has it, for the suite that every format passes.

    Parameters
    ----------
    message : Message
    events : tuple of dict
        What it says, in native form, without what `Reading` and Kafka add.
    kind : str
    reading : Reading
        What a stream has to say of such messages.
    is_recognised : bool
        ``auto`` tells the format without being told.
    other : Message, optional
        The response, where `message` is a request alone.
    """

    message: Message
    events: tuple[Event, ...]
    kind: Kind = "predictions"
    reading: Reading = field(default_factory=Reading)
    is_recognised: bool = True
    other: Message | None = None


@runtime_checkable
class Format(Protocol):
    """A format whose messages hold events.

    A class with these members in a module of `monitor.decode.formats` is found by `monitor.decode.catalog`.
    Formats are asked for a match in the order of `order`, the smallest first.
    """

    name: ClassVar[str]
    order: ClassVar[int]

    def matches(self, message: Message) -> bool:
        """Whether a message is in this format; must not be true of what others know better."""
        ...

    def events(self, message: Message, reading: Reading, kind: Kind) -> list[Event]:
        """Turn a message into events in native form.

        Raises
        ------
        EventError
            If it cannot be read, with what, where, and what is allowed.
        """
        ...

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Messages in this format, written from its specification."""
        ...


@runtime_checkable
class Paired(Protocol):
    """A format whose requests and responses are messages of their own."""

    name: ClassVar[str]
    order: ClassVar[int]

    def matches(self, message: Message) -> bool:
        """Whether a message is in this format."""
        ...

    def half(self, message: Message) -> Half:
        """Tell which half a message is, and what it shares with the other.

        Raises
        ------
        EventError
            If it does not say.
        """
        ...

    def joined(self, request: Message, response: Message, reading: Reading) -> list[Event]:
        """Turn a request and its response into events in native form.

        Raises
        ------
        EventError
            If they cannot be read.
        """
        ...

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Requests in this format, with their responses, written from its specification."""
        ...


class Wrapping(Protocol):
    """A format whose messages hold messages of another format."""

    name: ClassVar[str]
    order: ClassVar[int]

    def matches(self, message: Message) -> bool:
        """Whether a message is in this format."""
        ...

    def unwrap(self, message: Message, reading: Reading) -> list[tuple[Message, Event]]:
        """Return the messages inside, each with fields that its events have unless they say otherwise.

        Raises
        ------
        EventError
            If it cannot be read.
        """
        ...

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Messages in this format, written from its specification."""
        ...


AnyFormat = Format | Paired | Wrapping
