"""Whose name stands under what is done: of those who signed in, theirs, whatever else a request says.

Outside of requests, and where nobody signs in, the name that was given stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fastapi import Request

from monitor.web.sign_in.user import User

_NAME: ContextVar[str | None] = ContextVar("driftline_signed_in", default=None)


def name_or(given: str) -> str:
    """Give the name of who is signed in, or else the one that was given."""
    return _NAME.get() or given


@contextmanager
def acting(user: User | None) -> Iterator[None]:
    """Let everything in the block be done by a user, if somebody vouches for the name."""
    token = _NAME.set(user.name if user is not None and user.is_known else None)
    try:
        yield
    finally:
        _NAME.reset(token)


def user_of(request: Request) -> User | None:
    """Say who asks; None where nobody signs in."""
    found = getattr(request.state, "user", None)
    return found if isinstance(found, User) else None
