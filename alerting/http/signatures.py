"""Requests signed after the Standard Webhooks specification, with a secret that may be rotated.

References
----------
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import NamedTuple, Self

import httpx
from pydantic import BaseModel
from standardwebhooks import Webhook

from alerting.finding import instant
from alerting.secrets import Secrets

SECRET_BYTES = range(24, 65)


class Key(NamedTuple):
    """A secret as it is used, and the forms in which it must not be seen."""

    data: bytes
    written: tuple[str, str]


class Signatures:
    """Signs with the secret in force and, while it is being rotated, with the one before.

    Parameters
    ----------
    *keys : Key
        The one in force first.
    """

    def __init__(self, *keys: Key) -> None:
        self.keys = keys
        self._signers = [Webhook(key.data) for key in keys]

    @classmethod
    def of(cls, options: BaseModel, secrets: Secrets) -> Self:
        """Read ``secret`` and, if it is given, ``previous_secret``.

        Raises
        ------
        ConfigurationError
            If one is missing or no webhook secret.
        """
        return cls(*_keys(options, secrets))

    def headers(self, id_: str, body: bytes, now_ms: int) -> dict[str, str]:
        """Write the headers of a request with a JSON body; `id_` stays the same over all attempts."""
        # UTC, because the library replaces the zone instead of converting.
        at = instant(now_ms // 1_000 * 1_000)
        return {
            "content-type": "application/json",
            "webhook-id": id_,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(one.sign(id_, at, body.decode()) for one in self._signers),
        }


def basic_authorization(url: httpx.URL) -> dict[str, str]:
    """Turn credentials of an address, if there are any, into the header they stand for."""
    if not url.userinfo:
        return {}
    pair = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    return {"authorization": f"Basic {pair}"}


def _keys(options: BaseModel, secrets: Secrets) -> Iterator[Key]:
    yield _key(options, secrets, "secret")
    if secrets.read_optional(options, "previous_secret") is not None:
        yield _key(options, secrets, "previous_secret")


def _key(options: BaseModel, secrets: Secrets, name: str) -> Key:
    text = secrets.read(options, name).get_secret_value()
    encoded = text.removeprefix("whsec_").rstrip("=")
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:  # not base64, or not even ASCII
        data = b""
    if len(data) not in SECRET_BYTES:
        raise secrets.problem(name, "not a webhook secret (use whsec_ and 24 to 64 bytes in base64)")
    return Key(data, (text, encoded))
