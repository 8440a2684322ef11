"""``/dead-letters``: messages that could not be taken in, and why."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from monitor.store.engine import reading
from monitor.store.queries.dead_letters import dead_letter_of, dead_letters
from monitor.web.context import Context
from monitor.web.documents import Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import NoParameters, Paged, QueryText, RowId
from monitor.web.problems import not_found

SHOWN_BYTES = 4_096


class Header(BaseModel):
    """One header of a message."""

    name: str
    value_base64: str


class DeadLetter(BaseModel):
    """One message that could not be taken in."""

    id: int
    topic: str
    partition: int
    offset: int
    kind: str = Field(description="`undecodable`, or `future`: its timestamp lies too far ahead.")
    reason: str
    key_base64: str | None
    value_base64: str = Field(description="The value, or its beginning.")
    value_text: str | None = Field(description="The same as text; null: it is not UTF-8.")
    value_bytes: int = Field(description="Size of the value as it came.")
    is_cut: bool = Field(description="Whether only the beginning of the value is shown here.")
    headers: list[Header]
    timestamp: str | None = Field(description="Timestamp of the Kafka record.")
    stored_at: str | None


class DeadLettersAsked(Paged):
    """Parameters of the list of dead letters."""

    topic: QueryText | None = Field(None, description="Only this topic.")
    kind: Literal["undecodable", "future"] | None = Field(None, description="Only this kind.")


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["dead letters"])

    @router.get("/dead-letters", summary="Dead letters, newest first")
    def list_dead_letters(asked: Annotated[DeadLettersAsked, Query()]) -> Page[DeadLetter]:
        """Values longer than 4096 bytes are cut; ask for the letter itself to see all that is stored."""
        after = read_cursor(asked.cursor, "dead-letters", int)
        last_id = None if after is None else after[0]
        with reading(context.engine) as connection:
            found = dead_letters(connection, asked.topic, asked.kind, last_id, asked.limit + 1, SHOWN_BYTES)
        rows, last = cut(found, asked.limit)
        cursor = write_cursor("dead-letters", last.id) if last else None
        return Page(items=[_letter(row) for row in rows], next_cursor=cursor)

    @router.get("/dead-letters/{id}", summary="One dead letter, whole")
    def get_dead_letter(id: RowId, asked: Annotated[NoParameters, Query()]) -> DeadLetter:
        """All of the value that is stored: up to 1 MiB."""
        with reading(context.engine) as connection:
            row = dead_letter_of(connection, id)
        if row is None:
            raise not_found(str(id), "dead letter", "path.id")
        return _letter(row)

    return router


def _letter(row: Any) -> DeadLetter:
    value = bytes(row.value or b"")  # SQLite has no part of an empty value
    return DeadLetter(
        id=row.id,
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        kind=row.kind,
        reason=row.reason,
        key_base64=None if row.key is None else _base64(bytes(row.key)),
        value_base64=_base64(value),
        value_text=_text(value, is_cut=len(value) < row.value_bytes),
        value_bytes=row.value_bytes,
        is_cut=len(value) < row.value_bytes,
        headers=[Header(name=name, value_base64=text or "") for name, text in json.loads(row.headers)],
        timestamp=instant(row.timestamp_ms),
        stored_at=instant(row.stored_at_ms),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _text(value: bytes, *, is_cut: bool) -> str | None:
    """Read UTF-8; a cut may go through the last character."""
    for end in range(len(value), max(len(value) - 4, -1) if is_cut else len(value) - 1, -1):
        try:
            return value[:end].decode()
        except UnicodeDecodeError:
            continue
    return None
