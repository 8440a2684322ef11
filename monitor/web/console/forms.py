"""Forms of pages: what was sent, and that it was sent by a page of ours.

Guarantees
----------
A form is taken only with the token that the browser also keeps as a cookie: pages from elsewhere can make a
browser send the cookie, not read it. The guard refuses requests with a foreign ``Origin`` before that.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from monitor.web.problems import Refused

COOKIE, SAFE_COOKIE = "driftline_form", "__Host-driftline_form"
FIELD = "form_token"
MOST_FIELDS = 200
TOKEN_BYTES = 24


def token_of(request: Request) -> str:
    """Give the token of a browser, a new one at its first page; the shell sets the cookie."""
    known = request.cookies.get(SAFE_COOKIE if is_safe(request) else COOKIE, "")
    if known.isascii() and 16 <= len(known) <= 64:
        return known
    if not hasattr(request.state, "form_token"):
        request.state.form_token = secrets.token_urlsafe(TOKEN_BYTES)
    return str(request.state.form_token)


def is_safe(request: Request) -> bool:
    """Whether the browser came by HTTPS."""
    return request.url.scheme == "https"


async def _posted(request: Request) -> Mapping[str, str]:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise Refused(415, "a form is sent as application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(
            (await request.body()).decode(),
            keep_blank_values=True,
            max_num_fields=MOST_FIELDS,
            strict_parsing=False,
        )
    except ValueError as error:
        raise Refused(422, f"this is not a form: {error}") from None
    found = dict(pairs)
    known = request.cookies.get(SAFE_COOKIE if is_safe(request) else COOKIE, "")
    if not known or not hmac.compare_digest(known.encode(), found.pop(FIELD, "").encode()):
        raise Refused(
            403, "this form is not from a page of this console, or it is too old; load the page again"
        )
    return found


Posted = Annotated[Mapping[str, str], Depends(_posted)]
"""Fields of a form."""


def back(posted: Mapping[str, str], default: str = "/") -> Response:
    """Lead back to the page that a form was on, never to another place.

    Examples
    --------
    >>> [back({"back": to}).headers["location"] for to in ("/incidents?cursor=a", "//evil.example")]
    ['/incidents?cursor=a', '/']
    """
    wanted = posted.get("back", default)
    is_local = wanted.startswith("/") and wanted[1:2] not in ("/", "\\") and wanted.isprintable()
    return RedirectResponse(wanted if is_local else default, status_code=303)
