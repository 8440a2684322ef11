"""``/retraining``: which runs incidents have asked for, what became of them, and what people decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field

from alerting.retraining.guards import Standing
from alerting.retraining.run import RunState
from monitor.incidents.actions import NoIncident
from monitor.retraining.decisions import Decisions, NoRequest
from monitor.retraining.proposals import request_id
from monitor.store import retraining as stored
from monitor.store.engine import reading
from monitor.web.api.alerts import Decision
from monitor.web.context import Context
from monitor.web.description import also
from monitor.web.documents import InstantText, Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked, NoParameters, Paged, PathText, QueryText, Text
from monitor.web.problems import Refused, not_found
from schemas.errors import UsageError

RequestState = Literal[
    "refused", "proposed", "due", "started", "succeeded", "failed", "cancelled", "lost", "rejected", "dry_run"
]
Name = Annotated[Text, Field(min_length=1, max_length=256)]


class RetrainingDocument(BaseModel):
    """One request for training."""

    id: str
    incident_id: str
    receiver: str
    model: str
    version: str
    state: str = Field(
        description="`refused` by a guard, `proposed` (waits for a person), `due`, `started`, `succeeded`, "
        "`failed`, `cancelled`, `lost` (the target cannot tell), `rejected`, or `dry_run`."
    )
    reason: str = Field(description="Why it stands there.")
    trigger: str = Field(description="`incident` or `person`.")
    actor: str = Field(description="Who decided last; empty: nobody.")
    run_id: str | None
    run_url: str | None
    created_at: InstantText | None
    started_at: InstantText | None
    finished_at: InstantText | None
    attempts: int
    last_error: str | None
    request: dict[str, Any] = Field(description="What the target is told.")
    outcome: dict[str, Any] | None = Field(description="Whether the version that came of it does better.")


class RetrainingAsked(Paged):
    """Parameters of the list of requests."""

    state: RequestState | None = Field(None, description="Only requests in this state.")
    incident: QueryText | None = Field(None, description="Only requests of this incident.")
    model: QueryText | None = Field(None, description="Only requests of this model.")


class RunAsked(Decision):
    """A run that a person asks for."""

    incident: Name = Field(description="Incident that it is for.")
    receiver: Name = Field(description="Receiver that starts training.")
    model: Name = Field(description="Model to train, one of the incident.")


class Report(Asked):
    """What a pipeline says of its own run."""

    state: RunState
    url: Text = Field("", max_length=2_048)
    detail: Text = Field("", max_length=300)


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["retraining"])
    decisions = Decisions(context.configuration, context.engine, context.clock, context.telemetry)
    _add_reading(router, context)
    _add_asking(router, context, decisions)
    _add_deciding(router, context, decisions)
    return router


def _add_reading(router: APIRouter, context: Context) -> None:
    @router.get("/retraining", summary="Requests for training, newest first")
    def list_training_requests(asked: Annotated[RetrainingAsked, Query()]) -> Page[RetrainingDocument]:
        """Also those that a guard refused: `reason` says which."""
        after = read_cursor(asked.cursor, "retraining", int, str)
        with reading(context.engine) as connection:
            found = stored.runs(connection, asked.state, asked.incident, asked.model, after, asked.limit + 1)
        rows, last = cut(found, asked.limit)
        cursor = write_cursor("retraining", last.created_at_ms, last.id) if last is not None else None
        return Page(items=[_document(row) for row in rows], next_cursor=cursor)

    @router.get("/retraining/{id}", summary="One request for training")
    def get_training_request(id: PathText, asked: Annotated[NoParameters, Query()]) -> RetrainingDocument:
        """What was asked for, and what became of it."""
        return _one(context, id)


def _add_asking(router: APIRouter, context: Context, decisions: Decisions) -> None:
    @router.post("/retraining", summary="Ask for a run", status_code=201, responses=also(404, 409))
    def ask_for_training(
        asked: Annotated[NoParameters, Query()], wanted: Annotated[RunAsked, Body()]
    ) -> RetrainingDocument:
        """Whatever the evidence; labels, cooldown, budget and one run at a time hold all the same."""
        where = wanted.incident, wanted.receiver, wanted.model

        def ask() -> str:
            ruling = decisions.ask(*where, wanted.actor, wanted.cause)
            if ruling.standing is Standing.REFUSED:
                raise Refused(409, ruling.reason)
            return ruling.reason

        _decided(ask, wanted.incident)
        return _one(context, request_id(*where))

    @router.post("/retraining/{id}/report", summary="Say how a run stands", responses=also(409))
    def report_training(
        id: PathText, asked: Annotated[NoParameters, Query()], said: Annotated[Report, Body()]
    ) -> RetrainingDocument:
        """For pipelines that their target cannot tell of; `id` is part of what they were sent."""
        _decided(lambda: decisions.report(id, said.state, said.url, said.detail), id)
        return _one(context, id)


def _add_deciding(router: APIRouter, context: Context, decisions: Decisions) -> None:
    @router.post("/retraining/{id}/approve", summary="Let a proposed run be started", responses=also(409))
    def approve_training(
        id: PathText,
        asked: Annotated[NoParameters, Query()],
        decision: Annotated[Decision | None, Body()] = None,
    ) -> RetrainingDocument:
        """Only while it is `proposed`; others answer 409."""
        return _after(context, id, decisions.approve, decision)

    @router.post("/retraining/{id}/reject", summary="Let a run not be started", responses=also(409))
    def reject_training(
        id: PathText,
        asked: Annotated[NoParameters, Query()],
        decision: Annotated[Decision | None, Body()] = None,
    ) -> RetrainingDocument:
        """Only before it was started; others answer 409."""
        return _after(context, id, decisions.reject, decision)

    @router.post("/retraining/{id}/retry", summary="Start a run again", responses=also(409))
    def retry_training(
        id: PathText,
        asked: Annotated[NoParameters, Query()],
        decision: Annotated[Decision | None, Body()] = None,
    ) -> RetrainingDocument:
        """One that failed, was cancelled, lost or rejected; others answer 409."""
        return _after(context, id, decisions.retry, decision)


def _after(
    context: Context, id_: str, act: Callable[[str, str, str], str], decision: Decision | None
) -> RetrainingDocument:
    one = decision or Decision()
    _decided(lambda: act(id_, one.actor, one.cause), id_)
    return _one(context, id_)


def _decided(act: Callable[[], str], id_: str) -> None:
    try:
        act()
    except NoRequest as error:
        raise not_found(id_, "request for training", "path.id") from error
    except NoIncident as error:
        raise Refused(404, str(error)) from error
    except UsageError as error:
        raise Refused(409, str(error)) from error


def _one(context: Context, id_: str) -> RetrainingDocument:
    with reading(context.engine) as connection:
        row = stored.get(connection, id_)
    if row is None:
        raise not_found(id_, "request for training", "path.id")
    return _document(row)


def _document(row: Any) -> RetrainingDocument:
    same = (
        "id", "incident_id", "receiver", "model", "version", "state", "reason", "trigger", "actor", "run_id",
        "run_url", "attempts", "last_error",
    )  # fmt: skip
    return RetrainingDocument(
        **{name: getattr(row, name) for name in same},
        created_at=instant(row.created_at_ms),
        started_at=instant(row.started_at_ms),
        finished_at=instant(row.finished_at_ms),
        request=json.loads(row.request)["request"],
        outcome=None if row.outcome is None else json.loads(row.outcome),
    )
