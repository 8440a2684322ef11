"""Segments of a model over time, as a map: where it is worst, since when."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from monitor.store.engine import reading
from monitor.web.charting.forms import given
from monitor.web.console.exact import ExactRoute
from monitor.web.console.feature.subject import Subject, subject_of
from monitor.web.console.segments.grid import DAY_MS, Row
from monitor.web.console.segments.map import MapAsked, SegmentMap, map_chart, map_of
from monitor.web.console.segments.measures import MEASURES, NAMES
from monitor.web.console.shell import Shell, path, query
from monitor.web.documents import instant
from monitor.web.parameters import PathText

HERE = "/"
MOST_ROWS = 40
MOST_LINKED_CELLS = 1_000  # more links are no help to anybody, and as heavy as the rest of the page


class SegmentsAsked(MapAsked):
    """Parameters of the page."""

    page: int = Field(1, ge=1, le=1_000, description="Number of the page, forty segments each.")


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(route_class=ExactRoute), shell.context

    @router.get("/models/{model}/segments")
    def segments(request: Request, model: PathText, asked: Annotated[SegmentsAsked, Query()]) -> Response:
        with reading(context.engine) as connection:
            subject = subject_of(context, connection, model, asked)
            found = map_of(connection, subject, asked)
        first = (asked.page - 1) * MOST_ROWS
        rows = found.rows[first : first + MOST_ROWS]
        shown = _shown(subject, found)
        return shell.page(
            request,
            "segments.html",
            HERE,
            subject=subject,
            map=found,
            rows=rows,
            first=first,
            page=asked.page,
            address=f"/models/{path(model)}/segments",
            shown=shown,
            zooms=_zooms(subject, found),
            drill=Drill(subject, found),
            has_links=len(rows) * found.buckets.number <= MOST_LINKED_CELLS,
            measures=[(name, NAMES[name]) for name in MEASURES],
            is_by_day=found.buckets.length_ms % DAY_MS == 0,
        )

    @router.get("/models/{model}/segments/map.csv")
    def csv(model: PathText, asked: Annotated[MapAsked, Query()]) -> Response:
        with reading(context.engine) as connection:
            subject = subject_of(context, connection, model, asked)
            found = map_of(connection, subject, asked)
        return given(map_chart(subject, found, found.rows), "csv")

    return router


def _shown(subject: Subject, found: SegmentMap) -> dict[str, object]:
    """What is shown, as parameters."""
    chosen = {"by": found.by, "measure": found.measure, "metric": found.metric}
    return {**subject.parameters, **chosen, "column": found.column}


def _zooms(subject: Subject, found: SegmentMap) -> list[str]:
    """Addresses of the map of each bucket alone; none where buckets are windows."""
    buckets = found.buckets
    if buckets.length_ms <= subject.window.length_ms:
        return []
    shown = _shown(subject, found)
    return [
        query({**shown, "from": _short(start), "to": _short(start + buckets.length_ms)})
        for start in buckets.starts
    ]


class Drill:
    """Addresses of the page of the column for a segment, in all of the range or in one bucket."""

    def __init__(self, subject: Subject, found: SegmentMap) -> None:
        column = found.column or next(iter(subject.columns), "")
        self._base = f"features/{path(column)}"
        self._subject, self._found = subject, found

    def row(self, row: Row) -> str:
        """Lead to a segment."""
        range_ = (self._subject.from_ms, self._subject.to_ms)
        return self._to(row.segment, *range_)

    def cell(self, row: Row, number: int) -> str:
        """Lead to a segment in a bucket."""
        start = self._found.buckets.starts[number]
        return self._to(row.segment, start, start + self._found.buckets.length_ms)

    def _to(self, segment: str, from_ms: int, to_ms: int) -> str:
        subject = self._subject
        wanted: dict[str, object] = {"segment": segment, "from": _short(from_ms), "to": _short(to_ms)}
        if subject.version != subject.versions[0]:
            wanted["version"] = subject.version
        if self._found.by != subject.segment_columns[0]:
            wanted["by"] = self._found.by
        return f"{self._base}{query(wanted)}"


def _short(at_ms: int) -> str | int:
    """Write an instant as shortly as parameters allow."""
    return str(instant(at_ms))[:10] if at_ms % DAY_MS == 0 else at_ms
