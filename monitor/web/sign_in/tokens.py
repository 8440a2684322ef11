"""API tokens: how they are made, and how they are recognised.

A token is 256 random bits, so that its SHA-256 cannot be turned back: slow hashes are for what people choose.
Looking the hash up in an index says nothing of the token by the time that it takes.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from sqlalchemy import Engine

from monitor.config.problem import show
from monitor.config.sign_in import RoleName
from monitor.config.values import read_duration
from monitor.store import api_tokens as stored
from monitor.store.engine import immediate
from schemas.errors import UsageError

PREFIX = "dl_"
RANDOM_BYTES = 32
MOST_SIGNS = 200
SHORTEST_MS, LONGEST_MS = 60_000, 3_650 * 86_400_000
_FORM = re.compile(r"dl_[A-Za-z0-9_-]{43}")


def is_token(text: str) -> bool:
    """Whether a text has the form of a token.

    Examples
    --------
    >>> is_token("dl_" + "a" * 43), is_token("dl_a"), is_token("ab" * 23)
    (True, False, False)
    """
    return _FORM.fullmatch(text) is not None


def hash_of(text: str) -> str:
    """SHA-256 in hexadecimal digits, of a token or of a session's id."""
    return hashlib.sha256(text.encode()).hexdigest()


def create(
    engine: Engine, name: str, role: RoleName, expires_at_ms: int | None, by: str, now_ms: int
) -> tuple[int, str]:
    """Make a token.

    Parameters
    ----------
    engine : Engine
    name : str
        What it is for; stands in the audit log.
    role : str
        What it may do.
    expires_at_ms : int, optional
        Default: never.
    by : str
        Who makes it.
    now_ms : int

    Returns
    -------
    number : int
    token : str
        Kept nowhere: it can only be shown now.

    Raises
    ------
    UsageError
        If the name cannot be used, or is taken.
    """
    if not name.strip() or len(name) > MOST_SIGNS or not name.isprintable():
        msg = f"{show(name)} is not a name for a token (use 1 to {MOST_SIGNS} printable signs)"
        raise UsageError(msg)
    token = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    row = {
        "name": name.strip(),
        "hash": hash_of(token),
        "role": role,
        "created_by": by,
        "created_at_ms": now_ms,
        "expires_at_ms": expires_at_ms,
    }
    with immediate(engine) as connection:
        return stored.add(connection, row), token


def lifetime_ms(text: str) -> int | None:
    """Read how long a token lives; None for ``never`` an end.

    Raises
    ------
    ValueError
        If it is neither ``never`` nor a duration from a minute to ten years.

    Examples
    --------
    >>> lifetime_ms("90d"), lifetime_ms("never")
    (7776000000, None)
    """
    if text == "never":
        return None
    lives_ms = read_duration(text)
    if not SHORTEST_MS <= lives_ms <= LONGEST_MS:
        msg = f"{show(text)} is out of range (use 1m to 3650d, or never)"
        raise ValueError(msg)
    return lives_ms
