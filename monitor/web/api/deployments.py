"""``/deployments``: which version of a model came when; also told by MLflow's webhooks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import AfterValidator, BaseModel, Field

from monitor.config.problem import show
from monitor.retraining.deployments import Deployment, note
from monitor.retraining.mlflow import MlflowHook
from monitor.store import deployments as stored
from monitor.store.engine import immediate, reading
from monitor.store.queries import deployments as queries
from monitor.web.context import Context
from monitor.web.description import also
from monitor.web.documents import InstantText, Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked, Instant, NoParameters, Paged, QueryText, Text
from monitor.web.problems import Refused
from monitor.web.sign_in.acting import name_or
from schemas.errors import UsageError

Name = Annotated[Text, Field(min_length=1, max_length=256)]
LARGEST_BYTES = 256 * 1024


_TOLD = {
    "entity": "model_version_alias",
    "action": "created",
    "data": {"name": "flight-delay", "version": "4", "alias": "champion"},
}


class DeploymentDocument(BaseModel):
    """One version of a model that went into use."""

    id: str
    model: str
    version: str
    at: InstantText | None
    source: str = Field(description="`api`, `mlflow`, or `seen`: its events came.")
    actor: str
    comment: str


class DeploymentsAsked(Paged):
    """Parameters of the list of deployments."""

    model: QueryText | None = Field(None, description="Only deployments of this model.")


class DeploymentAsked(Asked):
    """A deployment to be noted."""

    model: Name
    version: Name
    at_ms: Instant | None = Field(None, alias="at", description="When; default: now.")
    id: Text = Field("", max_length=64, description="Identity, so that a repetition changes nothing.")
    actor: Annotated[Text, AfterValidator(name_or)] = Field("", max_length=200, validate_default=True)
    comment: Text = Field("", max_length=1_000)


class Taken(BaseModel):
    """What was made of a webhook."""

    deployment: str | None = Field(description="Id of the deployment; null: the event is of no concern.")


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["deployments"])
    hook = MlflowHook(context.configuration.http.mlflow, context.clock.now_ms)

    @router.get("/deployments", summary="Deployments, newest first")
    def list_deployments(asked: Annotated[DeploymentsAsked, Query()]) -> Page[DeploymentDocument]:
        """Those that were told of, and new versions whose events were seen."""
        after = read_cursor(asked.cursor, "deployments", int, str)
        with reading(context.engine) as connection:
            found = queries.deployments(connection, asked.model, after, asked.limit + 1)
        rows, last = cut(found, asked.limit)
        cursor = write_cursor("deployments", last.at_ms, last.id) if last is not None else None
        return Page(items=[_document(row) for row in rows], next_cursor=cursor)

    @router.post(
        "/deployments", summary="Say that a version went into use", status_code=201, responses=also(409)
    )
    def add_deployment(
        asked: Annotated[NoParameters, Query()], wanted: Annotated[DeploymentAsked, Body()]
    ) -> DeploymentDocument:
        """Silences the model for a while if so configured; a retraining is watched from here on."""
        now_ms = context.clock.now_ms()
        at_ms = now_ms if wanted.at_ms is None else wanted.at_ms
        told = (wanted.actor, wanted.comment, wanted.id)
        return _noted(context, Deployment(wanted.model, wanted.version, at_ms, "api", *told))

    @router.post(
        "/hooks/mlflow",
        summary="Webhook of MLflow's model registry",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}, "example": _TOLD}},
            }
        },
    )
    async def take_mlflow_webhook(request: Request, asked: Annotated[NoParameters, Query()]) -> Taken:
        """A signed `model_version_alias.created` of the configured alias is a deployment."""
        context.guesses.check(request.state.address)
        body = await _body_of(request)
        try:
            found = hook.read(dict(request.headers), body)
        except UsageError as error:
            context.guesses.wrong(request.state.address)
            raise Refused(401, str(error)) from error
        if found is None:
            return Taken(deployment=None)
        noted = await run_in_threadpool(_noted, context, found)  # may wait for another writer
        return Taken(deployment=noted.id)

    return router


async def _body_of(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST_BYTES:
            msg = f"the body is larger than {LARGEST_BYTES} bytes"
            raise Refused(413, msg)
        parts.append(part)
    return b"".join(parts)


def _noted(context: Context, one: Deployment) -> DeploymentDocument:
    with immediate(context.engine) as connection:
        id_ = note(connection, context.configuration, one, context.clock.now_ms())
        row = stored.get(connection, id_)
    if (row.model, row.version) != (one.model, one.version):
        known = f"{show(id_)} is the id of version {show(row.version)} of model {show(row.model)}"
        raise Refused(409, f"{known} (give each deployment an id of its own)")
    return _document(row)


def _document(row: Any) -> DeploymentDocument:
    same = ("id", "model", "version", "source", "actor", "comment")
    return DeploymentDocument(**{name: getattr(row, name) for name in same}, at=instant(row.at_ms))
