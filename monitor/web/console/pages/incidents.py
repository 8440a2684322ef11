"""Incidents: the inbox, the story of one, and what people do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from monitor.incidents.actions import NoIncident
from monitor.web.charting.forms import Form, given
from monitor.web.console.actor import actor_of, known_actor, remember
from monitor.web.console.done import Done, back_done, said
from monitor.web.console.forms import Posted
from monitor.web.console.incidents.charts import IncidentCharts, Name
from monitor.web.console.incidents.deeds import SPANS, Deeds
from monitor.web.console.incidents.inbox import InboxAsked, inbox_of
from monitor.web.console.incidents.story import UnreadStory, story_of, story_or_rest
from monitor.web.console.incidents.verification import Verification, Verifier
from monitor.web.console.shell import Shell
from monitor.web.context import Context
from monitor.web.parameters import LARGEST, Asked, PathText
from monitor.web.problems import not_found
from monitor.web.sign_in.acting import note
from schemas.errors import UsageError

HERE = "/incidents"
QUICK = {"acknowledge": "acknowledge", "silence": "silence"}


class StoryAsked(Asked):
    """Parameters of the page of one incident."""

    finding: int | None = Field(
        None, ge=1, le=LARGEST, description="Number of the result that the charts are about."
    )
    done: Done | None = Field(None, description="What a form has just done.")


class ChartAsked(Asked):
    """Parameters of the charts of an incident."""

    finding: int | None = Field(None, ge=1, le=LARGEST, description="Number of the result that it is about.")


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context
    _add_inbox(router, shell, Deeds(context))
    _add_story(router, shell, Deeds(context))
    charts = IncidentCharts(context)

    @router.get("/incidents/{id}/charts/{name}.{form}")
    def chart(id: PathText, name: Name, form: Form, asked: Annotated[ChartAsked, Query()]) -> Response:
        return given(charts.chart(id, name, asked.finding), form)

    return router


def _add_inbox(router: APIRouter, shell: Shell, deeds: Deeds) -> None:
    def page(request: Request, asked: InboxAsked, error: str = "", status: int = 200) -> Response:
        values = {
            "inbox": inbox_of(shell.context, asked),
            "asked": asked,
            "said": "" if error else said(asked.done),
            "error": error,
            "actor": known_actor(request),
        }
        return shell.page(request, "incidents.html", HERE, status, **values)

    @router.get("/incidents")
    def incidents(request: Request, asked: Annotated[InboxAsked, Query()]) -> Response:
        return page(request, asked)

    @router.post("/incidents")
    def decide(request: Request, asked: Annotated[InboxAsked, Query()], posted: Posted) -> Response:
        """Acknowledge or silence an incident of the list."""
        verb, id_ = next(((verb, posted[verb]) for verb in QUICK if verb in posted), ("", ""))
        try:
            actor = actor_of(request, posted)
            note(f"{verb or 'nothing'} {id_[:64]} by {actor}")
            done = deeds.do(id_, actor, {"do": verb, "for": "1h"})
        except UsageError as error:
            return page(request, asked, str(error), 409)
        response = back_done(posted, done, HERE)
        remember(request, response, actor)
        return response


def _add_story(router: APIRouter, shell: Shell, deeds: Deeds) -> None:
    context, verifier = shell.context, Verifier(shell.context)

    def page(request: Request, id_: str, asked: StoryAsked, status: int = 200, **values: Any) -> Response:
        typed: Mapping[str, str] = values.pop("typed", {})
        story = story_or_rest(context, id_)
        if isinstance(story, UnreadStory):
            error = values.get("error", "")
            return shell.page(request, "incident_unread.html", HERE, status, story=story, error=error)
        shown = {
            "story": story,
            "asked": asked,
            "said": said(asked.done),
            "error": "",
            "typed": typed,
            "actor": typed.get("actor", known_actor(request)),
            "spans": tuple(SPANS),
            "verified": None,
            "page_address": f"{context.configuration.console_url}{HERE}/{id_}",
        }
        return shell.page(request, "incident.html", HERE, status, **{**shown, **values})

    @router.get("/incidents/{id}")
    def incident(request: Request, id: PathText, asked: Annotated[StoryAsked, Query()]) -> Response:
        return page(request, id, asked)

    @router.post("/incidents/{id}")
    def decide(
        request: Request, id: PathText, asked: Annotated[StoryAsked, Query()], posted: Posted
    ) -> Response:
        """Do what a form of the page says; what cannot be done is said, with all that was written."""
        try:
            if posted.get("do") == "verify":
                note("recompute and verify")
                verified = _verified(context, verifier, id, posted)
                return page(request, id, asked, said="", verified=verified)
            actor = actor_of(request, posted)
            note(_words(posted, actor))
            done = deeds.do(id, actor, posted)
        except NoIncident as error:
            raise not_found(id, "incident", "path.id") from error
        except UsageError as error:
            return page(request, id, asked, 409, said="", error=str(error), typed=posted)
        response = back_done(posted, done, f"{HERE}/{id}")
        remember(request, response, actor)
        return response


def _words(posted: Mapping[str, str], actor: str) -> str:
    """Say what a form asks for, for the audit log."""
    more = [posted[name] for name in ("for", "model", "receiver", "run", "hash") if posted.get(name)]
    why = posted.get("reason") or posted.get("text") or ""
    return f"{' '.join([posted.get('do', 'nothing'), *more])} by {actor}{f': {why}' if why else ''}"


def _verified(context: Context, verifier: Verifier, id_: str, posted: Mapping[str, str]) -> Verification:
    """Compute the results behind an incident once more, or the one that was asked for."""
    shown = [one.result_id for by in story_of(context, id_).found for one in by.shown]
    known = [number for number in shown if number is not None]
    wanted = posted.get("result", "")
    chosen = [number for number in known if wanted in ("", str(number))]
    if not chosen:
        msg = "there is no stored result behind these findings any more, so nothing can be recomputed"
        raise UsageError(msg)
    return verifier.verify(chosen)
