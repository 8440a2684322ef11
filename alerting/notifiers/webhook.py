"""Signed HTTP requests after the Standard Webhooks specification.

References
----------
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Literal, Self

import httpx
import msgspec
from pydantic import Field, SecretStr, field_validator, model_validator

from alerting.codec import document
from alerting.digest import DigestNotice
from alerting.digest import document as digest_document
from alerting.http.addresses import PinnedTransport, Resolve, resolve_all
from alerting.http.receiver import secret_address, trust_of
from alerting.http.retry_after import retry_after_s
from alerting.http.signatures import Signatures, basic_authorization
from alerting.http.trace_context import trace_headers
from alerting.incidents.document import own_fields
from alerting.notice import Notice
from alerting.notifiers.base import Example, Notifier, ReceiverDisabled, ReceiverOptions, ReceiverState
from alerting.secrets import Secrets, exactly_one
from schemas.errors import DeliveryError, RetryLater

MAX_BODY_BYTES = 20_000
GONE = 410
# The same bytes would be refused again.
REFUSED = frozenset({400, 405, 406, 411, 413, 414, 415, 422, 501})


class WebhookOptions(ReceiverOptions):
    """Options of a ``webhook`` receiver.

    Parameters
    ----------
    url, url_env, url_file : str
        Where to POST; exactly one. An address that holds a token belongs in the environment or a file.
    secret_env, secret_file : str
        ``whsec_`` and 24 to 64 bytes in base64; exactly one.
    previous_secret_env, previous_secret_file : str, optional
        While a secret is being rotated: requests carry a signature of each.
    allow_private : bool
        Whether the receiver may live at a private, loopback or link-local address.
    timeout_s : float
        For connecting and for the answer, each.
    ca_file : str, optional
        Certificates to trust in place of the public ones.
    proxy_env : str, optional
        Variable with the address of a proxy. Without it no proxy is used, whatever the environment says.
        With it the proxy decides which addresses can be reached.
    """

    type: Literal["webhook"]
    url: str | None = None
    url_env: str | None = None
    url_file: str | None = None
    secret_env: str | None = None
    secret_file: str | None = None
    previous_secret_env: str | None = None
    previous_secret_file: str | None = None
    allow_private: bool = False
    timeout_s: float = Field(default=15.0, gt=0, le=30)
    ca_file: str | None = None
    proxy_env: str | None = None

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str | None) -> str | None:
        return None if url is None else _checked_url(url)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "url", "url_env", "url_file")
        exactly_one(self, "secret_env", "secret_file")
        return self


class WebhookNotifier(Notifier):
    """Posts ``{type, timestamp, data}`` with a signature; ``data`` is the alert as in the HTTP API.

    A 2xx answer is success, 410 disables the receiver, redirects are refused. Everything that may pass
    (network, 401, 404, 408, 429, 5xx …) is tried again; 400, 413, 422 and their like are final.

    Parameters
    ----------
    transport : httpx.BaseTransport, optional
        What carries the requests.
    resolve : callable
        Looks names up.
    """

    Options = WebhookOptions
    options: WebhookOptions

    def __init__(
        self,
        options: WebhookOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms)
        self._url = SecretStr(options.url) if options.url else secret_address(options, secrets, "url")
        self._signatures = Signatures.of(options, secrets)
        key = self._signatures.keys[0].data
        # Keyed, since it is stored and must not let anybody try out addresses.
        self._mark = hmac.new(key, self._url.get_secret_value().encode(), hashlib.sha256).hexdigest()
        self._transport = _transport(options, secrets, resolve)
        self._authorization = basic_authorization(httpx.URL(self._url.get_secret_value()))

    @property
    def fingerprint(self) -> str:
        """Changes with the options, and with an address that is a secret: it may be replaced after a 410."""
        if self.options.url:
            return super().fingerprint
        return hashlib.sha256(f"{super().fingerprint} {self._mark}".encode()).hexdigest()[:16]

    def send(self, notice: Notice, state: ReceiverState | None) -> ReceiverState | None:
        """Post one notice; keeps no state."""
        self._post(notice.id, body_of(notice))
        return state

    def send_digest(self, notice: DigestNotice) -> None:
        """Post what drifted in a week; ``data`` is the digest as in the HTTP API."""
        self._post(notice.id, digest_body_of(notice))

    def check(self) -> str:
        """Ask for the headers of the address; any answer below 500 but 410 shows that someone is there."""
        response = self._request("HEAD", b"", {})
        if response.status_code == GONE or response.status_code >= 500:
            raise self._error(response)
        return f"answers with {response.status_code}"

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    @classmethod
    def examples(cls) -> list[Example]:
        """One plain receiver, one that rotates its secret."""
        new = "whsec_" + base64.b64encode(b"n" * 32).decode()
        old = "whsec_" + base64.b64encode(b"o" * 24).decode()
        plain: dict[str, object] = {
            "type": "webhook",
            "url": "{server}/hook",
            "secret_env": "HOOK",
            "allow_private": True,
        }
        return [
            Example(plain, {"HOOK": new}),
            Example({**plain, "previous_secret_env": "OLD_HOOK"}, {"HOOK": new, "OLD_HOOK": old}),
        ]

    def _post(self, id_: str, body: bytes) -> None:
        headers = {**self._signatures.headers(id_, body, self.now_ms()), **trace_headers()}
        response = self._request("POST", body, headers)
        if not 200 <= response.status_code < 300:
            raise self._error(response)

    def _request(self, method: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Send without httpx's client: that would follow proxies of the environment and log the address."""
        timeout = httpx.Timeout(self.options.timeout_s).as_dict()
        request = httpx.Request(
            method,
            self._url.get_secret_value(),
            headers={"user-agent": "driftline", "connection": "close", **self._authorization, **headers},
            content=body,
            extensions={"timeout": timeout},
        )
        try:
            response = self._transport.handle_request(request)
            response.close()
        except httpx.HTTPError as error:
            msg = f"no answer: {_reason(error)}"
            raise RetryLater(msg) from None  # the cause may hold the address
        return response

    def _error(self, response: httpx.Response) -> DeliveryError:
        status = response.status_code
        if status == GONE:
            return ReceiverDisabled("the receiver answered 410: it wants no more messages")
        if 300 <= status < 400:
            return DeliveryError(f"the receiver answered {status}: redirects are not followed")
        if status in REFUSED:
            return DeliveryError(f"the receiver refused the message with {status}")
        after_s = retry_after_s(response.headers.get("retry-after"), self.now_ms())
        return RetryLater(f"the receiver answered {status}", after_s)


def body_of(notice: Notice, limit: int = MAX_BODY_BYTES) -> bytes:
    """Write the body of a request, leaving out findings, alerts and segments until it is small enough.

    Returns
    -------
    bytes
        JSON ``{"type", "timestamp", "data"}``; the length is below `limit`.
    """
    most = max(len(notice.alert.findings), len(notice.members))
    return _fitting(lambda shown: _body(notice, shown), most, limit)


def digest_body_of(notice: DigestNotice, limit: int = MAX_BODY_BYTES) -> bytes:
    """Write the body of a request, leaving out streams until it is small enough; see `body_of`."""

    def body(shown: int) -> bytes:
        data = digest_document(notice.digest, shown)
        return msgspec.json.encode({"type": notice.type, "timestamp": notice.at, "data": data})

    return _fitting(body, len(notice.digest.listed), limit)


def _fitting(write: Callable[[int], bytes], shown: int, limit: int) -> bytes:
    """Show half as many until it fits."""
    while True:
        body = write(shown)
        if len(body) < limit or shown == 0:
            return body
        shown //= 2


def _body(notice: Notice, shown: int) -> bytes:
    data: dict[str, Any] = document(notice.alert, shown)
    data["findings_total"] = notice.findings_total
    data |= own_fields(notice.members, notice.causes, notice.impact, notice.segments)
    data["alerts_total"] = notice.members_total
    for name in ("alerts", "segments"):
        data[name] = data[name][:shown]
    data["change"] = {"kind": notice.change.kind, "cause": notice.change.cause, "actor": notice.change.actor}
    if notice.url:
        data["url"] = notice.url
    return msgspec.json.encode({"type": notice.type, "timestamp": notice.change.at, "data": data})


def _checked_url(url: str) -> str:
    """Check an address.

    Raises
    ------
    ValueError
        Says what is allowed; never holds the address.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        msg = "not an address (use https://host/path)"
        raise ValueError(msg)
    if parsed.userinfo:
        msg = "holds credentials (name them with url_env or url_file)"
        raise ValueError(msg)
    return url


def _transport(options: WebhookOptions, secrets: Secrets, resolve: Resolve) -> httpx.BaseTransport:
    verify = trust_of(options.ca_file, secrets)
    if options.proxy_env:
        proxy = secret_address(options, secrets, "proxy").get_secret_value()
        return httpx.HTTPTransport(verify=verify, trust_env=False, proxy=httpx.Proxy(proxy))
    inner = httpx.HTTPTransport(verify=verify, trust_env=False)
    return PinnedTransport(inner, allow_private=options.allow_private, resolve=resolve)


def _reason(error: httpx.HTTPError) -> str:
    """Say what went wrong on the way, by kind: the library's text could hold the address."""
    if isinstance(error, httpx.TimeoutException):
        return "timed out"
    if isinstance(error, httpx.ConnectError):
        return "connection failed (refused, or no valid certificate)"
    return f"connection broke ({type(error).__name__})"
