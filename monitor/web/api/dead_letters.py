"""``/dead-letters``: messages that could not be taken in, why, and what became of them since."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import AfterValidator, BaseModel, Field, StrictBool

from monitor.dead_letters.marking import MOST_IDS, Asking, mark
from monitor.store.engine import immediate, reading
from monitor.store.queries.dead_letters import Wanted, dead_letter_of, dead_letters
from monitor.web.context import Context
from monitor.web.description import also
from monitor.web.documents import InstantText, Page, instant
from monitor.web.paging import cut, read_cursor, write_cursor
from monitor.web.parameters import (
    Asked,
    Instant,
    NoParameters,
    Paged,
    QueryText,
    RowId,
    Text,
    WholeId,
)
from monitor.web.problems import Refused, not_found
from monitor.web.sign_in.acting import name_or, note
from schemas.errors import UsageError

SHOWN_BYTES = 4_096

Kind = Literal["undecodable", "future", "contract", "unpaired"]
Status = Literal["waiting", "marked", "replayed", "refused"]


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
    kind: str = Field(
        description="`undecodable`; `future`: a timestamp lies too far ahead; `contract`: an event breaks a "
        "rule; `unpaired`: a request or a response whose other half did not come."
    )
    reason: str
    key_base64: str | None
    value_base64: str = Field(description="The value, or its beginning.")
    value_text: str | None = Field(description="The same as text; null: it is not UTF-8.")
    value_bytes: int = Field(description="Size of the value as it came.")
    is_cut: bool = Field(description="Whether only the beginning of the value is shown here.")
    headers: list[Header]
    timestamp: InstantText | None = Field(description="Timestamp of the Kafka record.")
    stored_at: InstantText | None
    events: int = Field(description="What it counted for in the accounting before it was replayed.")
    status: str = Field(
        description="`waiting`, `marked` for a replay, `replayed`, or `refused` by a replay: see `reason`."
    )
    marked_at: InstantText | None = Field(description="When somebody asked for a replay last.")
    marked_by: str | None = Field(description="Who did.")
    marked_cause: str | None = Field(description="Why.")
    attempts: int = Field(description="Replays so far.")
    replayed_at: InstantText | None = Field(description="When it was replayed last.")
    outcome: str | None = Field(description="What became of its events when it was replayed.")
    relayed_at: InstantText | None = Field(
        description="When it was sent on; null: not yet, or not asked for."
    )


class DeadLettersAsked(Paged):
    """Parameters of the list of dead letters."""

    topic: QueryText | None = Field(None, description="Only this topic.")
    kind: Kind | None = Field(None, description="Only this kind.")
    status: Status | None = Field(None, description="Only those that have come so far.")
    reason: QueryText | None = Field(None, description="Only those whose reason holds this text.")
    from_ms: Instant | None = Field(None, alias="from", description="Only those stored at or after this.")
    to_ms: Instant | None = Field(None, alias="to", description="Only those stored before this.")


class ReplayAsked(Asked):
    """Which dead letters are to be replayed; without anything, all that wait."""

    ids: list[WholeId] = Field(default=[], max_length=MOST_IDS, description="Only these.")
    topic: QueryText | None = Field(None, description="Only those of this topic.")
    kind: Kind | None = Field(None, description="Only those of this kind.")
    reason: QueryText | None = Field(None, description="Only those whose reason holds this text.")
    from_ms: Instant | None = Field(None, alias="from", description="Only those stored at or after this.")
    to_ms: Instant | None = Field(None, alias="to", description="Only those stored before this.")
    dry_run: StrictBool = Field(False, description="Count them, and change nothing.")
    actor: Annotated[Text, AfterValidator(name_or)] = Field(
        "api", min_length=1, max_length=256, validate_default=True, description="Who asks for it."
    )
    cause: Text = Field("", max_length=1_000, description="Why.")


class ReplayMarked(BaseModel):
    """What came of the request."""

    marked: int = Field(
        description="Letters that will be replayed by the processes that own their partitions."
    )
    cut: int = Field(description="Letters that cannot be: only the beginning of their message is stored.")
    dry_run: bool


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["dead letters"])

    @router.get("/dead-letters", summary="Dead letters, newest first")
    def list_dead_letters(asked: Annotated[DeadLettersAsked, Query()]) -> Page[DeadLetter]:
        """Values longer than 4096 bytes are cut; ask for the letter itself to see all that is stored."""
        return page_of_letters(context, asked)

    @router.get("/dead-letters/{id:int}", summary="One dead letter, whole")
    def get_dead_letter(id: RowId, asked: Annotated[NoParameters, Query()]) -> DeadLetter:
        """All of the value that is stored: up to 1 MiB."""
        return letter_of(context, id)

    @router.post("/dead-letters/replay", summary="Take dead letters in again", responses=also(409))
    def replay_dead_letters(
        asked: Annotated[NoParameters, Query()], body: Annotated[ReplayAsked | None, Body()] = None
    ) -> ReplayMarked:
        """Marks letters; each is counted exactly once, or refused with the reason of today.

        A letter by id that was replayed already, or that is not stored whole, answers 409.
        """
        return mark_letters(context, body or ReplayAsked())

    return router


def page_of_letters(
    context: Context, asked: DeadLettersAsked, shown_bytes: int = SHOWN_BYTES
) -> Page[DeadLetter]:
    """List dead letters, newest first, each with at most so many bytes of its value."""
    after = read_cursor(asked.cursor, "dead-letters", int)
    last_id = None if after is None else after[0]
    with reading(context.engine) as connection:
        found = dead_letters(connection, wanted_of(asked), last_id, asked.limit + 1, shown_bytes)
    rows, last = cut(found, asked.limit)
    cursor = write_cursor("dead-letters", last.id) if last else None
    return Page(items=[_letter(row) for row in rows], next_cursor=cursor)


def wanted_of(asked: DeadLettersAsked) -> Wanted:
    """Which dead letters are meant by the parameters of a list."""
    return Wanted(asked.topic, asked.kind, asked.status, asked.reason, asked.from_ms, asked.to_ms)


def letter_of(context: Context, id_: int) -> DeadLetter:
    """Read one dead letter whole.

    Raises
    ------
    Refused
        If there is none of that id.
    """
    with reading(context.engine) as connection:
        row = dead_letter_of(connection, id_)
    if row is None:
        raise not_found(str(id_), "dead letter", "path.id")
    return _letter(row)


def mark_letters(context: Context, asked: ReplayAsked) -> ReplayMarked:
    """Mark dead letters for a replay, or only count them.

    Raises
    ------
    Refused
        If one that is named by its id cannot be replayed.
    """
    wanted = Wanted(asked.topic, asked.kind, None, asked.reason, asked.from_ms, asked.to_ms)
    with immediate(context.engine) as connection:
        try:
            asking = Asking(asked.actor, context.clock.now_ms(), asked.cause)
            done = mark(connection, wanted, asked.ids, asking=asking, dry_run=asked.dry_run)
        except UsageError as error:
            raise Refused(409, str(error)) from error
    if not asked.dry_run:
        note(_words(asked, done.marked))
    return ReplayMarked(marked=done.marked, cut=done.cut, dry_run=asked.dry_run)


def _words(asked: ReplayAsked, marked: int) -> str:
    """Say what was asked for, for the audit log."""
    given = asked.model_dump(exclude_none=True, by_alias=True, exclude={"dry_run", "actor", "cause"})
    which = ", ".join(f"{name} {value}" for name, value in given.items() if value) or "all that wait"
    because = f": {asked.cause}" if asked.cause else ""
    return f"replay of {which}; {marked} marked by {asked.actor}{because}"


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
        events=row.events,
        status=row.status,
        marked_at=instant(row.marked_at_ms),
        marked_by=row.marked_by,
        marked_cause=row.marked_cause,
        attempts=row.attempts,
        replayed_at=instant(row.replayed_at_ms),
        outcome=row.outcome,
        relayed_at=instant(row.relayed_at_ms),
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
