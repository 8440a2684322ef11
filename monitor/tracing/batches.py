"""Traces of what is taken in: one for everything between two commits, tied to the traces of its producers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from monitor.source.source import Fetched
from monitor.tracing import tracer
from monitor.tracing.context import HEADER, SpanIdentity, read_traceparent
from monitor.tracing.tracer import NO_SPAN, Span

MOST_LOOKED_AT = 32  # messages of a fetch whose headers are read
MOST_LINKS = 64  # of a batch

HeadersOf = Callable[[Any], list[tuple[str, bytes | None]]]


class BatchTrace:
    """The trace of a batch: consume, decode and check for every fetch, then profile and commit.

    Parameters
    ----------
    headers_of : callable
        Headers of a message.

    Notes
    -----
    Whether a batch is one of the sample is decided when it begins. Of those that are, a few messages of each
    fetch, evenly spread over it, are asked for the trace that they were sent in; of others, none. So a batch
    costs the same whatever the number of its messages.
    """

    def __init__(self, headers_of: HeadersOf) -> None:
        self._headers_of = headers_of
        self._batch: Span | None = None
        self._links: set[int] = set()
        self._messages = 0

    def fetch(self, fetch: Callable[[], Fetched]) -> Fetched:
        """Fetch, as a part of the batch if there is something."""
        if not tracer.is_on():
            return fetch()
        batch = self._batch or tracer.start("ingest batch", kind="consumer", attributes=_KAFKA)
        consuming = tracer.start("consume", batch.identity, "consumer") if batch.is_recorded else NO_SPAN
        fetched = fetch()
        if len(fetched):
            self._batch = batch
            self._messages += len(fetched)
            consuming.set({"messaging.batch.message_count": len(fetched)})
            consuming.end()
            self._look_at(fetched)
        return fetched

    @contextmanager
    def entered(self) -> Iterator[Span]:
        """Do something as a part of the batch."""
        with tracer.entered(self._batch or NO_SPAN) as batch:
            yield batch

    def end(self, *, is_dropped: bool = False) -> None:
        """The batch was committed, or it is dropped and read again."""
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.set({"messaging.batch.message_count": self._messages, "driftline.is_dropped": is_dropped})
            batch.end()
        self._links, self._messages = set(), 0

    def _look_at(self, fetched: Fetched) -> None:
        """Tie the batch to traces that messages were sent in, if their producers keep them."""
        batch = self._batch
        if batch is None or not batch.is_recorded:
            return
        for at in range(0, len(fetched), -(-len(fetched) // MOST_LOOKED_AT)):
            sender = self._sender_of(fetched.raw[at])
            if sender is not None and sender.is_sampled and len(self._links) < MOST_LINKS:
                if sender.trace_id not in self._links:
                    batch.link(sender)
                self._links.add(sender.trace_id)

    def _sender_of(self, raw: Any) -> SpanIdentity | None:
        """Span in which a message was sent."""
        if raw is None:
            return None
        values = (value for name, value in self._headers_of(raw) if name.lower() == HEADER)
        return read_traceparent(next(values, None))


_KAFKA = {"messaging.system": "kafka", "messaging.operation.name": "process"}
