"""Signs requests to AWS: Signature Version 4 with the headers of the request.

Only what JSON APIs need: one path without special characters, no query. Written here because the library that
does it, botocore, is larger than the rest of the product together.

References
----------
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Keys:
    """Access key of an account, with the token of a session if it is a temporary one."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Scope:
    """Where a signature is good: a region and a service."""

    region: str
    service: str


def signed(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    keys: Keys,
    scope: Scope,
    at: datetime,
) -> dict[str, str]:
    """Add date, token and signature to the headers of a request.

    Parameters
    ----------
    method, path, headers, body
        The request as it will be sent; the headers must hold ``host``, and every one of them is signed.
    keys : Keys
        Who signs.
    scope : Scope
        What it is for.
    at : datetime
        Now, aware UTC; AWS takes signatures of the last five minutes.

    Returns
    -------
    dict of str to str
        All headers, with ``authorization``.
    """
    stamp = f"{at:%Y%m%dT%H%M%SZ}"
    sent = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    sent["x-amz-date"] = stamp
    if keys.session_token:
        sent["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(sent))
    lines = [f"{name}:{sent[name]}" for name in sorted(sent)]
    canonical = "\n".join([method, path, "", *lines, "", names, _hash(body)])
    where = f"{stamp[:8]}/{scope.region}/{scope.service}/aws4_request"
    text = "\n".join([ALGORITHM, stamp, where, _hash(canonical.encode())])
    signature = _mac(signing_key(keys.secret_access_key, stamp[:8], scope), text).hex()
    credential = f"{ALGORITHM} Credential={keys.access_key_id}/{where}"
    return {**sent, "authorization": f"{credential}, SignedHeaders={names}, Signature={signature}"}


def signing_key(secret_access_key: str, date: str, scope: Scope) -> bytes:
    """Derive the key that signs for one day (``YYYYMMDD``), region and service."""
    key = f"AWS4{secret_access_key}".encode()
    for part in (date, scope.region, scope.service, "aws4_request"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
