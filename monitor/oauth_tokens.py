"""Tokens with which the Faust app shows itself to Kafka, from the provider that librdkafka asks as well."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
from aiokafka.abc import AbstractTokenProvider  # type: ignore[import-untyped]

from schemas.decoding import json_decoder
from schemas.errors import Unavailable

TIMEOUT_S = 10.0
USED_SHARE = 0.8
"""Share of a token's life after which the next one is asked for, as librdkafka does."""


class TokenSource(AbstractTokenProvider):  # type: ignore[misc]
    """Asks a provider for tokens, by client credentials (RFC 6749, section 4.4), and keeps each for its life.

    Parameters
    ----------
    options : mapping
        Options of librdkafka (``sasl.oauthbearer.…``, ``https.ca.…``). They hold the client's secret.
    monotonic : callable
        Clock of the tokens' life, in seconds.
    """

    def __init__(self, options: Mapping[str, Any], monotonic: Any = time.monotonic) -> None:
        self._url = str(options.get("sasl.oauthbearer.token.endpoint.url", ""))
        self._client = _either(options, "client.id"), _either(options, "client.secret")
        self._scope = options.get("sasl.oauthbearer.scope")
        self._extensions = _pairs(str(options.get("sasl.oauthbearer.extensions", "")))
        self._trust = _trust(options)
        self._monotonic = monotonic
        self._token, self._until_s = "", 0.0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """Return a token that is good for a while.

        Raises
        ------
        Unavailable
            If the provider does not answer or gives none. The message repeats nothing that it said, which may
            hold a secret.
        """
        async with self._lock:
            if self._monotonic() >= self._until_s:
                self._token, life_s = _read(await self._asked(), self._url)
                self._until_s = self._monotonic() + USED_SHARE * life_s
            return self._token

    def extensions(self) -> dict[str, str]:
        """Extensions of SASL that go with every token."""
        return self._extensions

    async def _asked(self) -> httpx.Response:
        form = {"grant_type": "client_credentials", **({"scope": str(self._scope)} if self._scope else {})}
        try:
            async with httpx.AsyncClient(verify=self._trust, timeout=TIMEOUT_S) as client:
                return await client.post(self._url, data=form, auth=self._client)
        except httpx.HTTPError as error:
            msg = f"{self._url} gives no token for Kafka: {error or type(error).__name__}"
            raise Unavailable(msg) from error


class _Granted(msgspec.Struct):
    """What a provider answers."""

    access_token: str
    expires_in: float = 300.0


def _read(answer: httpx.Response, url: str) -> tuple[str, float]:
    """The token of an answer, and how long it is good for, in seconds."""
    if not answer.is_success:
        msg = f"{url} gives no token for Kafka: it answered {answer.status_code}"
        raise Unavailable(msg)
    try:
        granted = json_decoder(_Granted).decode(answer.content)
    except msgspec.DecodeError as error:
        msg = f"{url} gives no token for Kafka: its answer has no access_token"
        raise Unavailable(msg) from error
    return granted.access_token, granted.expires_in


def _either(options: Mapping[str, Any], name: str) -> str:
    """An option under its older or its newer name."""
    newer = options.get(f"sasl.oauthbearer.client.credentials.{name}", "")
    return str(options.get(f"sasl.oauthbearer.{name}", newer))


def _pairs(text: str) -> dict[str, str]:
    """Read ``name=value,name=value``.

    Examples
    --------
    >>> _pairs("traceId=123, cluster=a=b")
    {'traceId': '123', 'cluster': 'a=b'}
    """
    parts = (part.strip().partition("=") for part in text.split(",") if part.strip())
    return {name: value for name, _, value in parts}


def _trust(options: Mapping[str, Any]) -> ssl.SSLContext:
    location = options.get("https.ca.location")
    if location in (None, "probe"):
        return ssl.create_default_context(cadata=options.get("https.ca.pem"))
    if Path(str(location)).is_dir():
        return ssl.create_default_context(capath=str(location))
    return ssl.create_default_context(cafile=str(location))
