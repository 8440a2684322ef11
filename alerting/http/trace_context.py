"""The header ``traceparent``, by which a receiver can tie what it does to the span in which it was called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_traceparent: ContextVar[str] = ContextVar("traceparent", default="")


@contextmanager
def called_in(traceparent: str) -> Iterator[None]:
    """Call others as part of a span, whose header it is; an empty one stands for no span."""
    token = _traceparent.set(traceparent)
    try:
        yield
    finally:
        _traceparent.reset(token)


def trace_headers() -> dict[str, str]:
    """Headers that say which span calls; none without one.

    Examples
    --------
    >>> with called_in("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
    ...     trace_headers()
    {'traceparent': '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'}
    >>> trace_headers()
    {}
    """
    traceparent = _traceparent.get()
    return {"traceparent": traceparent} if traceparent else {}
