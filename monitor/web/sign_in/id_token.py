"""Verifies ID tokens: the signature by one of the provider's keys, and every claim that ties one to us.

References
----------
OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725 (algorithms are ours to choose, never the token's).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from monitor.web.problems import Refused

logger = logging.getLogger(__name__)

ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
)
"""By key pairs only: a token that is signed with something we share proves nothing to us."""
KINDS = frozenset({"RSA", "EC", "OKP"})
LEEWAY_S = 60
MOST_SIGNS = 65_536


def verify(
    token: str,
    keys: Callable[[bool], Mapping[str, Any]],
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    now_s: int,
) -> dict[str, Any]:
    """Verify an ID token.

    Parameters
    ----------
    token : str
        As it came.
    keys : callable
        Gives the provider's JSON Web Key Set; called with True to look anew, after a key was not among them.
    issuer, client_id, nonce : str
        What the token has to be from, for, and about.
    now_s : int
        Seconds since the epoch; a minute of difference between the clocks is allowed.

    Returns
    -------
    dict
        The claims.

    Raises
    ------
    Refused
        401, always in the same words: the log says which check failed.
    """
    try:
        claims = dict(_decoded(token, keys).claims)
        wanted = jwt.JWTClaimsRegistry(
            now=now_s,
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        wanted.validate(claims)
        _check_party(claims, client_id)
    except (JoseError, ValueError, TypeError) as error:
        logger.warning("an ID token is refused: %s: %.200s", type(error).__name__, error)
        raise Refused(401, "what the provider says cannot be believed; begin again") from None
    return claims


def _decoded(token: str, keys: Callable[[bool], Mapping[str, Any]]) -> jwt.Token:
    if len(token) > MOST_SIGNS:
        msg = "the token is too long"
        raise ValueError(msg)
    try:
        return jwt.decode(token, _usable(keys(False)), ALGORITHMS)
    except JoseError:
        # The provider may have changed its keys since we asked; under the same id, too.
        return jwt.decode(token, _usable(keys(True)), ALGORITHMS)


def _usable(document: Mapping[str, Any]) -> KeySet:
    """Take the keys that may sign; those of kinds that we do not know are none of our business."""
    found = []
    for key in document.get("keys", []):
        if isinstance(key, dict) and key.get("kty") in KINDS and key.get("use", "sig") == "sig":
            with suppress(JoseError, ValueError, KeyError):
                found += KeySet.import_key_set({"keys": [key]}).keys
    return KeySet(found)


def _check_party(claims: Mapping[str, Any], client_id: str) -> None:
    """Check that it is about somebody, and that of several audiences the party it was made for is us."""
    audience, party = claims["aud"], claims.get("azp")
    if not isinstance(claims["sub"], str):
        msg = "the subject is no text"
        raise TypeError(msg)
    if party is not None and party != client_id:
        msg = "the token was made for another client"
        raise ValueError(msg)
    if isinstance(audience, list) and len(audience) > 1 and party is None:
        msg = "the token has several audiences and does not say which of them it was made for"
        raise ValueError(msg)
