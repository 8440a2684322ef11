"""Asks a schema registry over HTTP, and remembers what it said."""

from __future__ import annotations

import base64
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

import httpx
import msgspec

from monitor.clock import Clock, SystemClock
from monitor.decode.registry import Key, Reference, Schema, unknown
from schemas.errors import ConfigurationError, EventError, Unavailable

_KINDS = ("AVRO", "PROTOBUF", "JSON")
_NOT_THERE = (40401, 40402, 40403)  # subject, version, schema; any other 404 is not the registry's own
_LARGEST = 16 << 20
_DEEPEST = 32  # references inside each other
_ASK_AGAIN_S = 60.0
_MOST_REFUSED = 10_000

Answer = dict[str, Any]


class RegistryClient:
    """A schema registry that speaks Confluent's HTTP API.

    Parameters
    ----------
    url : str
        Without credentials.
    transport : httpx.BaseTransport
        What carries the requests.
    credentials : (str, str), optional
        User name and password.
    timeout_s : float
        For each request.
    clock : Clock

    Notes
    -----
    What a schema, or a version of a subject, is called never changes, so it is asked for once. That there is
    no such schema is remembered for a minute. Redirects are not followed.
    """

    def __init__(
        self,
        url: str,
        transport: httpx.BaseTransport,
        credentials: tuple[str, str] | None = None,
        timeout_s: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        self._url, self._transport, self._timeout_s = url.rstrip("/"), transport, timeout_s
        self._clock = clock or SystemClock()
        self._headers = {"user-agent": "driftline", "connection": "close", "accept-encoding": "identity"}
        if credentials is not None:
            pair = base64.b64encode(":".join(credentials).encode()).decode()
            self._headers["authorization"] = f"Basic {pair}"
        self._known: dict[Key, Schema] = {}
        self._versions: dict[tuple[str, int], Schema] = {}
        self._refused: dict[Key, tuple[float, str]] = {}

    def schema(self, key: Key) -> Schema:
        """Return a schema, which is fetched when it is first asked for.

        Raises
        ------
        EventError
            If there is none of this key, or none that can be used.
        Unavailable
            If the registry does not answer, or refuses to.
        """
        found = self._known.get(key)
        if found is None:
            self._check_refused(key)
            try:
                found = self._known[key] = self._fetched(key)
            except EventError as error:
                self._refuse(key, str(error))
                raise
        return found

    def check(self) -> str:
        """Ask for the first schema, whether there is one or not; returns what was found.

        Raises
        ------
        Unavailable
            If the registry does not answer as one, or refuses to.
        """
        self._get("/schemas/ids/1", "")
        return f"{self._url} answers"

    def _check_refused(self, key: Key) -> None:
        until, reason = self._refused.get(key, (0.0, ""))
        if reason and self._clock.monotonic() < until:
            raise EventError(reason)

    def _refuse(self, key: Key, reason: str) -> None:
        if len(self._refused) >= _MOST_REFUSED:
            self._refused.clear()
        self._refused[key] = (self._clock.monotonic() + _ASK_AGAIN_S, reason)

    def _fetched(self, key: Key) -> Schema:
        path = f"/schemas/guids/{key}" if isinstance(key, UUID) else f"/schemas/ids/{key}"
        answer = self._get(path, "")
        if answer is None:
            raise unknown(key)
        return self._whole(answer, path, "", _DEEPEST)

    def _whole(self, answer: Answer, path: str, query: str, deepest: int) -> Schema:
        """Put a schema together with what it refers to."""
        kind = answer.get("schemaType") or "AVRO"
        if kind not in _KINDS or deepest == 0:
            what = f"type {kind!r:.40}" if deepest else "references too deeply nested"
            msg = f"registry: schemas with {what} cannot be read (Avro, Protobuf and JSON Schema can)"
            raise EventError(msg)
        text = answer["schema"]
        if kind == "PROTOBUF":
            serialised = self._get(path, f"{query}&format=serialized".lstrip("&"))
            if serialised is None:
                raise _strange()
            text = serialised["schema"]
        references = tuple(self._reference(one, deepest - 1) for one in answer.get("references") or ())
        return Schema(cast(Any, kind), text, references)

    def _reference(self, told: Any, deepest: int) -> Reference:
        try:
            name, subject, version = str(told["name"]), str(told["subject"]), int(told["version"])
        except (LookupError, TypeError, ValueError):
            raise _strange() from None
        if (subject, version) not in self._versions:
            # A version that was deleted since is still what the schema means.
            path, query = f"/subjects/{quote(subject, safe='')}/versions/{version}", "deleted=true"
            answer = self._get(path, query)
            if answer is None:
                msg = f"registry: a schema refers to {subject!r:.100} version {version}, which is not there"
                raise EventError(msg)
            self._versions[subject, version] = self._whole(answer, path, query, deepest)
        return Reference(name, self._versions[subject, version])

    # --- HTTP ----------------------------------------------------------------------------------------------

    def _get(self, path: str, query: str) -> Answer | None:
        """Ask; None if the registry says that there is no such thing.

        Raises
        ------
        Unavailable
            If it says anything else than a schema.
        """
        status, body = self._request(f"{self._url}{path}{'?' if query else ''}{query}")
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            answer = None
        told: Answer = answer if isinstance(answer, dict) else {}
        if status == 404 and told.get("error_code") in _NOT_THERE:
            return None
        if status != 200:
            msg = f"schema registry: {_reason(status)}"
            raise Unavailable(msg)
        if not isinstance(told.get("schema"), str):
            raise _strange()
        return told

    def _request(self, url: str) -> tuple[int, bytes]:
        """Send without httpx's client: that would follow proxies of the environment and log the address."""
        timeout = httpx.Timeout(self._timeout_s).as_dict()
        deadline = self._clock.monotonic() + self._timeout_s
        try:
            response = self._transport.handle_request(
                httpx.Request("GET", url, headers=self._headers, extensions={"timeout": timeout})
            )
            try:
                return response.status_code, self._body(response, deadline)
            finally:
                response.close()
        except httpx.HTTPError as error:
            what = "timed out" if isinstance(error, httpx.TimeoutException) else type(error).__name__
            msg = f"schema registry: no answer ({what})"
            raise Unavailable(msg) from None  # the cause may hold the address

    def _body(self, response: httpx.Response, deadline: float) -> bytes:
        body = bytearray()
        for chunk in cast(httpx.SyncByteStream, response.stream):
            body += chunk
            if len(body) > _LARGEST:
                msg = f"schema registry: an answer has more than {_LARGEST >> 20} MiB"
                raise Unavailable(msg)
            if self._clock.monotonic() > deadline:
                msg = "schema registry: no answer (timed out)"
                raise Unavailable(msg)
        return bytes(body)


def connect(
    url: str, credentials: tuple[str, str] | None, timeout_s: float, ca_file: str | None = None
) -> RegistryClient:
    """Make a client.

    Parameters
    ----------
    url : str
    credentials : (str, str), optional
    timeout_s : float
    ca_file : str, optional
        Certificates (PEM) to trust besides the usual ones.

    Raises
    ------
    ConfigurationError
        If the certificates cannot be read.
    """
    verify = httpx.create_ssl_context(verify=True, trust_env=False)
    if ca_file is not None:
        try:
            verify.load_verify_locations(ca_file)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError([f"registry.ca_file: {ca_file} cannot be used: {reason}"]) from None
    return RegistryClient(url, httpx.HTTPTransport(verify=verify, trust_env=False), credentials, timeout_s)


def _strange() -> Unavailable:
    return Unavailable("schema registry: answers with something that is no schema (is registry.url right?)")


def _reason(status: int) -> str:
    if status in (401, 403):
        return f"refuses the user name or password ({status})"
    if 300 <= status < 400:
        return f"answered {status}: redirects are not followed"
    return f"answered {status}{' to a path that every registry has' if status == 404 else ''}"
