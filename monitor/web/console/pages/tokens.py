"""API tokens: which there are, making one, revoking one; and which browsers are signed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from monitor.config.problem import choices, show
from monitor.config.sign_in import ROLES, OidcSignIn, RoleName
from monitor.incidents.actions import AGAIN_MS
from monitor.store import api_tokens, sessions
from monitor.store.engine import immediate, reading
from monitor.web.console.forms import Posted, back
from monitor.web.console.shell import Shell
from monitor.web.context import Context
from monitor.web.parameters import NoParameters, RowId
from monitor.web.problems import Mistake, Refused
from monitor.web.sign_in.acting import note, user_of
from monitor.web.sign_in.audit import LOCAL
from monitor.web.sign_in.tokens import create, lifetime_ms
from schemas.errors import UsageError

HERE = "/configuration"
PAGE = "/configuration/tokens"
LIFETIMES = ("30d", "90d", "365d", "never")


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context

    @router.get(PAGE)
    def tokens(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        return _page(shell, request)

    @router.post(PAGE)
    def make(request: Request, posted: Posted) -> Response:
        role, now_ms = _role(posted), context.clock.now_ms()
        try:
            note(f"make token {posted.get('name', '')} as {role} for {posted.get('lifetime', '')}")
            lives_ms = lifetime_ms(posted.get("lifetime", ""))
            ends_ms = None if lives_ms is None else now_ms + lives_ms
            _, token = create(context.engine, posted.get("name", ""), role, ends_ms, _who(request), now_ms)
        except (UsageError, ValueError) as error:
            what = f"{error}{_shown_before(context, request, posted)}"
            raise Refused(422, what, [Mistake(where="form", what=what)]) from error
        return shell.page(
            request, "token_made.html", HERE, name=posted["name"].strip(), token=token, role=role
        )

    @router.post(PAGE + "/{id:int}/revoke")
    def revoke(request: Request, id: RowId, posted: Posted) -> Response:
        with immediate(context.engine) as connection:
            note(f"revoke token {api_tokens.name_of(connection, id) or ''}")
            api_tokens.revoke(connection, id, _who(request), context.clock.now_ms())
        return back(posted, PAGE)

    @router.post("/configuration/tokens/sessions/{id}/end")
    def end_session(id: str, posted: Posted) -> Response:
        with immediate(context.engine) as connection:
            note(f"sign out {sessions.name_of(connection, id) or 'nobody'}")
            sessions.end(connection, id)
        return back(posted, PAGE)

    return router


def _shown_before(context: Context, request: Request, posted: Mapping[str, str]) -> str:
    """Say what a button that was pressed twice has done: the first answer had the token."""
    name, since_ms = posted.get("name", "").strip(), context.clock.now_ms() - AGAIN_MS
    if not name.isprintable():
        return ""
    with reading(context.engine) as connection:
        is_own = api_tokens.was_just_made(connection, name, _who(request), since_ms)
    return "; you made it a moment ago: if you did not see it, revoke it and make another" if is_own else ""


def _page(shell: Shell, request: Request) -> Response:
    context, now_ms = shell.context, shell.context.clock.now_ms()
    with reading(context.engine) as connection:
        found = api_tokens.listed(connection)
        browsers = sessions.listed(connection, now_ms, _idle_ms(context))
    rows = [(row, _state(row, now_ms)) for row in found]
    values: dict[str, Any] = {"rows": rows, "browsers": browsers, "roles": ROLES, "lifetimes": LIFETIMES}
    return shell.page(request, "tokens.html", HERE, **values)


def _idle_ms(context: Context) -> int:
    options = context.configuration.http.sign_in
    return options.idle_ms if isinstance(options, OidcSignIn) else 0


def _state(row: object, now_ms: int) -> str:
    revoked_ms, ends_ms = getattr(row, "revoked_at_ms", None), getattr(row, "expires_at_ms", None)
    if revoked_ms is not None:
        return "revoked"
    return "expired" if ends_ms is not None and ends_ms <= now_ms else "valid"


def _role(posted: Mapping[str, str]) -> RoleName:
    for role in ROLES:
        if posted.get("role") == role:
            return role  # type: ignore[return-value]  # one of ROLES
    what = f"{show(posted.get('role', ''))} is no role"
    raise Refused(422, what, [Mistake(where="form.role", what=what, allowed=choices(ROLES))])


def _who(request: Request) -> str:
    user = user_of(request)
    return LOCAL if user is None else user.name
