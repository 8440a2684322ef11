"""Pipeline health: how far each partition is read, what waits, and what a person should look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from monitor.store.engine import reading
from monitor.store.queries.pipeline import (
    Owned,
    backlog,
    owned_partitions,
    waiting_halves,
    waiting_messages,
)
from monitor.store.queries.times import FRESH_MS, watermarks
from monitor.web.api.accounting import Partition, PartitionsAsked, page_of_partitions
from monitor.web.charting.forms import Form, given
from monitor.web.console.pipeline.process_metrics import commits, lags
from monitor.web.console.pipeline.standing import StandingNow
from monitor.web.console.pipeline.stopped import stopped_of
from monitor.web.console.shell import Shell
from monitor.web.parameters import NoParameters

HERE = "/events"
LISTED = 200
LISTED_MODELS = 50


@dataclass(frozen=True)
class Row:
    """One partition: what was counted of it, and the lag that this process knows."""

    counted: Partition
    owned: Owned
    lag: int | None


def rows(
    counted: Sequence[Partition], owned: Sequence[Owned], lag: Mapping[tuple[str, int], int]
) -> list[Row]:
    """Put together what is known of each partition."""
    by_place = {(one.topic, one.partition): one for one in owned}
    return [
        Row(one, mine, lag.get((one.topic, one.partition)))
        for one in counted
        if (mine := by_place.get((one.topic, one.partition))) is not None
    ]


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context
    standing = StandingNow(context)

    @router.get("/events/pipeline")
    def pipeline(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        now_ms = context.clock.now_ms()
        counted = page_of_partitions(context, PartitionsAsked(limit=LISTED))
        with reading(context.engine) as connection:
            owned = owned_partitions(connection)
            dirty = backlog(connection, LISTED_MODELS)
            marks = watermarks(connection, context.configuration, now_ms, [one.model for one in dirty])
            messages, halves = waiting_messages(connection), waiting_halves(connection)
        return shell.page(
            request,
            "pipeline.html",
            HERE,
            standing=standing.get(),
            stopped=stopped_of(counted.items),
            rows=rows(counted.items, owned, lags(context.telemetry)),
            is_cut=counted.next_cursor is not None,
            fresh_ms=FRESH_MS,
            dirty=[(one, marks.get(one.model)) for one in dirty],
            messages=messages,
            halves=halves,
            commits=commits(context.telemetry),
        )

    @router.get("/events/pipeline/charts/commits.{form}")
    def chart(form: Form, _asked: Annotated[NoParameters, Query()]) -> Response:
        return given(commits(context.telemetry).chart(), form)

    return router
