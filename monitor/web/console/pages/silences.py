"""Silences: what nobody is told of for a while, who said so, and planned maintenance of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from monitor.store.engine import reading
from monitor.store.queries.silence_times import MOST_TO_COME, past, to_come
from monitor.web.console.actor import actor_of, known_actor, remember
from monitor.web.console.done import Done, back_done, said
from monitor.web.console.forms import Posted
from monitor.web.console.incidents.quiet import CHOICES, NAMES, When, end, make, plans, shown
from monitor.web.console.shell import Shell
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked
from monitor.web.sign_in.acting import note
from schemas.errors import UsageError

HERE, PARENT = "/silences", "/incidents"
LISTED = 25
NOTHING: Mapping[str, str] = {}


class SilencesAsked(Asked):
    """Parameters of the page."""

    cursor: str | None = Field(None, max_length=2_048, description="Where the page before ended.")
    done: Done | None = Field(None, description="What a form has just done.")


def _words(posted: Mapping[str, str]) -> str:
    """Say what a form asks for, for the audit log."""
    if "end" in posted:
        return f"end silence {posted['end']}"
    names = (*CHOICES, *NAMES, "everything", "from", "for", "comment")
    return f"silence {', '.join(f'{name} {posted[name]}' for name in names if posted.get(name))}"


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context

    def page(
        request: Request, asked: SilencesAsked, error: str = "", typed: Mapping[str, str] = NOTHING
    ) -> Response:
        now_ms = context.clock.now_ms()
        after = read_cursor(asked.cursor, "past-silences", int, str)
        with reading(context.engine) as connection:
            coming = [shown(row, now_ms) for row in to_come(connection, now_ms)]
            rows, last = cut(past(connection, now_ms, after, LISTED + 1), LISTED)
        values = {
            "active": [one for one in coming if one.when is When.ACTIVE],
            "planned": [one for one in coming if one.when is When.PLANNED],
            "is_cut": len(coming) == MOST_TO_COME,
            "past": [shown(row, now_ms) for row in rows],
            "next_cursor": write_cursor("past-silences", last.until_ms, last.id)
            if last is not None
            else None,
            "maintenance": plans(context.configuration.alerts.maintenance, now_ms),
            "choices": CHOICES,
            "names": NAMES,
            "asked": asked,
            "typed": typed,
            "said": "" if error else said(asked.done),
            "error": error,
            "actor": typed.get("actor", known_actor(request)),
        }
        return shell.page(request, "silences.html", PARENT, 409 if error else 200, **values)

    @router.get("/silences")
    def listed(request: Request, asked: Annotated[SilencesAsked, Query()]) -> Response:
        return page(request, asked)

    @router.post("/silences")
    def decide(request: Request, asked: Annotated[SilencesAsked, Query()], posted: Posted) -> Response:
        """Make a silence, or end one."""
        try:
            actor = actor_of(request, posted)
            note(f"{_words(posted)} by {actor}")
            done: Done = "silence-ended" if "end" in posted else "silence"
            if "end" in posted:
                end(context, actor, posted["end"])
            else:
                make(context, actor, posted)
        except UsageError as error:
            return page(request, asked, str(error), posted)
        response = back_done(posted, done, HERE)
        remember(request, response, actor)
        return response

    return router
