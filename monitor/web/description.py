"""The OpenAPI document: names, groups, every answer that an operation can give, and who may ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from monitor.config.sign_in import OidcSignIn
from monitor.web.context import Context
from monitor.web.problems import MEDIA_TYPE, Problem
from monitor.web.sign_in.access import needed

ABOUT = """\
Everything that the console shows, and everything that can be done there.

**Instants** are RFC 3339 with an offset from UTC, dates (00:00 UTC), or epoch milliseconds; answers write
RFC 3339 in UTC. Ranges include `from` and leave out `to`.

**Names** in paths are percent-encoded; a slash is `%2F`. A segment is `name=value`; empty, it means all rows.

**Lists** come in pages of at most `limit` items. `next_cursor` of a page is the `cursor` of the next one,
with the same filters; null: this was the last. Nothing that was there at the first page comes twice or is
left out.

**Errors** are problem documents (RFC 9457): `detail` says what is wrong, `errors` where, and what is allowed
there. Unknown parameters and fields are refused.

**Who may ask**: everybody on this machine where no sign-in is configured; else whoever sends an API token, or
has a session. Reading takes the role viewer, everything else operator.
"""
TAGS = {
    "models": "What is watched, how fresh it is and how much of it there is.",
    "results": "What was said of each judged window, with its provenance.",
    "profile": "Counts, moments, quantiles and bins of any range.",
    "performance": "How good predictions were and are: estimated, realised, version against version.",
    "contracts": "What was agreed on the columns of a model.",
    "alerts": "Findings of one model version and kind; several with one cause are an incident.",
    "incidents": "Alerts with one cause as one thing, and what people decide about it.",
    "silences": "What nobody is told of for a while.",
    "deliveries": "Messages to receivers.",
    "deployments": "Versions that went into use.",
    "budget": "The false-alarm budget.",
    "digest": "What drifted in a week.",
    "accounting": "Where every event that was fetched went.",
    "dead letters": "Messages that could not be taken in.",
    "references": "What model versions are compared with.",
    "retraining": "Requests for training, and what became of them.",
    "events": "Events that come by HTTP instead of Kafka.",
    "service": "Health and metrics of the process.",
}

RETRY_AFTER = {
    "Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
}
CHALLENGE = {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}}
ANSWERS: dict[int, tuple[str, dict[str, Any]]] = {
    400: ("The body is not JSON in UTF-8, or not what its encoding says.", {}),
    401: ("Sign in, or send a token that is valid.", CHALLENGE),
    403: ("The role is not enough, or a web page from elsewhere tried to change something.", {}),
    404: ("There is no such thing.", {}),
    409: ("It is not in a state in which this can be done.", {}),
    411: ("The size of the body has to be given.", {}),
    413: ("The body is too large.", {}),
    414: ("The address is too long.", {}),
    415: ("The encoding of the body is not known.", {}),
    421: ("The service was asked for by a name that it does not go by.", {}),
    422: ("The request cannot be meant.", {}),
    429: ("Too many requests, or too many wrong tokens from this address.", RETRY_AFTER),
    431: ("The header is too large.", {}),
    500: ("A fault of Driftline; its log says more.", {}),
    503: ("The database is away, or too much is going on; try again.", RETRY_AFTER),
}
IN_PATHS = {
    "model": "Name of the model.",
    "version": "Version of the model.",
    "id": "Identity, as lists and answers have it.",
    "hash": "SHA-256 of the reference, as lists have it.",
}
ALWAYS = (401, 403, 414, 421, 422, 429, 431, 500, 503)
WITH_BODY = (400, 411, 413)
TOKEN, SESSION, EVENTS_TOKEN, SIGNATURE = "token", "session", "eventsToken", "mlflowSignature"


def also(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems that a route can answer with beside those of all routes, for ``responses=``."""
    return {status: _problem(status) for status in statuses}


def problems_of(method: str, path: str) -> tuple[int, ...]:
    """Problems that every route of a method and path can answer with.

    Examples
    --------
    >>> problems_of("GET", "/alerts")
    (401, 403, 414, 421, 422, 429, 431, 500, 503)
    >>> problems_of("POST", "/alerts/{id}/resolve")
    (400, 401, 403, 404, 411, 413, 414, 421, 422, 429, 431, 500, 503)
    """
    more = (404,) if "{" in path else ()
    return tuple(sorted({*ALWAYS, *more, *(() if method == "GET" else WITH_BODY)}))


def operation_id(route: APIRoute) -> str:
    """Name an operation as its function, so that generated clients have short names."""
    return route.name


def describe(app: FastAPI, context: Context) -> None:
    """Let an application describe itself.

    Parameters
    ----------
    app : FastAPI
        With all its routes.
    context : Context
        Whether people have to sign in is part of the description.
    """
    generate = app.openapi
    app.description = ABOUT
    made: dict[str, Any] = {}

    def described() -> dict[str, Any]:
        if not made:
            made.update(generate())
            _complete(made, context)
        return made

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI's documentation says to


def _complete(document: dict[str, Any], context: Context) -> None:
    used = {tag for _, _, operation in _operations(document) for tag in operation.get("tags", ())}
    document["tags"] = [{"name": name, "description": about} for name, about in TAGS.items() if name in used]
    document["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.setdefault("Problem", _schema_of(Problem, schemas))
    document["components"]["securitySchemes"] = _schemes(context)
    for path, method, operation in _operations(document):
        operation["security"] = _security(context, method.upper(), path)
        for parameter in operation.get("parameters", ()):
            _without_null(parameter)
            if parameter["in"] == "path":
                parameter.setdefault("description", IN_PATHS[parameter["name"]])
        if not path.startswith("/api/"):
            continue
        responses = operation["responses"]
        for status in problems_of(method.upper(), path):
            responses.setdefault(str(status), _problem(status))
        operation["responses"] = dict(sorted(responses.items()))


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _problem(status: int) -> dict[str, Any]:
    about, headers = ANSWERS[status]
    found: dict[str, Any] = {
        "description": about,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    return found | ({"headers": headers} if headers else {})


def _schema_of(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    made = model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    for name, part in made.pop("$defs", {}).items():
        schemas.setdefault(name, part)
    return made


def _without_null(parameter: dict[str, Any]) -> None:
    """A parameter is there or not; null cannot be written in a query."""
    schema = parameter["schema"]
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        del schema["anyOf"]
        parameter["schema"] = {**choices[0], **schema}
    elif choices:
        schema["anyOf"] = choices


def _schemes(context: Context) -> dict[str, Any]:
    http = context.configuration.http
    found: dict[str, Any] = {
        TOKEN: {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token, `dl_…`, of `/configuration/tokens` or `driftline token create`.",
        },
        EVENTS_TOKEN: {
            "type": "http",
            "scheme": "bearer",
            "description": "The token of `http.events` in the configuration, for senders of events alone.",
        },
        SIGNATURE: {
            "type": "apiKey",
            "in": "header",
            "name": "X-MLflow-Signature",
            "description": "MLflow's HMAC of the body, with the secret of `http.mlflow`.",
        },
    }
    if isinstance(http.sign_in, OidcSignIn):
        is_safe = (http.public_url or "").startswith("https:")
        found[SESSION] = {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-driftline_session" if is_safe else "driftline_session",
            "description": "Set by signing in at `/sign-in`.",
        }
    return found


def _security(context: Context, method: str, path: str) -> list[dict[str, list[str]]]:
    """Say what a request has to bring; an empty object: nothing."""
    http = context.configuration.http
    access = needed(method, path, metrics_need_token=http.metrics_need_token)
    nobody_signs_in = http.sign_in is None and not http.allow_anonymous
    if access == "own":
        if path.endswith("/events"):
            is_asked = http.events is not None and http.events.token_at is not None
            return [{EVENTS_TOKEN: []}] if is_asked else [{}, {EVENTS_TOKEN: []}]
        return [{SIGNATURE: []}]
    if access == "open":
        return [{}]
    if nobody_signs_in or (http.allow_anonymous and http.sign_in is None and method == "GET"):
        return [{}, {TOKEN: []}]
    has_sessions = isinstance(http.sign_in, OidcSignIn)
    return [{TOKEN: []}, {SESSION: []}] if has_sessions else [{TOKEN: []}]
