"""The page of one model: a common time axis, what moved, and any two ranges or versions side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from monitor.store.engine import reading
from monitor.store.queries.references import pointers
from monitor.store.queries.times import newest_events, watermarks
from monitor.web.charting.forms import Form, given
from monitor.web.console.exact import ExactRoute
from monitor.web.console.model.charts import Name, chart_of
from monitor.web.console.model.comparison import CompareAsked, comparison_of
from monitor.web.console.model.features import features_of
from monitor.web.console.model.performance import metrics_of
from monitor.web.console.model.quadrant import CORNERS, Quadrant, quadrant_of
from monitor.web.console.model.story import open_incidents, story_of
from monitor.web.console.model.view import ModelAsked, view_of
from monitor.web.console.shell import Shell
from monitor.web.parameters import PathText

HERE = "/"
MOST_LISTED = 60  # rows of a table, before somebody asks for all


class ModelName(Convertor[str]):
    """Name of a model in a path; it may hold slashes, and ends before the pages that are below it."""

    regex = r"(?:(?!/(?:charts|compare|features|segments)(?:/|$))[\s\S])+"

    def convert(self, value: str) -> str:
        """Read it."""
        return value

    def to_string(self, value: str) -> str:
        """Write it."""
        return value


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    register_url_convertor("model_name", ModelName())
    router, context = APIRouter(route_class=ExactRoute), shell.context

    @router.get("/models/{model:model_name}/charts/{name}.{form}")
    def chart(model: PathText, name: Name, form: Form, asked: Annotated[ModelAsked, Query()]) -> Response:
        with reading(context.engine) as connection:
            view = view_of(context, connection, model, asked)
            made = chart_of(context, connection, view, name)
        return given(made, form)

    @router.get("/models/{model:model_name}/compare")
    def compare(request: Request, model: PathText, asked: Annotated[CompareAsked, Query()]) -> Response:
        with reading(context.engine) as connection:
            found = comparison_of(context, connection, model, asked)
        listed = found.columns if asked.columns == "all" else found.columns[:MOST_LISTED]
        return shell.page(request, "model_compare.html", HERE, found=found, listed=listed)

    @router.get("/models/{model:model_name}")
    def page(request: Request, model: PathText, asked: Annotated[ModelAsked, Query()]) -> Response:
        incidents = open_incidents(context, model)
        with reading(context.engine) as connection:
            view = view_of(context, connection, model, asked)
            features = features_of(context, connection, view)
            metrics = metrics_of(connection, view)
            quadrant = quadrant_of(view, features)
            story = story_of(connection, view, features, metrics)
            rows = pointers(connection, model, {row.version for row in view.versions})
            marks = watermarks(connection, context.configuration, context.clock.now_ms(), [model])
            newest = newest_events(connection, [model])
        return shell.page(
            request,
            "model.html",
            HERE,
            view=view,
            incidents=incidents,
            story=story,
            features=features,
            listed=features.rows if asked.features == "all" else features.rows[:MOST_LISTED],
            metrics=metrics,
            quadrant=quadrant if isinstance(quadrant, Quadrant) else None,
            no_quadrant="" if isinstance(quadrant, Quadrant) else quadrant,
            corners=CORNERS,
            referenced={row.version: row for row in rows},
            watermark=marks.get(model),
            last_event=newest.get(model),
            has_latency=bool(view.of_source("latency")),
            has_errors=bool(view.of_source("error")),
        )

    return router
