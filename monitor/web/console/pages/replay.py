"""Replaying dead letters: one by its id, or all that match a filter, counted before anything is marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import Field, ValidationError

from monitor.web.api.dead_letters import Kind, ReplayAsked, mark_letters
from monitor.web.console.fields import Blank, FieldInstant, FieldText
from monitor.web.console.forms import Posted, back
from monitor.web.console.shell import Shell, query
from monitor.web.documents import instant
from monitor.web.parameters import LARGEST, Asked, NoParameters, RowId
from monitor.web.problems import Mistake, Refused

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
        return shell.page(request, "replay.html", HERE, found=found, filter=asked.filter(), asked=asked)

    @router.post("/events/replay")
    def replay(posted: Posted, _asked: Annotated[NoParameters, Query()]) -> Response:
        asked = _read(posted)
        done = mark_letters(context, asked.asked(dry_run=False))
        told = query({**asked.filter(), "marked": done.marked})
        return RedirectResponse(f"/events/replay{told}", status_code=303)

    @router.post("/events/{id:int}/replay")
    def replay_one(id: RowId, posted: Posted, _asked: Annotated[NoParameters, Query()]) -> Response:
        mark_letters(context, ReplayAsked(ids=[id]))
        return back(posted, f"/events/{id}")

    return router


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
