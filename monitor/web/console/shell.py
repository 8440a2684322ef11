"""What all pages share: the frame around them, how values are written, where they lead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from monitor.config.sign_in import OidcSignIn
from monitor.version import code_version
from monitor.web.console import words
from monitor.web.console.assets import address
from monitor.web.console.forms import COOKIE, FIELD, SAFE_COOKIE, is_safe, token_of
from monitor.web.context import Context
from monitor.web.guard import SAFE_METHODS
from monitor.web.sign_in.acting import user_of

TEMPLATES = Path(__file__).parents[1] / "templates"
THEMES = ("auto", "light", "dark")
THEME_COOKIE = "driftline_theme"


@dataclass(frozen=True)
class Place:
    """An entry of the navigation."""

    name: str
    url: str


PLACES = (
    Place("Models", "/"),
    Place("Incidents", "/incidents"),
    Place("Events", "/events"),
    Place("Deliveries", "/deliveries"),
    Place("Configuration", "/configuration"),
)


class Shell:
    """Renders pages.

    Parameters
    ----------
    context : Context
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._environment = environment()

    def warm(self) -> None:
        """Compile all templates, so that nobody who opens a page waits for it."""
        for name in self._environment.list_templates(extensions=["html"]):
            self._environment.get_template(name)

    def page(
        self, request: Request, template: str, here: str, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """Render a page.

        Parameters
        ----------
        request : Request
        template : str
            Name of the file.
        here : str
            Address of the entry of the navigation that the page belongs to.
        status : int
            Of the answer.
        **values
            What the template shows.
        """
        theme = request.cookies.get(THEME_COOKIE, "auto")
        token, user = token_of(request), user_of(request)
        frame = {
            "here": here,
            "url": str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""),
            "theme": theme if theme in THEMES else "auto",
            "form_token": token,
            "user": user,
            "may_act": user is None or user.may("operator"),
            "may_administrate": user is None or user.may("admin"),
            "is_inside": not getattr(request.state, "is_outside", False),
            "now_ms": self.context.clock.now_ms(),
        }
        text = self._environment.get_template(template).render(**frame, **values)
        response = HTMLResponse(text, status)
        self._remember_token(request, response, token)
        return response

    def problem(self, request: Request, problem: JSONResponse) -> HTMLResponse:
        """Write a problem document as a page."""
        told = json.loads(bytes(problem.body))
        came_from, status = page_before(request), problem.status_code
        is_change = request.method not in SAFE_METHODS and status < 500
        is_same = not is_change and came_from.partition("?")[0] == request.url.path
        has_door = status == 401 and isinstance(self.context.configuration.http.sign_in, OidcSignIn)
        values = {
            "title": told["title"],
            "detail": told["detail"],
            "is_change": is_change,
            "back_to": "" if is_same else came_from,
            "sign_in_at": f"/sign-in{query({'back': came_from})}" if has_door else "",
        }
        made = self.page(request, "problem.html", "", problem.status_code, **values)
        made.headers.update({k: v for k, v in problem.headers.items() if k in ("retry-after", "allow")})
        return made

    def _remember_token(self, request: Request, response: HTMLResponse, token: str) -> None:
        safe = is_safe(request)
        name = SAFE_COOKIE if safe else COOKIE
        if request.cookies.get(name) != token:
            response.set_cookie(name, token, secure=safe, httponly=True, samesite="strict", path="/")


def page_before(request: Request) -> str:
    """Path of the page of ours that a request was sent from; empty if it does not say.

    Notes
    -----
    Who asks names it: it is good for a link, for nothing else.
    """
    told = request.headers.get("hx-current-url") or request.headers.get("referer") or ""
    parts = urlsplit(told) if told.isprintable() else urlsplit("")
    is_ours = parts.netloc == request.headers.get("host") and parts.path.startswith("/")
    if not is_ours or parts.path.startswith("//"):
        return ""
    return parts.path + (f"?{parts.query}" if parts.query else "")


@cache
def environment() -> Environment:
    """Build what renders templates; one of a process, which keeps them compiled."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= words.FILTERS | {"path": path, "query": query}
    made.globals |= {
        "asset": address,
        "places": PLACES,
        "code_version": code_version(),
        "form_field": FIELD,
    }
    return made


def path(name: str) -> str:
    """Write a name as one part of a path.

    Examples
    --------
    >>> path("a/b c")
    'a%2Fb%20c'
    """
    return quote(name, safe="")


def query(values: Mapping[str, object]) -> str:
    """Write parameters, those that are None or empty left out; begins with a question mark unless empty.

    Examples
    --------
    >>> query({"from": "2013-01-01", "column": None, "segment": "carrier=UA"}), query({})
    ('?from=2013-01-01&segment=carrier%3DUA', '')
    """
    given = {name: value for name, value in values.items() if value not in (None, "")}
    return f"?{urlencode(given)}" if given else ""
