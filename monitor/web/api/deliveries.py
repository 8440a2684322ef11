"""``/deliveries``: messages to receivers, what became of them, and another try for the dead ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field

from monitor.store import outbox
from monitor.store.engine import immediate, reading
from monitor.store.queries import deliveries as queries
from monitor.web.api.alerts import Delivery, read_delivery
from monitor.web.context import Context
from monitor.web.description import also
from monitor.web.documents import Page
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked, NoParameters, Paged, PathText, QueryText, Text
from monitor.web.problems import Refused, not_found


class DeliveryDocument(Delivery):
    """One message to one receiver, and what it is about."""

    incident_id: str = Field(description="Incident, or digest of a week.")


class DeliveriesAsked(Paged):
    """Parameters of the list of messages."""

    state: Literal["waiting", "delivered", "superseded", "dead"] | None = Field(
        None, description="Only messages in this state; `dead`: given up."
    )
    receiver: QueryText | None = Field(None, description="Only messages to this receiver.")


class ResendAsked(Asked):
    """Which messages are to be tried again."""

    receiver: Text = Field(
        min_length=1, max_length=256, description="All messages to this receiver that were given up."
    )


class Resent(BaseModel):
    """What came of it."""

    waiting: int = Field(description="Messages that wait for delivery again.")


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["deliveries"])

    @router.get("/deliveries", summary="Messages to receivers, newest first")
    def list_deliveries(asked: Annotated[DeliveriesAsked, Query()]) -> Page[DeliveryDocument]:
        """Messages that were given up say why in `last_error`."""
        after = read_cursor(asked.cursor, "deliveries", int, str)
        with reading(context.engine) as connection:
            found = queries.deliveries(connection, asked.state, asked.receiver, after, asked.limit + 1)
        rows, last = cut(found, asked.limit)
        cursor = write_cursor("deliveries", last.created_at_ms, last.id) if last is not None else None
        return Page(items=[_document(row) for row in rows], next_cursor=cursor)

    @router.post(
        "/deliveries/resend", summary="Try all dead messages of a receiver again", responses=also(404)
    )
    def resend_deliveries(
        asked: Annotated[NoParameters, Query()], wanted: Annotated[ResendAsked, Body()]
    ) -> Resent:
        """After the receiver was mended; they keep their ids, so that it can tell what it has."""
        if wanted.receiver not in context.configuration.receivers:
            raise not_found(wanted.receiver, "receiver", "body.receiver", context.configuration.receivers)
        with immediate(context.engine) as connection:
            return Resent(waiting=outbox.revive(connection, wanted.receiver, context.clock.now_ms()))

    @router.post("/deliveries/{id}/resend", summary="Try one dead message again", responses=also(409))
    def resend_delivery(id: PathText, asked: Annotated[NoParameters, Query()]) -> DeliveryDocument:
        """Only messages that were given up; others answer 409."""
        with immediate(context.engine) as connection:
            row = outbox.revive_one(connection, id, context.clock.now_ms())
        if row is None:
            raise not_found(id, "delivery", "path.id")
        if row.state != outbox.WAITING:
            raise Refused(409, f"the message is {row.state} (only dead messages can be sent again)")
        return _document(row)

    return router


def _document(row: Any) -> DeliveryDocument:
    return DeliveryDocument(**read_delivery(row).model_dump(), incident_id=row.alert_id)
