"""``POST /events``: events that come by HTTP go on to Kafka, and are answered once the brokers have them."""

from __future__ import annotations

import hmac
import zlib
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from monitor.config.secrets import secret
from monitor.config.service import HttpEvents
from monitor.decode.catalog import build
from monitor.decode.message import Message
from monitor.door import Sent
from monitor.tracing.context import HEADER, read_traceparent
from monitor.tracing.tracer import span
from monitor.web.context import Context
from monitor.web.description import also
from monitor.web.parameters import Asked
from monitor.web.problems import Mistake, Refused
from monitor.web.sign_in.tokens import hash_of
from schemas.errors import EventError, UsageError

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
KEPT = ("content-type",)  # headers beside those of CloudEvents that go on to Kafka


_CLOUD_EVENT = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"type": "string", "examples": ["1.0"]},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string"},
        "type": {"type": "string"},
        "time": {"description": "When it happened, RFC 3339; empty or left out, `data` says so."},
        "data": {"description": "What the format of the stream reads: for `auto`, an event as on Kafka."},
    },
}
_EVENT = {"model": "flight-delay", "prediction": 1, "score": 0.83, "features": {"temp": 39.0}}
_ENVELOPED = {
    "specversion": "1.0", "id": "f-1", "source": "/serving", "type": "prediction",
    "time": "2026-01-31T10:00:00Z", "data": _EVENT,
}  # fmt: skip
_ALONE = {"event_id": "f-1", "timestamp": "2026-01-31T10:00:00Z", **_EVENT}
BODIES = {
    STRUCTURED: {"schema": _CLOUD_EVENT, "example": _ENVELOPED},
    BATCH: {"schema": {"type": "array", "minItems": 1, "items": _CLOUD_EVENT}, "example": [_ENVELOPED]},
    "application/json": {"schema": {"type": "object"}, "example": _ALONE},
}


class EventsAsked(Asked):
    """Parameters of events."""

    kind: Literal["predictions", "labels"] = Field("predictions", description="What the events say.")


class Accepted(BaseModel):
    """What was taken in."""

    accepted: int = Field(description="Messages that the brokers have now.")


def routes(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(tags=["events"])

    @router.post(
        "/events",
        summary="Take events in",
        responses=also(404, 415),
        openapi_extra={"requestBody": {"required": True, "content": BODIES}},
    )
    async def post_events(
        request: Request,
        asked: Annotated[EventsAsked, Query()],
    ) -> Accepted:
        """CloudEvents in binary or structured mode, batches of them, or one native event.

        Bodies may be packed with gzip. The answer comes when all replicas in sync have the messages; until
        then nothing is promised, and the same events may be sent again.
        """
        kind = asked.kind
        topic = _topic(context, kind)
        _check_token(context, request)
        body = await request.body()
        return await run_in_threadpool(_take, context, topic, kind, request, body)

    return router


def _take(
    context: Context, topic: str, kind: Literal["predictions", "labels"], request: Request, body: bytes
) -> Accepted:
    """Check events as the stream would read them, and send them."""
    headers = [
        (name, value.encode())
        for name, value in request.headers.items()
        if name.startswith("ce-") or name in KEPT
    ]
    message = Message(_unpacked(body, request, _options(context).max_bytes), headers, context.clock.now_ms())
    came_in = read_traceparent(request.headers.get(HEADER))
    with span(
        "take events in", {"messaging.destination.name": topic}, parent=came_in, kind="server"
    ) as taking:
        goes_on = taking.identity or came_in
        traced = () if goes_on is None else ((HEADER, goes_on.traceparent.encode()),)
        return _send(context, topic, kind, [_sent(one, traced) for one in _apart(message)])


def _send(
    context: Context, topic: str, kind: Literal["predictions", "labels"], messages: list[Sent]
) -> Accepted:
    _check_readable(context, topic, kind, messages)
    if context.door is None:
        what = "this process does not send to Kafka"
        raise Refused(503, what)
    try:
        context.door.send(topic, messages)
    except UsageError as error:
        raise Refused(413, str(error)) from error
    return Accepted(accepted=len(messages))


def _options(context: Context) -> HttpEvents:
    options = context.configuration.http.events
    if options is None:
        what = "events are not taken in by HTTP here"
        raise Refused(
            404, what, [Mistake(where="path", what=what, allowed="see http.events in the configuration")]
        )
    return options


def _topic(context: Context, kind: Literal["predictions", "labels"]) -> str:
    topic: str | None = getattr(_options(context), kind)
    if topic is None:
        what = f"{kind} are not taken in by HTTP here"
        raise Refused(404, what, [Mistake(where="query.kind", what=what, allowed=f"see http.events.{kind}")])
    return topic


def _check_token(context: Context, request: Request) -> None:
    pointer = _options(context).token_at
    if pointer is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    known, address, hash_ = secret(*pointer), request.state.address, hash_of(given.strip())
    context.guesses.check(address, hash_)
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), known.encode()):
        context.guesses.wrong(address, hash_)
        what = "the token is missing or wrong"
        raise Refused(
            401,
            what,
            [Mistake(where="header.authorization", what=what, allowed="Bearer TOKEN")],
            {"WWW-Authenticate": "Bearer"},
        )
    context.guesses.right(address, hash_)


def _unpacked(body: bytes, request: Request, most: int) -> bytes:
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding == "identity":
        return body
    if coding != "gzip":
        what = f"content-encoding {coding:.40} is not known"
        raise Refused(
            415, what, [Mistake(where="header.content-encoding", what=what, allowed="gzip, identity")]
        )
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(body, most)
    except zlib.error as error:
        what = f"the body is no gzip: {error}"
        raise Refused(400, what, [Mistake(where="body", what=what)]) from error
    if unpacker.unconsumed_tail:
        what = f"the body is too large unpacked (use at most {most} bytes)"
        raise Refused(413, what)
    if not unpacker.eof:
        what = "the body ends in the middle of its gzip"
        raise Refused(400, what, [Mistake(where="body", what=what)])
    return found


def _apart(message: Message) -> list[Message]:
    """One message for each CloudEvent of a batch."""
    if message.content_type != BATCH:
        return [message]
    try:
        document = message.document
    except EventError as error:
        raise Refused(400, str(error), [Mistake(where="body", what=str(error))]) from error
    if not isinstance(document, list) or not document:
        what = "a batch is a JSON array of at least one CloudEvent"
        raise Refused(422, what, [Mistake(where="body", what=what)])
    headers = [("content-type", STRUCTURED.encode())]
    return [Message(msgspec.json.encode(one), headers, message.timestamp_ms) for one in document]


def _sent(message: Message, traced: tuple[tuple[str, bytes], ...]) -> Sent:
    key = message.header("ce-id")
    if key is None:
        document = message.object_
        key = str(document.get("id") or document.get("event_id") or "")
    headers = [(name.replace("ce-", "ce_", 1), value or b"") for name, value in message.headers]
    return Sent(key, message.value, [*headers, *traced])


def _check_readable(
    context: Context, topic: str, kind: Literal["predictions", "labels"], messages: list[Sent]
) -> None:
    """Refuse what would only become dead letters."""
    stream = next(one for one in context.configuration.streams if one.topic == topic)
    reading, now_ms = stream.reading(), context.clock.now_ms()
    decoder = build(stream.format, reading)
    read = decoder.decode_labels if kind == "labels" else decoder.decode
    about = [Message(one.value, one.headers, now_ms, key=one.key.encode(), topic=topic) for one in messages]
    found = read([one.value for one in messages], about.__getitem__)
    if not found.problems:
        return
    mistakes = [
        Mistake(where=f"body[{at}]" if len(messages) > 1 else "body", what=reason)
        for at, reason in found.problems
    ]
    detail = f"{len(mistakes)} of {len(messages)} events cannot be read; none was taken in"
    raise Refused(422, detail, mistakes[:20])
