"""``/models/{model}/results``: what was said of each judged window, with its provenance."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from monitor.judging.judgements import attribution_in, examples_in
from monitor.store.engine import reading
from monitor.store.queries.models import model_exists
from monitor.store.queries.results import Wanted, results
from monitor.web.context import Context
from monitor.web.documents import InstantText, Number, Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Instant, Paged, PathText, QueryText, SegmentText
from monitor.web.problems import not_found

EFFECTS = (
    "psi", "psi_debiased", "psi_low", "psi_high", "js", "hellinger", "total_variation", "linf", "chi2", "g",
    "cramers_v", "ks", "wasserstein", "wasserstein_error",
)  # fmt: skip


class Moved(BaseModel):
    """One bin and how its share changed."""

    label: str
    reference_share: Number = Field(description="Share of the reference's rows.")
    share: Number = Field(description="Share of the window's rows.")
    psi: Number = Field(description="Its part of the population stability index.")


class Example(BaseModel):
    """One event that broke a rule."""

    event_id: str
    event_time: InstantText | None
    topic: str
    partition: int
    offset: int
    values: dict[str, str | None] = Field(
        description="Values that the rule looked at, as short texts; null: not to be shown (`personal`)."
    )


class Result(BaseModel):
    """What one detector said of one window, column and segment."""

    id: int
    model: str
    version: str
    window: str = Field(description="Shape of the window: `1h`, or `1h/15m`.")
    window_start: InstantText | None
    window_end: InstantText | None
    revision: int = Field(description="1: first judgement; more: judged again after late events.")
    column: str
    segment: str = Field(description="`name=value`; empty: all rows.")
    detector: str
    lane: str
    decision: str = Field(
        description="`ok`, `drift` (an alarm), `ongoing` (not back to normal since), `no_data`."
    )
    n: int = Field(description="Rows of the window.")
    m: int = Field(description="Rows of the reference.")
    statistic: Number = Field(description="What was compared with the threshold.")
    threshold: Number
    threshold_source: str = Field(description="Where the threshold came from.")
    evidence_log: Number = Field(
        description="Natural logarithm of the evidence collected so far; null: the detector has none."
    )
    budget: Number = Field(description="Expected number of false alarms that the stream could cost here.")
    onset_at: InstantText | None = Field(description="When the drift began, where an alarm was raised.")
    effect: dict[str, Number] = Field(description="Effect sizes, see the documentation of each.")
    moved: list[Moved] = Field(description="Bins that moved most.")
    explanation: str
    attribution: dict[str, Any] | None = Field(
        description="Where a change of the mean prediction comes from; on the predictions of all rows."
    )
    examples: list[Example] = Field(description="Events that broke the rule, of results of a contract.")
    reference_hash: str | None
    configuration_hash: str
    code_version: str
    judged_at: InstantText | None


class ResultsAsked(Paged):
    """Parameters of the list of results."""

    from_ms: Instant | None = Field(None, alias="from", description="Windows that start at or after this.")
    to_ms: Instant | None = Field(None, alias="to", description="Windows that start before this.")
    column: QueryText | None = Field(None, description="Only this column.")
    segment: SegmentText | None = Field(None, description="Only this segment, `name=value`; empty: all rows.")
    detector: QueryText | None = Field(None, description="Only this detector.")
    version: QueryText | None = Field(None, description="Only this version.")
    window: QueryText | None = Field(None, description="Only windows of this shape, `1h`.")
    revision: Literal["latest", "all"] = Field(
        "latest", description="`latest`: windows as they were judged last; `all`: every judgement."
    )


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["results"])

    @router.get("/models/{model:path}/results", summary="Results of judged windows, newest first")
    def list_results(model: PathText, asked: Annotated[ResultsAsked, Query()]) -> Page[Result]:
        """What was said of each window, column and segment."""
        after = read_cursor(asked.cursor, "results", int, int)
        filters = asked.model_dump(exclude={"cursor", "limit", "revision"})
        wanted = Wanted(model, **filters, latest_only=asked.revision == "latest")
        with reading(context.engine) as connection:
            if not model_exists(connection, model):
                raise not_found(model, "model", "path.model")
            rows, last = cut(results(connection, wanted, after, asked.limit + 1), asked.limit)
        cursor = write_cursor("results", last.start_ms, last.id) if last else None
        return Page(items=[_result(row) for row in rows], next_cursor=cursor)

    return router


def _result(row: Any) -> Result:
    same = ("id", "model", "version", "window", "revision", "column", "segment", "detector", "lane",
            "decision", "n", "m", "statistic", "threshold", "threshold_source", "evidence_log", "explanation",
            "reference_hash", "configuration_hash", "code_version")  # fmt: skip
    return Result(
        **{name: getattr(row, name) for name in same},
        window_start=instant(row.start_ms),
        window_end=instant(row.end_ms),
        effect={name: getattr(row, name) for name in EFFECTS},
        moved=[Moved(**moved) for moved in json.loads(row.moved)],
        judged_at=instant(row.judged_at_ms),
        budget=row.budget,
        onset_at=instant(row.onset_at_ms),
        attribution=attribution_in(row.attribution),
        examples=[_example(example) for example in examples_in(row.attribution)],
    )


def _example(stored: dict[str, Any]) -> Example:
    at_ms = stored.pop("event_ms")
    return Example(event_time=instant(at_ms), **stored)
