"""JSON over HTTP as every target needs it: bounded in time and size, and errors that say what to do.

Requests go to checked addresses only (`alerting.http.addresses`), follow no redirects and use no proxy,
whatever the environment says. What an API answers may be shown to people, but never with a secret in it.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import cache
from urllib.parse import quote

import httpx
import msgspec

from alerting.finding import shorten
from alerting.http.addresses import PinnedTransport, Resolve, resolve_all
from alerting.http.answer import Answer
from alerting.http.retry_after import retry_after_s
from schemas.errors import DeliveryError, RetryLater

MAX_ANSWER_BYTES = 1_048_576
MAX_QUOTED = 200
MAX_DEPTH = 4
REMEMBERED_SECRETS = 256
# May pass by itself: a time-out, a request that came too early, too many requests.
PASSING = frozenset({408, 425, 429})
HINTS = {
    401: "the credentials are not accepted: check the user, the password or the token",
    403: "not allowed: give this user or token the right to do it",
    404: "there is no such thing: check the url and the names in the options",
    409: "it conflicts with what is there already",
    410: "it is gone for good: check the url",
}
# Where APIs put the reason of a failure.
REASONS = ("detail", "message", "error_message", "error", "title", "Message")


class HttpClient:
    """Sends requests to one API.

    Parameters
    ----------
    base_url : str
        Address that all paths are added to.
    allow_private : bool
        Whether it may be a private, loopback or link-local address.
    timeout_s : float
        For connecting and for each read; an answer may take twice as long in all.
    ca_file : str or None
        Certificates to trust in place of the public ones.
    now_ms : callable
        Wall clock, epoch milliseconds.
    resolve : callable
        Looks names up.

    Guarantees
    ----------
    Requests may be sent from several threads. Errors hold neither the address nor any text given to `hide`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        allow_private: bool,
        timeout_s: float,
        ca_file: str | None,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        inner = httpx.HTTPTransport(verify=_trust(ca_file) if ca_file else _public_trust(), trust_env=False)
        self._transport = PinnedTransport(inner, allow_private=allow_private, resolve=resolve)
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._now_ms = now_ms
        self._hidden: deque[str] = deque(maxlen=REMEMBERED_SECRETS)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def hide(self, *secrets: str) -> None:
        """Never show these texts, even if the server sends them back, as they are or escaped."""
        forms = [form for text in secrets if text for form in (text, quote(text, safe=""), _escaped(text))]
        self._hidden.extend(form for form in dict.fromkeys(forms) if form not in self._hidden)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def get(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> Answer:
        """Ask for something; see `send`."""
        url = str(httpx.URL(path, params=query)) if query else path
        return self.send("GET", url, b"", headers or {}, accept)

    def post(
        self,
        path: str,
        body: object,
        *,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> Answer:
        """Send JSON; see `send`."""
        content = msgspec.json.encode(body)
        return self.send(
            "POST", path, content, {"content-type": "application/json", **(headers or {})}, accept
        )

    def send(
        self, method: str, path: str, content: bytes, headers: Mapping[str, str], accept: Collection[int] = ()
    ) -> Answer:
        """Send one request.

        Parameters
        ----------
        method, path, content, headers
            The request; the path is added to the address of the API.
        accept : collection of int
            Statuses other than 2xx that the caller deals with.

        Raises
        ------
        RetryLater
            No or no complete answer, or one that says that a later attempt may go through.
        DeliveryError
            Any other status; says what to do.
        """
        answer = self._answer(method, path, content, headers)
        if 200 <= answer.status < 300 or answer.status in accept:
            return answer
        raise self.error(answer)

    def error(self, answer: Answer) -> DeliveryError:
        """Turn an answer into the error that it stands for."""
        status, said = answer.status, self.quote(answer)
        after_s = self._wish_to_wait(answer)
        if status in PASSING or (status >= 500 and status != 501) or (status == 403 and after_s is not None):
            return RetryLater(f"answered {status}{said}", after_s)
        if 300 <= status < 400:
            return DeliveryError(f"answered {status}, but redirects are not followed: correct the url")
        hint = HINTS.get(status)
        return DeliveryError(f"answered {status} ({hint}){said}" if hint else f"answered {status}{said}")

    def quote(self, answer: Answer) -> str:
        """Repeat the reason that an answer gives, on one line, without anything that is secret."""
        return self.quote_text(next((text for name in REASONS if (text := _words(answer.get(name)))), ""))

    def quote_text(self, reason: str) -> str:
        """Put a reason behind a colon, on one line, without anything that is secret."""
        for secret in sorted(self._hidden, key=len, reverse=True):
            reason = reason.replace(secret, "…")
        words = "".join(letter if letter.isprintable() else " " for letter in reason).split()
        return f": {shorten(' '.join(words), MAX_QUOTED)}" if words else ""

    def _wish_to_wait(self, answer: Answer) -> float | None:
        wish = retry_after_s(answer.headers.get("retry-after"), self._now_ms())
        if wish is None and answer.headers.get("x-ratelimit-remaining") == "0":  # GitHub's
            reset = answer.headers.get("x-ratelimit-reset", "")
            return retry_after_s(str(int(reset) - self._now_ms() // 1_000), 0) if _is_number(reset) else None
        return wish

    def _answer(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Send without httpx's client: that would follow proxies of the environment and log addresses."""
        if not all(text.isascii() and text.isprintable() for text in headers.values()):
            msg = "a token or name holds characters that cannot stand in a header: check the secrets"
            raise DeliveryError(msg)
        request = httpx.Request(
            method,
            self._base_url + path,
            headers={
                "user-agent": "driftline",
                "accept": "application/json",
                "accept-encoding": "identity",
                "connection": "close",
                **headers,
            },
            content=content,
            extensions={"timeout": httpx.Timeout(self._timeout_s).as_dict()},
        )
        try:
            response = self._transport.handle_request(request)
            try:
                body = self._read(response)
            finally:
                response.close()
        except httpx.HTTPError as error:
            msg = f"no answer: {_reason(error)}"
            raise RetryLater(msg) from None  # the cause may hold the address
        return Answer(response.status_code, response.headers, body)

    def _read(self, response: httpx.Response) -> bytes:
        latest_ms = self._now_ms() + int(2_000 * self._timeout_s)
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                msg = f"the answer is larger than {MAX_ANSWER_BYTES} bytes: is the url that of the API?"
                raise RetryLater(msg)
            if self._now_ms() > latest_ms:
                msg = "no answer: timed out"
                raise RetryLater(msg)
        return bytes(body)


def segment(name: str) -> str:
    """Write a name as one segment of a path.

    Examples
    --------
    >>> segment("a b/../c")
    'a%20b%2F..%2Fc'
    """
    return quote(name, safe="")


@cache
def _public_trust() -> ssl.SSLContext:
    """Read the public certificates once: it takes longer than everything else that a client needs."""
    return httpx.create_ssl_context(verify=True, trust_env=False)


def _trust(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _escaped(text: str) -> str:
    return msgspec.json.encode(text).decode()[1:-1]


def _words(value: object, depth: int = 0) -> str:
    """Make text of a reason: some APIs give an object or a list of objects, of which the texts are taken."""
    if isinstance(value, str):
        return value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return "; ".join(words for part in parts if depth < MAX_DEPTH and (words := _words(part, depth + 1)))


def _reason(error: httpx.HTTPError) -> str:
    """Say what went wrong on the way, by kind: the library's text could hold the address."""
    if isinstance(error, httpx.TimeoutException):
        return "timed out"
    if isinstance(error, httpx.ConnectError):
        return "connection failed (refused, or no valid certificate)"
    return f"connection broke ({type(error).__name__})"
