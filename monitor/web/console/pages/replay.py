"""Replaying dead letters: one by its id, or all that match a filter, counted before anything is marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import Field, ValidationError

from monitor.web.api.dead_letters import Kind, ReplayAsked, mark_letters
from monitor.web.console.actor import actor_of, known_actor, remember
from monitor.web.console.fields import Blank, FieldInstant, FieldText
from monitor.web.console.forms import Posted, back
from monitor.web.console.incidents.deeds import MOST_REASON, text_of
from monitor.web.console.shell import Shell, query
from monitor.web.documents import instant
from monitor.web.parameters import LARGEST, Asked, NoParameters, RowId
from monitor.web.problems import Mistake, Refused
from schemas.errors import UsageError

HERE = "/events"
FIELDS = ("topic", "kind", "reason", "from", "to")


class ReplayPageAsked(Asked):
    """Parameters of the page that counts what a replay would take."""

    topic: FieldText = Field(None, description="Only letters of this topic.")
    kind: Annotated[Kind | None, Blank] = Field(None, description="Only letters of this kind.")
    reason: FieldText = Field(None, description="Only letters whose reason holds this text.")
    from_ms: FieldInstant = Field(None, alias="from", description="Only letters stored at or after this.")
    to_ms: FieldInstant = Field(None, alias="to", description="Only letters stored before this.")
    marked: int | None = Field(None, ge=0, le=LARGEST, description="Letters that were marked just now.")

    def filter(self) -> dict[str, str | None]:
        """The filter as parameters."""
        return {
            "topic": self.topic,
            "kind": self.kind,
            "reason": self.reason,
            "from": instant(self.from_ms),
            "to": instant(self.to_ms),
        }

    def asked(self, *, dry_run: bool) -> ReplayAsked:
        """What the API takes."""
        given = {name: getattr(self, name) for name in ("topic", "kind", "reason", "from_ms", "to_ms")}
        return ReplayAsked.model_validate({**given, "dry_run": dry_run})


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context

    @router.get("/events/replay")
    def count(request: Request, asked: Annotated[ReplayPageAsked, Query()]) -> Response:
        found = mark_letters(context, asked.asked(dry_run=True))
        values: dict[str, Any] = {
            "found": found,
            "filter": asked.filter(),
            "asked": asked,
            "actor": known_actor(request),
        }
        return shell.page(request, "replay.html", HERE, **values)

    @router.post("/events/replay")
    def replay(request: Request, posted: Posted, _asked: Annotated[NoParameters, Query()]) -> Response:
        asked = _read(posted)
        actor, cause = _who_and_why(request, posted)
        wanted = asked.asked(dry_run=False)
        done = mark_letters(context, wanted.model_copy(update={"actor": actor, "cause": cause}))
        told = query({**asked.filter(), "marked": done.marked})
        response = RedirectResponse(f"/events/replay{told}", status_code=303)
        remember(request, response, actor)
        return response

    @router.post("/events/{id:int}/replay")
    def replay_one(
        request: Request, id: RowId, posted: Posted, _asked: Annotated[NoParameters, Query()]
    ) -> Response:
        actor, cause = _who_and_why(request, posted)
        mark_letters(context, ReplayAsked(ids=[id], actor=actor, cause=cause))
        response = back(posted, f"/events/{id}")
        remember(request, response, actor)
        return response

    return router


def _who_and_why(request: Request, posted: Mapping[str, str]) -> tuple[str, str]:
    """Read who asks for a replay, and why.

    Raises
    ------
    Refused
        If the name or the reason cannot be kept.
    """
    try:
        return actor_of(request, posted), text_of(posted, "cause", MOST_REASON)
    except UsageError as error:
        raise Refused(422, str(error), [Mistake(where="form", what=str(error))]) from error


def _read(posted: Mapping[str, str]) -> ReplayPageAsked:
    """Read the fields of a form.

    Raises
    ------
    Refused
        If one of them cannot be meant.
    """
    try:
        return ReplayPageAsked.model_validate({name: posted[name] for name in FIELDS if name in posted})
    except ValidationError as error:
        mistakes = [
            Mistake(where=f"form.{one['loc'][0]}", what=f"{one['msg'][:1].lower()}{one['msg'][1:]}")
            for one in error.errors(include_input=False)
        ]
        told = "; ".join(f"{one.where}: {one.what}" for one in mistakes)
        raise Refused(422, told, mistakes) from None
