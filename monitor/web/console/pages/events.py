"""Events that could not be taken in: the list with reasons, and each with its bytes and what became of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from monitor.store.engine import reading
from monitor.store.queries.dead_letter_counts import count_reasons, reasons_among, topics
from monitor.web.api.dead_letters import (
    DeadLettersAsked,
    Kind,
    Status,
    letter_of,
    page_of_letters,
    wanted_of,
)
from monitor.web.console.actor import known_actor
from monitor.web.console.events.hex_dump import hex_dump, printable, text_of, visible
from monitor.web.console.events.letter_reading import read_letter
from monitor.web.console.fields import Blank, FieldInstant, FieldText
from monitor.web.console.personal import is_secret_header, may_be_personal
from monitor.web.console.shell import Shell
from monitor.web.documents import instant
from monitor.web.parameters import Asked, NoParameters, RowId

HERE = "/events"
LISTED, LISTED_REASONS = 50, 10
MOST_TOPICS = 1_024
BEGINNING_BYTES = 56
DUMPED_BYTES = 4_096
SHOWN_SIGNS = 16_384
KINDS, STATUSES = get_args(Kind), get_args(Status)


class EventsAsked(DeadLettersAsked):
    """Parameters of the list: those of the API's, as a form sends them."""

    limit: int = Field(LISTED, ge=1, le=200, description="Most letters of a page.")
    topic: FieldText = Field(None, description="Only this topic.")
    kind: Annotated[Kind | None, Blank] = Field(None, description="Only this kind.")
    status: Annotated[Status | None, Blank] = Field(None, description="Only those that have come so far.")
    reason: FieldText = Field(None, description="Only those whose reason holds this text.")
    from_ms: FieldInstant = Field(None, alias="from", description="Only those stored at or after this.")
    to_ms: FieldInstant = Field(None, alias="to", description="Only those stored before this.")


class LetterAsked(Asked):
    """Parameters of the page of one letter."""

    read: Literal["now"] | None = Field(None, description="Read it even if that asks the schema registry.")


def filter_of(asked: DeadLettersAsked) -> dict[str, str | None]:
    """Write the filter of a list as parameters, without the place in it."""
    return {
        "topic": asked.topic,
        "kind": asked.kind,
        "status": asked.status,
        "reason": asked.reason,
        "from": instant(asked.from_ms),
        "to": instant(asked.to_ms),
    }


def routes(shell: Shell) -> APIRouter:
    """Build the routes."""
    router, context = APIRouter(), shell.context
    configuration = context.configuration

    @lru_cache(MOST_TOPICS)
    def is_personal(topic: str) -> bool:
        return may_be_personal(configuration, topic)

    @router.get("/events")
    def events(request: Request, asked: Annotated[EventsAsked, Query()]) -> Response:
        page = page_of_letters(context, asked, BEGINNING_BYTES + 4)
        with reading(context.engine) as connection:
            # A rare reason is looked for among all letters: once is enough, if all that have it are listed.
            if asked.cursor is None and page.next_cursor is None:
                counts = reasons_among(((one.kind, one.reason) for one in page.items), LISTED_REASONS)
            else:
                counts = count_reasons(connection, wanted_of(asked), LISTED_REASONS)
            known = topics(connection)
        letters = [
            (letter, "" if is_personal(letter.topic) else _beginning(letter.value_base64))
            for letter in page.items
        ]
        return shell.page(
            request,
            "events.html",
            HERE,
            letters=letters,
            next_cursor=page.next_cursor,
            is_first=asked.cursor is None,
            counts=counts,
            filter=filter_of(asked),
            asked=asked,
            topics=known,
            kinds=KINDS,
            statuses=STATUSES,
        )

    @router.get("/events/{id:int}")
    def event(request: Request, id: RowId, asked: Annotated[LetterAsked, Query()]) -> Response:
        letter = letter_of(context, id)
        value = base64.b64decode(letter.value_base64)
        key = None if letter.key_base64 is None else base64.b64decode(letter.key_base64)
        text = text_of(value, is_cut=letter.is_cut)
        return shell.page(
            request,
            "event.html",
            HERE,
            letter=letter,
            stored_bytes=len(value),
            text=None if text is None else visible(text[:SHOWN_SIGNS]),
            is_text_cut=text is not None and len(text) > SHOWN_SIGNS,
            dump=hex_dump(value[:DUMPED_BYTES]),
            dumped_bytes=min(len(value), DUMPED_BYTES),
            key=None if key is None else printable(key, 200),
            headers=[_header(one.name, one.value_base64) for one in letter.headers],
            reading=read_letter(configuration, letter, may_ask=asked.read == "now"),
            is_personal=is_personal(letter.topic),
            actor=known_actor(request),
        )

    @router.get("/events/{id:int}/bytes")
    def raw(id: RowId, _asked: Annotated[NoParameters, Query()]) -> Response:
        letter = letter_of(context, id)
        name = f"dead-letter-{letter.id}.bin"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        content = base64.b64decode(letter.value_base64)
        return Response(content, media_type="application/octet-stream", headers=headers)

    return router


def _beginning(value_base64: str) -> str:
    return printable(base64.b64decode(value_base64), BEGINNING_BYTES)


def _header(name: str, value_base64: str) -> Mapping[str, str]:
    value = base64.b64decode(value_base64)
    return {"name": name, "value": "(hidden)" if is_secret_header(name) else printable(value, 400)}
