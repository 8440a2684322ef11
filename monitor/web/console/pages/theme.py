"""Colours of the console: as the system has it, light or dark, remembered by the browser."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from monitor.web.console.forms import Posted, back, is_safe
from monitor.web.console.shell import THEME_COOKIE, THEMES, Shell
from monitor.web.problems import Mistake, Refused

YEAR_S = 31_536_000


def routes(_shell: Shell) -> APIRouter:
    """Build the routes."""
    router = APIRouter()

    @router.post("/theme")
    def theme(request: Request, posted: Posted) -> Response:
        wanted = posted.get("theme", "")
        if wanted not in THEMES:
            mistake = Mistake(where="form.theme", what="is not known", allowed=f"(use {', '.join(THEMES)})")
            raise Refused(422, "form.theme: is not known", [mistake])
        response = back(posted)
        response.set_cookie(
            THEME_COOKIE, wanted, YEAR_S, secure=is_safe(request), httponly=True, samesite="lax"
        )
        return response

    return router
