"""``/livez``, ``/readyz`` and ``/metrics``: what every role serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from monitor.store import schema
from monitor.web.metrics import exposition
from schemas.errors import StoreError

Readiness = Callable[[], list[str]]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Whether the service can do its work."""

    status: Literal["ready", "not ready"]
    reasons: list[str] = Field(description="Why not; empty if it is ready.")


def routes(engine: Engine, readiness: Readiness, sources: list[Collector | CollectorRegistry]) -> APIRouter:
    """Build the routes.

    Parameters
    ----------
    engine : Engine
    readiness : callable
        Says why the roles of this process cannot work yet; empty if they can.
    sources : list
        Where metrics come from.
    """
    router = APIRouter(tags=["service"])

    @router.get("/livez", summary="Whether the process answers")
    def livez() -> Alive:
        """Always 200; asks nobody else."""
        return Alive()

    @router.get(
        "/readyz",
        summary="Whether the service can do its work",
        response_model=Ready,
        responses={503: {"model": Ready, "description": "It cannot, and why."}},
    )
    def readyz() -> JSONResponse:
        """Asks the database and every role of this process."""
        reasons = [*_database_reasons(engine), *readiness()]
        ready = Ready(status="not ready" if reasons else "ready", reasons=reasons)
        return JSONResponse(ready.model_dump(), 503 if reasons else 200)

    @router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    def metrics(request: Request) -> Response:
        """Prometheus text, or OpenMetrics for those who accept it."""
        text, media_type = exposition(sources, request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": media_type})

    return router


def _database_reasons(engine: Engine) -> list[str]:
    try:
        schema.require(engine)
    except StoreError as error:
        return [str(error)]
    return []
