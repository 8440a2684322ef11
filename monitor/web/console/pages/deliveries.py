"""Deliveries: messages to receivers, what became of them, and another try for those that were given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection

from alerting.notice import Notice
from alerting.payload import decode
from monitor.config.problem import show
from monitor.store import outbox
from monitor.store.engine import immediate, reading
from monitor.store.queries.deliveries import deliveries
from monitor.store.queries.receivers import backlogs
from monitor.web.console.done import Done, back_done, said
from monitor.web.console.fields import Blank, FieldText
from monitor.web.console.forms import Posted
from monitor.web.console.incidents.deeds import text_of
from monitor.web.console.incidents.inbox import headline_of
from monitor.web.console.shell import Shell
from monitor.web.context import Context
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import Asked
from monitor.web.sign_in.acting import note
from schemas.errors import StoreError, UsageError

HERE = "/deliveries"
LISTED = 50
STATES = ("waiting", "dead", "delivered", "superseded")


class DeliveriesAsked(Asked):
    """Parameters of the list of messages."""

    state: Annotated[Literal["waiting", "dead", "delivered", "superseded"] | None, Blank] = Field(
        None, description="Only messages in this state."
    )
    receiver: FieldText = Field(None, description="Only messages to this receiver.")
    cursor: str | None = Field(None, max_length=2_048, description="Where the page before ended.")
    done: Done | None = Field(None, description="What a form has just done.")


@dataclass(frozen=True)
class Message:
    """One message, and what it says.

    Parameters
    ----------
    row : row
        Of ``outbox``.
    words : str
        What it tells, in short.
    is_of_incident : bool
        Otherwise it is a digest, or a list of what was held back.
    """

    row: Any
    words: str
    is_of_incident: bool


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context

    def page(request: Request, asked: DeliveriesAsked, error: str = "", status: int = 200) -> Response:
        after = read_cursor(asked.cursor, "deliveries", int, str)
        with reading(context.engine) as connection:
            rows, last = cut(deliveries(connection, asked.state, asked.receiver, after, LISTED + 1), LISTED)
            behind = backlogs(connection)
        values = {
            "messages": [_message(row) for row in rows],
            "next_cursor": None if last is None else write_cursor("deliveries", last.created_at_ms, last.id),
            "backlogs": behind,
            "configured": frozenset(context.configuration.receivers),
            "receivers": sorted({*context.configuration.receivers, *(one.receiver for one in behind)}),
            "states": STATES,
            "asked": asked,
            "said": "" if error else said(asked.done),
            "error": error,
        }
        return shell.page(request, "deliveries.html", HERE, status, **values)

    @router.get("/deliveries")
    def listed(request: Request, asked: Annotated[DeliveriesAsked, Query()]) -> Response:
        return page(request, asked)

    @router.post("/deliveries")
    def send(request: Request, asked: Annotated[DeliveriesAsked, Query()], posted: Posted) -> Response:
        """Let a dead message, or all of a receiver, wait again."""
        try:
            note(f"send again {posted.get('one') or 'all to ' + posted.get('all', '')}")
            if "all" in posted:
                _send_all(context, text_of(posted, "all", 256))
                return back_done(posted, "sent-all", HERE)
            with immediate(context.engine) as connection:
                _send_one(connection, text_of(posted, "one", 64), context.clock.now_ms())
        except UsageError as error:
            return page(request, asked, str(error), 409)
        return back_done(posted, "sent", HERE)

    return router


def _send_all(context: Context, receiver: str) -> None:
    if receiver not in context.configuration.receivers:
        msg = f"the configuration has no receiver {show(receiver)}, so nothing can be sent to it"
        raise UsageError(msg)
    with immediate(context.engine) as connection:
        outbox.revive(connection, receiver, context.clock.now_ms())


def _send_one(connection: Connection, id_: str, now_ms: int) -> None:
    row = outbox.revive_one(connection, id_, now_ms)
    if row is None:
        msg = f"there is no message {show(id_)}"
        raise UsageError(msg)
    if row.state != outbox.WAITING:
        msg = f"the message is {row.state} by now (only dead messages can be sent again)"
        raise UsageError(msg)


def _message(row: Any) -> Message:
    try:
        told = decode(row.payload)
    except StoreError:
        return Message(row, "written by another version of Driftline", is_of_incident=False)
    if isinstance(told, Notice):
        return Message(row, f"{told.change.kind}: {headline_of(told.alert.summary)}", is_of_incident=True)
    kind = {"digest": "digest of a week", "held": "list of what was held back"}.get(told.kind, told.kind)
    return Message(row, kind, is_of_incident=False)
