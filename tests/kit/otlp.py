"""An OTLP/HTTP receiver on the loopback: reads requests with the classes of the protocol."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class OtlpReceiver:
    """Everything that was sent.

    Attributes
    ----------
    address : str
        Of the receiver, without a path.
    spans : list of Span
    resources : list of dict
        What was said of the process, a request each.
    headers : list of dict
    """

    def __init__(self) -> None:
        self.address = ""
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []

    def named(self, name: str) -> list[Span]:
        """Spans of one name."""
        return [span for span in self.spans if span.name == name]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Take one request in."""
        assert path == "/v1/traces"
        self.headers.append(headers)
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        for group in ExportTraceServiceRequest.FromString(plain).resource_spans:
            self.resources.append({one.key: one.value.string_value for one in group.resource.attributes})
            for scope in group.scope_spans:
                self.spans.extend(scope.spans)


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """Run a receiver."""
    made = OtlpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def attributes(span: Span) -> dict[str, str | int | bool]:
    """What a span says."""
    found: dict[str, str | int | bool] = {}
    for one in span.attributes:
        kind = str(one.value.WhichOneof("value"))
        found[one.key] = getattr(one.value, kind)
    return found
