"""The tracer of the process: spans where tracing is on, nothing at all where it is off.

Off is what it is until `turn_on`. Nothing here knows OpenTelemetry: `monitor.tracing.otlp` does, and is
imported only where the configuration has a section ``tracing``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, Protocol

from monitor.logs import name_spans
from monitor.tracing.context import SpanIdentity

Attributes = Mapping[str, str | int | float | bool]
Kind = Literal["internal", "server", "client", "consumer"]


class Span(Protocol):
    """Something that is being done."""

    @property
    def identity(self) -> SpanIdentity | None:
        """Which span it is; None where tracing is off."""
        ...

    @property
    def is_recorded(self) -> bool:
        """Whether it is one of the sample that is kept."""
        ...

    def set(self, attributes: Attributes) -> None:
        """Say more about it."""
        ...

    def link(self, other: SpanIdentity) -> None:
        """Say that it has to do with a span of another trace."""
        ...

    def fail(self, error: BaseException) -> None:
        """Say that it failed; of the error, only its kind is told."""
        ...

    def end(self) -> None:
        """It is done. A span that never ends is not told of."""
        ...


class Tracer(Protocol):
    """Begins spans."""

    def start(self, name: str, parent: SpanIdentity | None, kind: Kind, attributes: Attributes) -> Span:
        """Begin a span; without a parent it begins a trace."""
        ...

    def close(self) -> None:
        """Send what is left, for a moment, and let go."""
        ...


class _NoSpan:
    """What there is where tracing is off."""

    identity: SpanIdentity | None = None
    is_recorded = False

    def set(self, attributes: Attributes) -> None:
        """Do nothing."""

    def link(self, other: SpanIdentity) -> None:
        """Do nothing."""

    def fail(self, error: BaseException) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


NO_SPAN: Span = _NoSpan()
_tracer: Tracer | None = None
_current: ContextVar[Span] = ContextVar("span", default=NO_SPAN)


def turn_on(tracer: Tracer) -> None:
    """Begin spans with a tracer from now on, and write their ids into log lines."""
    global _tracer
    turn_off()
    _tracer = tracer
    name_spans(_ids)


def turn_off() -> None:
    """Send what is left, and begin no more spans; does nothing if tracing is off."""
    global _tracer
    leaving, _tracer = _tracer, None
    name_spans(None)
    if leaving is not None:
        leaving.close()


def is_on() -> bool:
    """Whether spans are begun."""
    return _tracer is not None


def current() -> Span:
    """What is being done here, in this thread."""
    return _current.get()


def start(
    name: str,
    parent: SpanIdentity | None = None,
    kind: Kind = "internal",
    attributes: Attributes | None = None,
) -> Span:
    """Begin a span that is ended by hand."""
    return NO_SPAN if _tracer is None else _tracer.start(name, parent, kind, attributes or {})


@contextmanager
def entered(span: Span) -> Iterator[Span]:
    """Make a span the current one for a while; it does not end."""
    token = _current.set(span)
    try:
        yield span
    finally:
        _current.reset(token)


@contextmanager
def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    parent: SpanIdentity | None = None,
    kind: Kind = "internal",
) -> Iterator[Span]:
    """Do something as a span, of the current one, of `parent`, or of a trace of its own.

    An exception passes, and the span says that it failed.
    """
    if _tracer is None:
        yield NO_SPAN
        return
    made = _tracer.start(name, parent or current().identity, kind, attributes or {})
    try:
        with entered(made):
            yield made
    except BaseException as error:
        made.fail(error)
        raise
    finally:
        made.end()


@contextmanager
def step(name: str, attributes: Attributes | None = None) -> Iterator[Span]:
    """Do a part of the current span as a span, if that one is kept; else this costs next to nothing."""
    if not current().is_recorded:
        yield NO_SPAN
        return
    with span(name, attributes) as made:
        yield made


def _ids() -> tuple[str, str] | None:
    """Ids of the current span, for log lines."""
    identity = current().identity
    return None if identity is None else (f"{identity.trace_id:032x}", f"{identity.span_id:016x}")
