"""A schema registry that answers as the real one does, and what writes messages with its schemas."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import fastavro
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from tests.kit.ports import LOOPBACK

Answer = tuple[int, dict[str, Any]]
NOT_THERE = {40401: "Subject not found.", 40402: "Version not found.", 40403: "Schema not found"}


@dataclass
class FakeRegistry:
    """What it holds, and how it behaves.

    `status` other than 200 is answered to everything, `body` in place of JSON, `wait_s` later, `drip` byte
    by byte; `login` is asked for, in the form ``user:password``.
    """

    url: str = ""
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    versions: dict[tuple[str, int], int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    wait_s: float = 0.0
    drip: bool = False
    login: str = ""
    location: str = ""

    def add(self, id_: int, schema: str, kind: str = "AVRO", **more: Any) -> uuid.UUID:
        """Register a schema; returns its GUID."""
        guid = uuid.uuid5(uuid.NAMESPACE_OID, schema)
        self.schemas[id_] = {"schemaType": kind, "schema": schema, "guid": str(guid), **more}
        return guid

    def add_avro(self, id_: int, schema: Any, references: Any = ()) -> uuid.UUID:
        """Register an Avro schema."""
        return self.add(id_, json.dumps(schema), references=list(references))

    def add_protobuf(self, id_: int, file: FileDescriptorProto, references: Any = ()) -> uuid.UUID:
        """Register a file; without ``format=serialized`` the registry would answer with its text."""
        serialised = base64.b64encode(file.SerializeToString()).decode()
        text = f'syntax = "proto3"; // {id_}'
        return self.add(id_, text, "PROTOBUF", serialised=serialised, references=list(references))

    def answer(self, path: str, query: dict[str, list[str]]) -> Answer:
        """Answer as Confluent's registry does."""
        match [unquote(part) for part in path.split("/")[1:]]:
            case ["schemas", "ids", number]:
                return self._told(int(number), query, 40403)
            case ["schemas", "guids", guid]:
                ids = [id_ for id_, one in self.schemas.items() if one["guid"] == guid]
                return self._told(ids[0] if ids else -1, query, 40403)
            case ["subjects", subject, "versions", version]:
                known = {name for name, _ in self.versions}
                code = 40402 if subject in known else 40401
                return self._told(self.versions.get((subject, int(version)), -1), query, code)
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _told(self, id_: int, query: dict[str, list[str]], code: int) -> Answer:
        if id_ not in self.schemas:
            return 404, {"error_code": code, "message": NOT_THERE[code]}
        one = dict(self.schemas[id_])
        serialised = one.pop("serialised", None)
        if query.get("format") == ["serialized"]:
            one["schema"] = serialised
        if one["schemaType"] == "AVRO":
            del one["schemaType"]  # the default is not told
        if not one.get("references"):
            one.pop("references", None)
        return 200, one


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    """Serve one on loopback."""
    registry = FakeRegistry()

    class Handler(BaseHTTPRequestHandler):
        """Answers one request."""

        def do_GET(self) -> None:
            """Answer."""
            registry.asked.append(self.path)
            status, told = self._told()
            body = json.dumps(told).encode() if registry.body is None else registry.body
            time.sleep(registry.wait_s)
            self.send_response(status)
            self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
            self.send_header("content-length", str(len(body)))
            if registry.location:
                self.send_header("location", registry.location)
            self.end_headers()
            self._write(body)

        def _told(self) -> Answer:
            wanted = f"Basic {base64.b64encode(registry.login.encode()).decode()}"
            if registry.login and self.headers["authorization"] != wanted:
                return 401, {"error_code": 401, "message": "Unauthorized"}
            if registry.status != 200:
                return registry.status, {"error_code": 50001, "message": "Error in the backend datastore"}
            parts = urlsplit(self.path)
            return registry.answer(parts.path, parse_qs(parts.query))

        def _write(self, body: bytes) -> None:
            try:
                for at in range(0, len(body), 1 if registry.drip else len(body)):
                    self.wfile.write(body[at : at + 1] if registry.drip else body)
                    self.wfile.flush()
                    time.sleep(0.05 if registry.drip else 0)
            except OSError:
                return  # the client did not want to wait

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads = True
    registry.url = f"http://{LOOPBACK}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def by_id(id_: int, payload: bytes) -> bytes:
    """Put an id in front."""
    return b"\x00" + id_.to_bytes(4, "big") + payload


def by_guid(guid: uuid.UUID, payload: bytes) -> bytes:
    """Put a GUID in front."""
    return b"\x01" + guid.bytes + payload


def avro(schema: Any, value: Any, *others: Any) -> bytes:
    """Write a value."""
    named: dict[str, Any] = {}
    for other in others:
        fastavro.parse_schema(other, named)
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema, named), value)
    return stream.getvalue()


def proto_file(name: str, package: str, *imports: str) -> FileDescriptorProto:
    """Begin a ``.proto`` file."""
    return FileDescriptorProto(name=name, package=package, syntax="proto3", dependency=imports)


def proto_fields(message: Any, *fields: tuple[str, str] | tuple[str, str, str]) -> None:
    """Add fields, ``(name, kind)`` with kind such as ``int64``, ``.package.Message``, or with a label."""
    for number, (name, kind, *rest) in enumerate(fields, 1):
        label = Field.LABEL_REPEATED if rest == ["repeated"] else Field.LABEL_OPTIONAL
        one = message.field.add(name=name, number=number, label=label)
        if kind.startswith("."):
            one.type_name, one.type = kind, Field.TYPE_ENUM if rest == ["enum"] else Field.TYPE_MESSAGE
        else:
            one.type = getattr(Field, f"TYPE_{kind.upper()}")
        if rest == ["optional"]:
            one.proto3_optional, one.oneof_index = True, len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{name}")
