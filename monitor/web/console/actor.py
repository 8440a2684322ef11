"""Who does something on a page: the name that the audit trail gets."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from fastapi import Request, Response

from monitor.web.console.forms import is_safe
from monitor.web.sign_in.acting import user_of
from schemas.errors import UsageError

FIELD = "actor"
NOBODY_NAMED = "console"
MOST_LETTERS = 256
COOKIE = "driftline_actor"
YEAR_S = 31_536_000


def actor_of(request: Request, posted: Mapping[str, str]) -> str:
    """Say who sent a form.

    Parameters
    ----------
    request : Request
        It brought the form.
    posted : mapping of str to str
        Fields of the form; `actor` is the name, where nobody is signed in.

    Returns
    -------
    str
        1 to 256 characters that can be printed; ``console`` if nobody is named.

    Raises
    ------
    UsageError
        If the name is too long, or cannot be printed.
    """
    user = user_of(request)
    if user is not None and user.is_known:
        return user.name
    name = posted.get(FIELD, "").strip()
    if len(name) > MOST_LETTERS:
        msg = f"the name is too long (use at most {MOST_LETTERS} characters)"
        raise UsageError(msg)
    if not name.isprintable():
        msg = "the name holds characters that cannot be printed"
        raise UsageError(msg)
    return name or NOBODY_NAMED


def known_actor(request: Request) -> str:
    """Give the name that this browser used last; empty if it has used none."""
    name = unquote(request.cookies.get(COOKIE, ""), errors="ignore")
    return name if len(name) <= MOST_LETTERS and name.isprintable() else ""


def remember(request: Request, response: Response, actor: str) -> None:
    """Let the browser keep the name, so that it is written once only."""
    if actor == NOBODY_NAMED or actor == known_actor(request):
        return
    kept = quote(actor, safe="")
    response.set_cookie(COOKIE, kept, YEAR_S, secure=is_safe(request), httponly=True, samesite="lax")
