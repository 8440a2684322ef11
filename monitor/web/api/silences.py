"""``/silences``: what nobody is told of for a while, because somebody says so."""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from pydantic import AfterValidator, BaseModel, Field

from alerting.silences import Silence
from monitor.config.alerts import Match
from monitor.incidents.actions import check_span
from monitor.store import incidents
from monitor.store import silences as stored
from monitor.store.engine import immediate, reading
from monitor.store.queries import silences as queries
from monitor.web.api.alerts import Decision
from monitor.web.context import Context
from monitor.web.documents import InstantText, Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked, DurationText, Instant, NoParameters, Paged, PathText, Text
from monitor.web.problems import Refused, not_found
from monitor.web.sign_in.acting import name_or
from schemas.errors import UsageError


class SilenceDocument(BaseModel):
    """One silence."""

    id: str
    match: dict[str, Any] = Field(description="Which alerts, as in routes; empty: all.")
    incident_id: str | None = Field(description="Only this incident.")
    from_: InstantText | None = Field(alias="from", description="Wall clock.")
    until: InstantText | None = Field(description="Wall clock.")
    is_active: bool
    actor: str
    comment: str
    source: str = Field(description="`person` or `deployment`.")
    created_at: InstantText | None
    ended_by: str | None = Field(description="Who ended it before its time.")


class SilencesAsked(Paged):
    """Parameters of the list of silences."""

    ended: bool = Field(False, description="Also those that are over.")


class SilenceAsked(Asked):
    """A silence to be made."""

    match: Match = Field(default=Match(), description="Which alerts, as in routes; empty: all.")
    for_ms: DurationText = Field(alias="for", description="How long: `1h`, `3d`; at most `90d`.")
    from_ms: Instant | None = Field(None, alias="from", description="When it begins; default: now.")
    actor: Annotated[Text, AfterValidator(name_or)] = Field(
        "api", min_length=1, max_length=200, validate_default=True
    )
    comment: Text = Field("", max_length=1_000)


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["silences"])

    @router.get("/silences", summary="Silences that hold or will hold")
    def list_silences(asked: Annotated[SilencesAsked, Query()]) -> Page[SilenceDocument]:
        """Ordered by id. Planned work of the configuration is not among them."""
        after = read_cursor(asked.cursor, "silences", str)
        now_ms = context.clock.now_ms()
        with reading(context.engine) as connection:
            found = queries.silences(
                connection, None if asked.ended else now_ms, after[0] if after else None, asked.limit + 1
            )
        rows, last = cut(found, asked.limit)
        cursor = write_cursor("silences", last.id) if last is not None else None
        return Page(items=[_document(row, now_ms) for row in rows], next_cursor=cursor)

    @router.post("/silences", summary="Silence what matches for a while", status_code=201)
    def add_silence(
        asked: Annotated[NoParameters, Query()], wanted: Annotated[SilenceAsked, Body()]
    ) -> SilenceDocument:
        """What is open when it ends is told then."""
        now_ms = context.clock.now_ms()
        try:
            check_span(wanted.for_ms)
        except UsageError as error:
            raise Refused(422, str(error)) from error
        from_ms = now_ms if wanted.from_ms is None else wanted.from_ms
        until_ms = from_ms + wanted.for_ms
        if until_ms <= now_ms:
            msg = "the silence would be over already (from and for have to reach beyond now)"
            raise Refused(422, msg)
        made = Silence(secrets.token_hex(8), wanted.match, from_ms, until_ms, wanted.actor, wanted.comment)
        with immediate(context.engine) as connection:
            stored.add(connection, made, now_ms)
        return _one(context, made.id)

    @router.post("/silences/{id}/end", summary="End a silence now")
    def end_silence(
        id: PathText,
        asked: Annotated[NoParameters, Query()],
        decision: Annotated[Decision | None, Body()] = None,
    ) -> SilenceDocument:
        """What is open is told soon; one that is over already stays as it is."""
        with immediate(context.engine) as connection:
            incidents.lock(connection)  # who holds it may be writing "silenced until", and has to be seen
            now_ms = context.clock.now_ms()
            if stored.end(connection, id, (decision or Decision()).actor, now_ms):
                incidents.look_soon(connection, now_ms)
        return _one(context, id)

    return router


def _one(context: Context, id_: str) -> SilenceDocument:
    with reading(context.engine) as connection:
        row = queries.silence_of(connection, id_)
    if row is None:
        raise not_found(id_, "silence", "path.id")
    return _document(row, context.clock.now_ms())


def _document(row: Any, now_ms: int) -> SilenceDocument:
    plain = {name: getattr(row, name) for name in ("id", "actor", "comment", "source", "ended_by")}
    return SilenceDocument.model_validate(
        {
            **plain,
            "match": json.loads(row.match),
            "incident_id": row.incident_id or None,
            "from": instant(row.from_ms),
            "until": instant(row.until_ms),
            "is_active": row.from_ms <= now_ms < row.until_ms,
            "created_at": instant(row.created_at_ms),
        }
    )
