"""Errors as RFC 9457 problem documents: what is wrong, where, and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from monitor.config.problem import choices, nearest, show
from monitor.web.parameters import names_of
from schemas.errors import Unavailable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5
MOST_CHOICES = 20
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Mistake(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="Part of the request: `query.from`, `path.model`, `body.actor`.")
    what: str = Field(description="What is wrong.")
    allowed: str | None = Field(None, description="What is allowed there.")


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    type: str = Field("about:blank", description="Always `about:blank`: the status says what kind it is.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What is wrong with this request.")
    errors: list[Mistake] = Field(default=[], description="Each thing that is wrong.")


class Refused(Exception):  # noqa: N818 - reads as what happened
    """A request that is answered with a problem document.

    Parameters
    ----------
    status : int
    detail : str
    errors : iterable of Mistake
    headers : mapping, optional
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Iterable[Mistake] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.errors, self.headers = list(errors), dict(headers or {})


def not_found(name: str, what: str, where: str, known: Iterable[str] = ()) -> Refused:
    """Say that something does not exist, with the nearest name and some that do."""
    names = list(known)
    hint = nearest(name, names)
    detail = f"there is no {what} {show(name)}{f'; did you mean {hint}?' if hint else ''}"
    allowed = _listed(names) if names else None
    return Refused(404, detail, [Mistake(where=where, what=detail, allowed=allowed)])


def _listed(names: list[str]) -> str:
    more = [f"… {len(names) - MOST_CHOICES} more"] if len(names) > MOST_CHOICES else []
    return choices([*names[:MOST_CHOICES], *more])


def answer(
    status: int, detail: str, errors: Iterable[Mistake] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Write a problem document."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=list(errors))
    content = problem.model_dump(exclude_none=True)
    return JSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


PageOf = Callable[[Request, JSONResponse], Response]
"""Writes a problem document as a page for a person."""


def install(app: FastAPI, page: PageOf | None = None) -> None:
    """Let errors become problem documents; `monitor.web.guard` sees to unforeseen ones.

    Parameters
    ----------
    app : FastAPI
    page : callable, optional
        Makes pages of them for browsers, where no part of the API was asked.
    """
    handlers = ((Refused, _refused), (RequestValidationError, _invalid), (HTTPException, _http))
    for kind, handler in (*handlers, (Unavailable, _unavailable)):
        app.add_exception_handler(kind, handler if page is None else partial(_for_readers, handler, page))


def _for_readers(
    handler: Callable[[Request, Exception], JSONResponse], page: PageOf, request: Request, error: Exception
) -> Response:
    made = handler(request, error)
    is_browser = "text/html" in request.headers.get("accept", "")
    return page(request, made) if is_browser and not request.url.path.startswith(("/api/", "/v1/")) else made


def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refused)  # noqa: S101 - the type that it is registered for
    return answer(error.status, error.detail, error.errors, error.headers)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"there is nothing at {show(request.url.path)} (see /api/v1/openapi.json)"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_methods_at(request))
        detail = f"{request.method} does not work here (use {allowed})"
        return answer(error.status_code, detail, headers={"Allow": allowed})
    elif error.status_code == HTTPStatus.BAD_REQUEST:  # what FastAPI says of bodies that are no text at all
        detail = "the body is not JSON in UTF-8, or nested too deeply"
        return answer(error.status_code, detail, [Mistake(where="body", what=detail)])
    return answer(error.status_code, detail, headers=error.headers)


def _methods_at(request: Request) -> list[str]:
    """Methods that an address knows: there may be a route for each, and only one of them was found."""
    routes = request.app.router.routes
    return [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    return answer(503, str(error), headers={"Retry-After": str(RETRY_AFTER_S)})


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    known = names_of(request)
    mistakes = [_mistake(entry, known) for entry in error.errors()]
    detail = "; ".join(f"{mistake.where}: {mistake.what}" for mistake in mistakes[:3])
    return answer(422, detail, mistakes)


def _mistake(entry: Mapping[str, Any], known: list[str]) -> Mistake:
    place = [str(part) for part in entry["loc"]]
    where = ".".join(show(part)[1:-1] for part in place)
    kind, context = entry["type"], entry.get("ctx", {})
    if kind == "extra_forbidden" and place[0] == "query":
        hint = nearest(place[-1], known)
        what = f"unknown parameter{f'; did you mean {hint}?' if hint else ''}"
        return Mistake(where=where, what=what, allowed=choices(known) if known else "no parameters")
    if kind == "literal_error":
        return Mistake(where=where, what=f"{show(entry['input'])} is not known", allowed=context["expected"])
    message = str(context["error"]) if "error" in context else str(entry["msg"])
    return Mistake(where=where, what=message[:1].lower() + message[1:])
