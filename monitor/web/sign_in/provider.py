"""The OpenID Connect provider: what it says of itself, its keys, and codes that it turns into ID tokens.

Only the issuer and the addresses that it names itself are ever called.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import httpx

from monitor.clock import Clock
from monitor.config.secrets import secret
from monitor.config.sign_in import OidcSignIn
from monitor.loopback import is_loopback
from monitor.web.problems import Refused
from schemas.errors import Unavailable

logger = logging.getLogger(__name__)

TIMEOUT_S = 5.0
MOST_BYTES = 1_048_576
FRESH_S = 3_600.0
RETRY_S = 30.0
PAUSE_S = 5.0
AWAY = "the provider could not be reached a moment ago (see http.sign_in.issuer in the configuration)"
WELL_KNOWN = "/.well-known/openid-configuration"
NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True)
class _Kept:
    """A document and when it was read."""

    document: dict[str, Any]
    at_s: float


class Provider:
    """Asks the provider.

    Parameters
    ----------
    options : OidcSignIn
    clock : Clock
    """

    def __init__(self, options: OidcSignIn, clock: Clock) -> None:
        self._options, self._clock = options, clock
        self._kept: dict[str, _Kept] = {}
        self._away_until_s = float("-inf")
        self._lock = threading.Lock()
        self._client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def metadata(self) -> dict[str, Any]:
        """Read what the provider says of itself; kept for an hour.

        Raises
        ------
        Unavailable
            If it does not answer, or answers something else; never shows what it answered.
        """
        return self._fresh(self._options.issuer.rstrip("/") + WELL_KNOWN, FRESH_S, self._check_metadata)

    def keys(self, *, anew: bool = False) -> dict[str, Any]:
        """Read the provider's keys, as a JSON Web Key Set; kept for an hour.

        Parameters
        ----------
        anew : bool
            A key was not among them: look again, unless that was done in the last half minute.

        Raises
        ------
        Unavailable
            If the provider is away.
        """
        return self._fresh(self.metadata()["jwks_uri"], RETRY_S if anew else FRESH_S, _check_keys)

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> dict[str, Any]:
        """Turn a code into tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

        Raises
        ------
        Refused
            401 if the provider does not take the code.
        Unavailable
            If it is away, or does not take us.
        """
        metadata, form = self.metadata(), {"grant_type": "authorization_code", "code": code}
        form |= {"redirect_uri": redirect_uri, "code_verifier": verifier}
        ways = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        headers = {"Accept": "application/json", **self._credentials(ways, form)}
        status, answer = self._ask("POST", metadata["token_endpoint"], headers, form)
        if status == 400 and answer.get("error") == "invalid_grant":
            raise Refused(401, "the provider does not take this sign-in any more; begin again")
        if status != 200 or not isinstance(answer.get("id_token"), str):
            logger.warning("the provider answered %d to a code: %.200s", status, answer.get("error", ""))
            msg = f"the provider answered {status} where tokens were expected (the log says more)"
            raise Unavailable(msg)
        return answer

    def person(self, access_token: str) -> dict[str, Any]:
        """Read what the provider tells of a person beside the ID token; empty if it tells nothing.

        Raises
        ------
        Unavailable
            If it is away.
        """
        endpoint = self.metadata().get("userinfo_endpoint")
        if not isinstance(endpoint, str) or not self._is_safe(endpoint):
            return {}
        headers = {"Accept": "application/json", "Authorization": f"Bearer {access_token}"}
        status, answer = self._ask("GET", endpoint, headers)
        return answer if status == 200 else {}

    def _credentials(self, ways: Container[str], form: dict[str, str]) -> dict[str, str]:
        """Say who we are: in the headers that are returned, or in the form (RFC 6749, section 2.3.1)."""
        id_, pointer = self._options.client_id, self._options.client_secret_at
        told = None if pointer is None else secret(*pointer)
        if told is not None and "client_secret_basic" in ways:
            pair = f"{quote_plus(id_)}:{quote_plus(told)}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        form |= {"client_id": id_} if told is None else {"client_id": id_, "client_secret": told}
        return {}

    def _fresh(self, url: str, age_s: float, check: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
        """Read a document, or take it from memory; one that is old is better than none."""
        with self._lock:
            kept, now_s = self._kept.get(url), self._clock.monotonic()
            if kept is not None and now_s - kept.at_s < age_s:
                return kept.document
            if kept is None and now_s < self._away_until_s:
                raise Unavailable(AWAY)  # so that those who wait do not wait one after the other
            try:
                document = self._read(url, check)
            except Unavailable as error:
                self._away_until_s = self._clock.monotonic() + PAUSE_S
                if kept is None:
                    raise
                logger.warning("going on with what the provider said before: %s", error)
                self._kept[url] = _Kept(kept.document, now_s - FRESH_S + RETRY_S)
                return kept.document
            self._kept[url] = _Kept(document, now_s)
            return document

    def _read(self, url: str, check: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
        status, document = self._ask("GET", url, {"Accept": "application/json"})
        problem = f"answered {status}" if status != 200 else check(document)
        if problem:
            msg = f"the provider {problem} (see http.sign_in.issuer in the configuration)"
            raise Unavailable(msg)
        return document

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        try:
            with self._client.stream(method, url, headers=dict(headers), data=form) as answer:
                body = b""
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        msg = "the provider answers more than a mebibyte"
                        raise Unavailable(msg)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            msg = f"the provider cannot be reached: {type(error).__name__} (see http.sign_in.issuer)"
            raise Unavailable(msg) from error
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        return answer.status_code, document if isinstance(document, dict) else {}

    def _check_metadata(self, document: Mapping[str, Any]) -> str:
        missing = [name for name in NEEDED if not isinstance(document.get(name), str)]
        if missing:
            return f"does not say its {', '.join(missing)}"
        if document["issuer"] != self._options.issuer:
            return "calls itself by another name than the issuer's"
        unsafe = [name for name in NEEDED[1:] if not self._is_safe(document[name])]
        return f"names an address without https: {', '.join(unsafe)}" if unsafe else ""

    def _is_safe(self, url: str) -> bool:
        """Whether an address is reached by HTTPS, or, where the issuer is not, on this machine."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            return False
        is_local = self._options.issuer.startswith("http://") and is_loopback(parsed.host)
        return parsed.scheme == "https" or (parsed.scheme == "http" and is_local)


def _check_keys(document: Mapping[str, Any]) -> str:
    return "" if isinstance(document.get("keys"), list) else "lists no keys"
