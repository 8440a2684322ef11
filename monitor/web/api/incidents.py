"""``/incidents``: alerts with one cause as one thing, what happened to it, what people may do about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import AfterValidator, BaseModel, Field
from sqlalchemy import Connection

from alerting.alert import OPEN_STATES
from alerting.incidents.document import incident_document
from alerting.incidents.incident import gather
from monitor.incidents.actions import Actions, NoIncident
from monitor.incidents.costs import impact_of
from monitor.store import incidents as stored
from monitor.store.engine import reading
from monitor.store.incidents import Unreadable
from monitor.store.queries import alerts as alert_queries
from monitor.store.queries import incidents as queries
from monitor.web.api.alerts import (
    AlertDocument,
    Decision,
    Delivery,
    SilenceDecision,
    Unread,
    read_delivery,
    read_unreadable,
)
from monitor.web.context import Context
from monitor.web.description import also
from monitor.web.documents import InstantText, Number, Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked, NoParameters, Paged, PathText, QueryText, Text
from monitor.web.problems import Refused, not_found
from monitor.web.sign_in.acting import name_or
from schemas.errors import UsageError

STATES = {"open": tuple(str(state) for state in OPEN_STATES)}


class Member(BaseModel):
    """One alert of an incident, in short."""

    id: str
    model: str
    version: str
    kind: str
    lane: str
    severity: str
    state: str
    column: str
    segment: str
    opened_at: InstantText
    closed_at: InstantText | None
    summary: str


class Cause(BaseModel):
    """Something that may be behind an incident."""

    name: str = Field(description="A column; `events`: the stream as a whole.")
    score: Number = Field(description="What causes are ordered by; means nothing beyond the incident.")
    explained: Number = Field(description="Share of the change of the mean prediction that comes with it.")
    since: InstantText | None
    models: list[str] = Field(description="Models that see it.")
    words: str


class Impact(BaseModel):
    """What an incident costs."""

    metric: str
    value: Number = Field(description="In the latest window since the incident began.")
    low: Number
    high: Number
    before: Number = Field(description="Mean of the windows before, weighted by rows.")
    kind: str = Field(description="`realised`: from labels; `estimated`: before they come.")
    rows: int
    coverage: Number = Field(description="Share of the rows with a label.")
    words: str


class IncidentDocument(AlertDocument):
    """An incident as it is now: the fields of an alert, for all its alerts as one, and its own."""

    models: list[str] = Field(description="Models with an alert in it, the one that matters most first.")
    segments: list[str] = Field(description="Segments that findings name.")
    alerts: list[Member] = Field(description="Its alerts, the one that matters most first; at most 50.")
    alerts_total: int
    causes: list[Cause] = Field(description="What may be behind it, the likeliest first; association.")
    impact: Impact | None


class IncidentEvent(BaseModel):
    """One thing that happened to an incident."""

    sequence: int
    change: str
    cause: str
    actor: str = Field(description="`driftline`, or who it was.")
    at: InstantText | None = Field(
        description="Event time of what the service saw; wall clock of what people did."
    )
    noted_at: InstantText | None = Field(description="Wall clock.")
    alert_id: str | None = Field(description="The alert that changed.")
    told: list[str] = Field(description="Receivers that were told.")
    held: str = Field(description="Why nobody was told; empty if nothing was held back.")


class IncidentsPage(Page[IncidentDocument]):
    """One page of incidents."""

    unreadable: list[Unread] = Field(
        [], description="Incidents of this page that this version cannot read, and why; normally none."
    )


class IncidentDetail(IncidentDocument):
    """An incident with everything that happened to it."""

    held: str = Field(description="Why people are not told of it at the moment; empty if they are.")
    held_until: InstantText | None
    events: list[IncidentEvent] = Field(description="In order; the latest 500.")
    deliveries: list[Delivery] = Field(description="In order; the latest 500.")


class IncidentsAsked(Paged):
    """Parameters of the list of incidents."""

    state: Literal["open", "pending", "firing", "acknowledged", "resolved", "retracted"] | None = Field(
        None, description="Only incidents in this state; `open`: pending, firing or acknowledged."
    )
    model: QueryText | None = Field(None, description="Only incidents with an alert of this model.")


class Comment(Asked):
    """What somebody says about an incident."""

    actor: Annotated[Text, AfterValidator(name_or)] = Field(
        "api", min_length=1, max_length=200, validate_default=True
    )
    text: Text = Field(min_length=1, max_length=2_000)


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["incidents"])
    actions = Actions(context.configuration, context.engine, context.clock, context.telemetry)

    @router.get("/incidents", summary="Incidents, newest first")
    def list_incidents(asked: Annotated[IncidentsAsked, Query()]) -> IncidentsPage:
        """Incidents as they are now; one that cannot be read keeps no other from being listed."""
        states = () if asked.state is None else STATES.get(asked.state, (asked.state,))
        return page_of_incidents(context, asked.cursor, asked.limit, states, asked.model)

    @router.get("/incidents/{id}", summary="One incident with its audit trail", responses=also(409))
    def get_incident(id: PathText, asked: Annotated[NoParameters, Query()]) -> IncidentDetail:
        """An incident, everything that happened to it, and who was told."""
        return detail_of(context, id)

    @router.post(
        "/incidents/{id}/acknowledge",
        summary="Say that somebody looks after an incident",
        responses=also(409),
    )
    def acknowledge_incident(
        id: PathText,
        asked: Annotated[NoParameters, Query()],
        decision: Annotated[Decision | None, Body()] = None,
    ) -> IncidentDetail:
        """Acknowledging twice changes nothing; an incident that is over answers 409."""
        one = decision or Decision()
        return _decided(context, id, lambda: actions.acknowledge(id, one.actor, one.cause))

    @router.post("/incidents/{id}/resolve", summary="Declare an incident over", responses=also(409))
    def resolve_incident(
        id: PathText,
        asked: Annotated[NoParameters, Query()],
        decision: Annotated[Decision | None, Body()] = None,
    ) -> IncidentDetail:
        """Resolves all its alerts; the next window with a finding opens a new one."""
        one = decision or Decision()
        return _decided(context, id, lambda: actions.resolve(id, one.actor, one.cause))

    @router.post(
        "/incidents/{id}/silence", summary="Tell nobody of an incident for a while", responses=also(409)
    )
    def silence_incident(
        id: PathText,
        asked: Annotated[NoParameters, Query()],
        decision: Annotated[SilenceDecision | None, Body()] = None,
    ) -> IncidentDetail:
        """If it is open when the silence ends, it is told again."""
        one = decision or SilenceDecision()
        return _decided(context, id, lambda: actions.silence(id, one.actor, one.for_ms, one.cause))

    @router.post("/incidents/{id}/comments", summary="Say something about an incident", responses=also(409))
    def comment_on_incident(
        id: PathText, asked: Annotated[NoParameters, Query()], comment: Annotated[Comment, Body()]
    ) -> IncidentDetail:
        """Everybody who was told of it reads it."""
        return _decided(context, id, lambda: actions.comment(id, comment.actor, comment.text))

    return router


def _decided(context: Context, id_: str, act: Callable[[], str]) -> IncidentDetail:
    try:
        act()
    except NoIncident as error:
        raise not_found(id_, "incident", "path.id") from error
    except UsageError as error:
        raise Refused(409, str(error)) from error
    return detail_of(context, id_)


def _document(context: Context, connection: Connection, id_: str) -> dict[str, Any] | Unreadable | None:
    known = stored.look(connection, id_)
    if known is None or isinstance(known, Unreadable):
        return known
    impact = impact_of(connection, context.configuration, known.alerts)
    found = incident_document(gather(id_, known.record.sequence, known.alerts, impact))
    return {**found, "held": known.record.held, "held_until": instant(known.record.held_until_ms or None)}


def page_of_incidents(
    context: Context, cursor: str | None, limit: int, states: tuple[str, ...] = (), model: str | None = None
) -> IncidentsPage:
    """List incidents, the latest first; the cursor is that of the page before."""
    after = read_cursor(cursor, "incidents", int, str)
    with reading(context.engine) as connection:
        found = queries.incident_ids(connection, states, model, after, limit + 1)
        rows, last = cut(found, limit)
        documents = [_document(context, connection, id_) for _, id_ in rows]
    following = write_cursor("incidents", *last) if last else None
    return IncidentsPage(
        items=[IncidentDocument(**one) for one in documents if isinstance(one, dict)],
        next_cursor=following,
        unreadable=[read_unreadable(one) for one in documents if isinstance(one, Unreadable)],
    )


def detail_of(context: Context, id_: str) -> IncidentDetail:
    """Tell everything of one incident.

    Raises
    ------
    Refused
        If there is none of that id, or it cannot be read.
    """
    with reading(context.engine) as connection:
        found = _document(context, connection, id_)
        if found is None:
            raise not_found(id_, "incident", "path.id")
        if isinstance(found, Unreadable):
            raise Refused(409, f"incident {id_} cannot be read: {found.why}")
        events = queries.events(connection, id_)
        deliveries = alert_queries.deliveries(connection, id_)
    return IncidentDetail(
        **found,
        events=[_event(row) for row in events],
        deliveries=[read_delivery(row) for row in deliveries],
    )


def _event(row: Any) -> IncidentEvent:
    same = {name: getattr(row, name) for name in ("sequence", "change", "cause", "actor", "alert_id", "held")}
    return IncidentEvent(
        **same, at=instant(row.at_ms), noted_at=instant(row.noted_at_ms), told=json.loads(row.told)
    )
