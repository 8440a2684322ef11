"""Spans through OpenTelemetry's SDK to an OTLP/HTTP receiver; the only module that imports it."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan

from monitor.logs import mask
from monitor.tracing.context import SpanIdentity
from monitor.tracing.tracer import Attributes, Kind
from schemas.errors import Unavailable

MOST_WAITING = 2_048  # spans; what comes beyond while the receiver is away is dropped
MOST_AT_ONCE = 512
SEND_EVERY_MS = 2_000
SEND_TIMEOUT_S = 5.0
LEAVE_S = 2.0
TRY_TIMEOUT_S = 2.0

_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}


class OtlpSpan:
    """One span of the SDK."""

    def __init__(self, span: SdkSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.identity: SpanIdentity | None = SpanIdentity(
            context.trace_id, context.span_id, context.trace_flags.sampled
        )
        self.is_recorded = span.is_recording()

    def set(self, attributes: Attributes) -> None:
        """Say more about it."""
        self._span.set_attributes(dict(attributes))

    def link(self, other: SpanIdentity) -> None:
        """Say that it has to do with a span of another trace."""
        self._span.add_link(_context_of(other, is_remote=True))

    def fail(self, error: BaseException) -> None:
        """Say that it failed; the text of an error may hold anything, so that only its kind is told."""
        self._span.set_attribute("error.type", type(error).__name__)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """It is done."""
        self._span.end()


class OtlpTracer:
    """Begins spans, and sends those of a sample in the background.

    Parameters
    ----------
    endpoint : str
        ``http://host:4318``; spans go to ``/v1/traces`` below it.
    headers : mapping of str to str
        Sent with each request; may hold secrets.
    sample : float
        Share of the traces that begin here. A trace that comes from elsewhere is kept if it is kept there.
    resource : mapping of str to str
        What is said of the process.

    Guarantees
    ----------
    Nothing waits for the receiver: at most 2,048 spans do, and those beyond are dropped.
    """

    def __init__(
        self, endpoint: str, headers: Mapping[str, str], sample: float, resource: Mapping[str, str]
    ) -> None:
        self._exporter = OTLPSpanExporter(
            f"{endpoint.rstrip('/')}/v1/traces",
            headers=dict(headers),
            timeout=SEND_TIMEOUT_S,
            compression=Compression.Gzip,
        )
        processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=MOST_WAITING,
            schedule_delay_millis=SEND_EVERY_MS,
            max_export_batch_size=MOST_AT_ONCE,
        )
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample)),
            resource=Resource.create(dict(resource)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("driftline")

    def start(self, name: str, parent: SpanIdentity | None, kind: Kind, attributes: Attributes) -> OtlpSpan:
        """Begin a span; without a parent it begins a trace."""
        # Never the context of OpenTelemetry itself: other libraries of the process may have put theirs there.
        context = set_span_in_context(
            NonRecordingSpan(_INVALID if parent is None else _context_of(parent, is_remote=False))
        )
        return OtlpSpan(self._tracer.start_span(name, context, _KINDS[kind], dict(attributes)))

    def close(self) -> None:
        """Send what is left for two seconds at most; who is away must not keep a process from leaving."""
        leaving = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        leaving.start()
        leaving.join(LEAVE_S)
        if leaving.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # ends its retries


def try_receiver(endpoint: str, headers: Mapping[str, str]) -> str:
    """Send a request without spans; returns what was found.

    Parameters
    ----------
    endpoint : str
        As for `OtlpTracer`.
    headers : mapping of str to str
        May hold secrets.

    Raises
    ------
    Unavailable
        If the receiver does not take it.
    """
    url = f"{endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(url, headers=dict(headers), timeout=TRY_TIMEOUT_S)
    with _heard() as said:
        result = exporter.export([])
        exporter.shutdown()  # type: ignore[no-untyped-call]  # the SDK's own annotations
    if result is not SpanExportResult.SUCCESS:
        reason = _reason(said[0]) if said else "it does not say why"
        msg = f"{url} takes no spans: {reason}"
        raise Unavailable(msg)
    return f"{url} takes spans"


def _reason(said: str) -> str:
    """What the operating system said, where a report of layers within layers ends with it."""
    found = _ERRNO.search(said)
    return mask(found[1] if found else said)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Listen to what the exporter would tell the log: it says there alone why it failed."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    source, listener = logging.getLogger(OTLPSpanExporter.__module__), Listener()
    source.addHandler(listener)
    propagates, source.propagate = source.propagate, False
    try:
        yield said
    finally:
        source.removeHandler(listener)
        source.propagate = propagates


def _context_of(identity: SpanIdentity, *, is_remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if identity.is_sampled else TraceFlags.DEFAULT)
    return SpanContext(identity.trace_id, identity.span_id, is_remote, flags)


_ERRNO = re.compile(r"\[Errno -?\d+\] ([^\"'()]+)")
_INVALID = SpanContext(0, 0, is_remote=False)
