"""Says which events the messages of dead letters hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from monitor.config import Configuration
from monitor.config.service import Stream
from monitor.dead_letters.letters import read_headers
from monitor.decode import catalog
from monitor.decode.envelope import Decoder, Envelopes
from monitor.decode.message import Message
from monitor.store.engine import reading
from monitor.store.tables import dead_letter

AT_ONCE = 200  # each holds a message of up to 1 MiB


@dataclass(frozen=True)
class Held:
    """One event in a message; a label says no version."""

    model: str
    version: str | None
    id_hash: int


@dataclass(frozen=True)
class ReadLetter:
    """One dead letter.

    Parameters
    ----------
    id : int
    row : object
        Of the table ``dead_letter``.
    events : tuple of Held
        Empty if its message cannot be read, or is half of an exchange.
    model : str or None
        What its stream says of events that name no model.
    """

    id: int
    row: Any
    events: tuple[Held, ...]
    model: str | None


def letters(configuration: Configuration, engine: Engine) -> Iterator[ReadLetter]:
    """Read all dead letters, by id.

    Raises
    ------
    Unavailable
        If the database is away, or a schema registry that messages need.
    """
    streams = {stream.topic: stream for stream in configuration.streams}
    decoders = {topic: catalog.build(one.format, one.reading()) for topic, one in streams.items()}
    last = -1
    while True:
        query = select(dead_letter).where(dead_letter.c.id > last).order_by(dead_letter.c.id).limit(AT_ONCE)
        with reading(engine) as connection:
            rows = list(connection.execute(query))
        if not rows:
            return
        last = rows[-1].id
        by_topic: dict[str, list[Any]] = {}
        for row in rows:
            by_topic.setdefault(row.topic, []).append(row)
        for topic, mine in by_topic.items():
            stream = streams.get(topic)
            found = [()] * len(mine) if stream is None else _events(stream, decoders[topic], mine)
            for row, events in zip(mine, found, strict=True):
                yield ReadLetter(row.id, row, tuple(events), None if stream is None else stream.model)


def _events(stream: Stream, decoder: Decoder, rows: Sequence[Any]) -> list[list[Held]]:
    messages = [
        Message(
            bytes(row.value), read_headers(row.headers), row.timestamp_ms or 0,
            key=None if row.key is None else bytes(row.key), topic=row.topic,
        )
        for row in rows
    ]  # fmt: skip
    read = decoder.decode_labels if stream.kind == "labels" else decoder.decode
    found = read([message.value for message in messages], lambda at: messages[at])
    events: list[list[Held]] = [[] for _ in rows]
    versions = found.version if isinstance(found, Envelopes) else [None] * len(found)
    columns = (found.row.tolist(), found.model, versions, found.id_hash.tolist())
    for at, model, version, hash_ in zip(*columns, strict=True):
        events[at].append(Held(model, version, hash_))
    return events
