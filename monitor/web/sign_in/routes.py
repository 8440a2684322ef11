"""``/sign-in`` and ``/sign-out``: to the provider and back, and out again."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import Field

from monitor.config.sign_in import OidcSignIn
from monitor.web.console.forms import Posted, back
from monitor.web.console.shell import Shell
from monitor.web.context import Context
from monitor.web.limits.buckets import Buckets
from monitor.web.limits.sources import source_of
from monitor.web.parameters import Asked
from monitor.web.problems import Refused, answer
from monitor.web.sign_in.acting import user_of
from monitor.web.sign_in.audit import Audit
from monitor.web.sign_in.claims import groups_of, name_of
from monitor.web.sign_in.flow import LIVES_S, Flow
from monitor.web.sign_in.id_token import verify
from monitor.web.sign_in.identify import NO_ROLE
from monitor.web.sign_in.provider import Provider
from monitor.web.sign_in.roles import printable, role_of
from monitor.web.sign_in.sessions import Sessions
from monitor.web.sign_in.user import User

logger = logging.getLogger(__name__)

MOST_TRIES, REFILL_S = 30, 2.0
BEGIN_AGAIN = "this sign-in is not known here, or it is too old; begin again at /sign-in"


class BackAsked(Asked):
    """Parameters of the page."""

    back: str = Field("/", max_length=2_048, description="Page to come back to.")


class SignIn:
    """Leads people to the provider, and takes them in when they come back.

    Parameters
    ----------
    context : Context
    options : OidcSignIn
    sessions : Sessions
    audit : Audit
    """

    def __init__(self, context: Context, options: OidcSignIn, sessions: Sessions, audit: Audit) -> None:
        self._context, self._options, self._sessions, self._audit = context, options, sessions, audit
        self.provider = Provider(options, context.clock)
        self.attempts = Buckets(context.clock, MOST_TRIES, REFILL_S)
        self._cookie = "__Host-driftline_signing_in" if sessions.is_safe else "driftline_signing_in"
        self._redirect_uri = f"{context.configuration.console_url}/sign-in/callback"

    @property
    def host(self) -> str:
        """Where people sign in, in short."""
        return httpx.URL(self._options.issuer).host

    def start(self, back_to: str) -> Response:
        """Lead the browser to the provider."""
        flow = Flow.begin(back_to, self._now_s())
        endpoint = self.provider.metadata()["authorization_endpoint"]
        options = self._options
        to = flow.address(endpoint, options.client_id, self._redirect_uri, options.scopes)
        response = RedirectResponse(to, status_code=303)
        self._sessions.set_cookie(response, self._cookie, flow.kept, LIVES_S)
        return response

    def finish(self, request: Request) -> Response:
        """Take in a browser that the provider has led back; whatever happens, it cannot be done twice.

        Raises
        ------
        Refused
            401 if it is not believed, 403 if the person has no role.
        """
        flow, asked = Flow(request.cookies.get(self._cookie, "")), request.query_params
        if not flow.is_alive(self._now_s()) or not flow.has_state(asked.get("state", "")):
            raise Refused(401, BEGIN_AGAIN)
        self._check_answer(asked)
        user = self._person(flow, asked.get("code", ""))
        address = getattr(request.state, "address", "")
        self._audit.begin(user, "SIGN-IN", "/sign-in", address, 200)
        response = back({"back": flow.back})
        self._sessions.begin(user, request.cookies, response)
        self.forget(response)
        return response

    def forget(self, response: Response) -> None:
        """Let the browser forget a sign-in under way."""
        self._sessions.set_cookie(response, self._cookie, "", 0)

    def _check_answer(self, asked: Any) -> None:
        """Refuse what the provider refused, and answers of other providers (RFC 9207)."""
        issuer, metadata = asked.get("iss"), self.provider.metadata()
        is_needed = metadata.get("authorization_response_iss_parameter_supported") is True
        if issuer != self._options.issuer and (is_needed or issuer is not None):
            raise Refused(401, BEGIN_AGAIN)
        if "error" in asked:
            error = "".join(
                sign for sign in asked["error"][:60] if sign.isascii() and (sign.isalnum() or sign == "_")
            )
            raise Refused(401, f"the provider did not sign you in: {error}")
        if not asked.get("code"):
            raise Refused(401, BEGIN_AGAIN)

    def _person(self, flow: Flow, code: str) -> User:
        options = self._options
        tokens = self.provider.exchange(code, flow.verifier, self._redirect_uri)
        claims = verify(
            tokens["id_token"],
            lambda anew: self.provider.keys(anew=anew),
            issuer=options.issuer,
            client_id=options.client_id,
            nonce=flow.nonce,
            now_s=self._now_s(),
        )
        groups = groups_of(claims, options.roles_claim)
        if (groups is None or options.name_claim not in claims) and isinstance(
            tokens.get("access_token"), str
        ):
            more = self.provider.person(tokens["access_token"])
            if more.get("sub") == claims["sub"]:  # OpenID Connect Core, section 5.3.2
                claims = {**more, **claims}
                groups = groups_of(claims, options.roles_claim)
        name, role = name_of(claims, options.name_claim), role_of(groups or (), options.roles)
        if role is None:
            logger.warning("%s signed in and has no role", name)
            raise Refused(403, NO_ROLE)
        return User(name, role, "session", printable(str(claims["sub"]), 255))

    def _now_s(self) -> int:
        return self._context.clock.now_ms() // 1_000


def routes(sign_in: SignIn, sessions: Sessions, shell: Shell) -> APIRouter:
    """Build the routes."""
    router = APIRouter(include_in_schema=False)

    @router.get("/sign-in")
    def sign_in_page(request: Request, asked: Annotated[BackAsked, Query()]) -> Response:
        return shell.page(request, "sign_in.html", "", host=sign_in.host, wanted=asked.back)

    @router.get("/sign-in/start")
    def start(request: Request, asked: Annotated[BackAsked, Query()]) -> Response:
        _slowed(sign_in.attempts, request)
        return sign_in.start(asked.back)

    @router.get("/sign-in/callback")
    def callback(request: Request) -> Response:
        _slowed(sign_in.attempts, request)
        try:
            return sign_in.finish(request)
        except Refused as error:
            response = shell.problem(request, answer(error.status, error.detail))
            sign_in.forget(response)
            return response

    @router.post("/sign-out")
    def sign_out(request: Request, _posted: Posted) -> Response:
        response = RedirectResponse("/sign-in", status_code=303)
        user = user_of(request)
        if user is not None and user.via == "session":
            sessions.end(user, response)
        return response

    return router


def _slowed(attempts: Buckets, request: Request) -> None:
    source = source_of(getattr(request.state, "address", ""))
    if not attempts.take(source):
        after = {"Retry-After": str(attempts.retry_after_s(source))}
        raise Refused(429, "too many sign-ins from this address; wait a little", headers=after)
