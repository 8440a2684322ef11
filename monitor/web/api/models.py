"""``/models``: what is watched, how fresh it is and how much of it there is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from monitor.store.engine import reading
from monitor.store.queries.models import ModelRow, VersionRow, models
from monitor.store.queries.performance import latest_values
from monitor.store.queries.times import watermarks
from monitor.web.context import Context
from monitor.web.documents import InstantText, Number, Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Paged

MOST_VERSIONS = 2_000  # whose performance a page shows


class ReferenceState(BaseModel):
    """Reference of a model version."""

    status: Literal["learning", "ready"] = Field(description="`learning`: there is no reference yet.")
    hash: str | None = Field(description="SHA-256 of the reference in force.")
    since: InstantText | None = Field(description="First slice that is judged against it.")


class VersionPerformance(BaseModel):
    """How good a version was in its latest windows, by the configured metric, or by accuracy or MAE."""

    metric: str
    realised: Number = Field(description="Of the latest window whose labels have been waited for.")
    realised_window: InstantText | None = Field(description="Start of that window.")
    coverage: Number = Field(description="Share of its predictions that have a label.")
    estimated: Number = Field(description="Of the latest complete window, without labels.")
    estimated_window: InstantText | None


class Version(BaseModel):
    """One version of a model."""

    version: str
    role: str = Field(description="`champion`, `challenger` or `shadow`.")
    first_seen: InstantText | None = Field(description="Start of its first slice, in event time.")
    registered_at: InstantText | None = Field(description="When its first event was stored.")
    last_slice: InstantText | None = Field(description="Start of its newest slice.")
    rows: int = Field(description="Events in stored slices.")
    reference: ReferenceState
    performance: VersionPerformance | None = Field(description="Null: no labels so far.")
    windows_judged: int = Field(description="Windows that have been judged, each once.")


class Model(BaseModel):
    """One model with its versions."""

    model: str
    versions: list[Version] = Field(description="By their first slice.")
    first_seen: InstantText | None = Field(description="Start of the first slice of any version.")
    last_event: InstantText | None = Field(description="Newest event time.")
    watermark: InstantText | None = Field(
        description="Event time before which no more events are waited for."
    )
    rows: int = Field(description="Events in stored slices, all versions.")
    windows_judged: int
    open_alerts: int = Field(description="Alerts that are firing or acknowledged.")


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["models"])

    @router.get("/models", summary="Models by name")
    def list_models(asked: Annotated[Paged, Query()]) -> Page[Model]:
        """Every model that has been seen on a stream."""
        after = read_cursor(asked.cursor, "models", str)
        with reading(context.engine) as connection:
            return page_of_models(context, connection, None if after is None else after[0], asked.limit)

    return router


def page_of_models(context: Context, connection: Connection, after: str | None, limit: int) -> Page[Model]:
    """Read one page of models; also what the start page shows."""
    rows, last = cut(models(connection, after, limit + 1), limit)
    marks = watermarks(connection, context.configuration, context.clock.now_ms(), [row.model for row in rows])
    known = _performance(context, connection, [row.model for row in rows])
    items = [_model(row, marks.get(row.model), known) for row in rows]
    return Page(items=items, next_cursor=write_cursor("models", last.model) if last else None)


def _performance(
    context: Context, connection: Connection, models: list[str]
) -> dict[tuple[str, str], VersionPerformance]:
    """Latest performance of each version of some models that has any."""
    settings_of = context.configuration.for_model
    rows = latest_values(connection, lambda name: str(settings_of(name).windows[0]), MOST_VERSIONS, models)
    by_version: dict[tuple[str, str], dict[tuple[str, str], Any]] = {}
    for row in rows:
        by_version.setdefault((row.model, row.version), {})[row.metric, row.kind] = row
    found = {}
    for (model, version), values in by_version.items():
        options = settings_of(model).performance
        wanted = [] if options is None else [options.metric]
        metric = next((m for m in (*wanted, "accuracy", "mae") if (m, "realised") in values), None)
        metric = metric or next((m for m in (*wanted, "accuracy", "mae") if (m, "estimated") in values), None)
        if metric is None:
            continue
        real, guess = values.get((metric, "realised")), values.get((metric, "estimated"))
        found[model, version] = VersionPerformance(
            metric=metric,
            realised=None if real is None else real.value,
            realised_window=None if real is None else instant(real.start_ms),
            coverage=None if real is None else real.coverage,
            estimated=None if guess is None else guess.value,
            estimated_window=None if guess is None else instant(guess.start_ms),
        )
    return found


def _model(
    row: ModelRow, watermark_ms: int | None, known: dict[tuple[str, str], VersionPerformance]
) -> Model:
    versions = row.versions
    return Model(
        model=row.model,
        versions=[_version(version, known.get((row.model, version.version))) for version in versions],
        first_seen=instant(min((version.first_slice_ms for version in versions), default=None)),
        last_event=instant(row.last_event_ms),
        watermark=instant(watermark_ms),
        rows=sum(version.rows for version in versions),
        windows_judged=sum(version.windows_judged for version in versions),
        open_alerts=row.open_alerts,
    )


def _version(row: VersionRow, performance: VersionPerformance | None) -> Version:
    return Version(
        version=row.version,
        role=row.role,
        first_seen=instant(row.first_slice_ms),
        registered_at=instant(row.created_at_ms),
        last_slice=instant(row.last_slice_ms),
        rows=row.rows,
        reference=ReferenceState(
            status="learning" if row.reference_hash is None else "ready",
            hash=row.reference_hash,
            since=instant(row.reference_from_ms),
        ),
        performance=performance,
        windows_judged=row.windows_judged,
    )
