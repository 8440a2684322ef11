"""``/``: a plain page that lists models and leads to the API. No script, nothing from elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from pydantic import Field

from monitor.store.engine import reading
from monitor.store.queries.alerts import open_total
from monitor.version import code_version
from monitor.web.api.models import page_of_models
from monitor.web.context import Context
from monitor.web.paging import read_cursor
from monitor.web.parameters import Asked

FOLDER = Path(__file__).parent
LISTED = 50


class PageAsked(Asked):
    """Parameters of the start page."""

    cursor: str | None = Field(None, max_length=2_048, description="Where the page before ended.")


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"age": age, "path": lambda name: quote(name, safe="")}
    template = environment.get_template("index.html")
    style = (FOLDER / "static" / "style.css").read_bytes()
    router = APIRouter(include_in_schema=False)

    @router.get("/", response_class=HTMLResponse)
    def index(asked: Annotated[PageAsked, Query()]) -> str:
        after = read_cursor(asked.cursor, "models", str)
        with reading(context.engine) as connection:
            page = page_of_models(context, connection, None if after is None else after[0], LISTED)
            alerts = open_total(connection)
        return template.render(
            page=page,
            alerts=alerts,
            version=code_version(),
            now_ms=context.clock.now_ms(),
            is_first=after is None,
        )

    @router.get("/style.css")
    def style_sheet() -> Response:
        return Response(style, media_type="text/css; charset=utf-8")

    return router


def age(at: str | None, now_ms: int) -> str:
    """Say how long ago an instant was, in words.

    Examples
    --------
    >>> age("2026-01-01T00:00:00.000Z", 1_767_225_600_000 + 5_400_000), age(None, 0)
    ('90 minutes ago', 'never')
    """
    if at is None:
        return "never"
    seconds = now_ms / 1_000 - datetime.fromisoformat(at).astimezone(UTC).timestamp()
    if seconds < 0:
        return "ahead of the clock"
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size or (name == "minutes" and seconds >= size):
            number = round(seconds / size)
            return f"{number} {name[:-1] if number == 1 else name} ago"
    return f"{round(seconds)} seconds ago"
