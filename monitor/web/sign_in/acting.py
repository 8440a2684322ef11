"""Whose name stands under what is done, and what that is: for everything that is written down of a request.

The name is that of who signed in, whatever else a request says; outside of requests, and where nobody signs
in, the name that was given stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from fastapi import Request

from monitor.web.sign_in.user import User

_NAME: ContextVar[str | None] = ContextVar("driftline_signed_in", default=None)
_NOTES: ContextVar[list[str] | None] = ContextVar("driftline_done", default=None)


def name_or(given: str) -> str:
    """Give the name of who is signed in, or else the one that was given."""
    return _NAME.get() or given


def note(words: str) -> None:
    """Say what a request does, for the audit log; outside of requests nobody asks."""
    notes = _NOTES.get()
    if notes is not None:
        notes.append(words)


@contextmanager
def acting(user: User | None) -> Iterator[list[str]]:
    """Let everything in the block be done by a user, if somebody vouches for the name.

    Yields
    ------
    list of str
        What is said by `note` in the block.
    """
    notes: list[str] = []
    name_token = _NAME.set(user.name if user is not None and user.is_known else None)
    notes_token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(notes_token)
        _NAME.reset(name_token)


def user_of(request: Request) -> User | None:
    """Say who asks; None where nobody signs in."""
    found = getattr(request.state, "user", None)
    return found if isinstance(found, User) else None
