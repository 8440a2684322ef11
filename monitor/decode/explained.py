"""What becomes of a message: its format, the events in it in native form, or why it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monitor.decode.catalog import build, translated
from monitor.decode.halves import Half, Pair
from monitor.decode.message import Message
from monitor.decode.reading import Kind, Reading
from schemas.errors import EventError


@dataclass(frozen=True)
class Way:
    """How messages are read: format, kind, and what their stream says."""

    format: str
    kind: Kind
    reading: Reading


def explained(messages: list[Message], way: Way) -> dict[str, Any]:
    """Say what becomes of a message, or of two halves.

    Parameters
    ----------
    messages : list of Message
        One, or a request and its response in any order.
    way : Way

    Returns
    -------
    dict
        ``format``; ``events`` in native form; ``problems``, each a reason for a dead letter; of a half alone
        ``half``: its side, its key, and what it waits for.
    """
    decoder = translated(way.format, way.reading)
    found: dict[str, Any] = {"format": way.format, "events": [], "problems": []}
    try:
        read = [decoder.read(message, way.kind) for message in messages]
        found["format"] = read[0][0]
        halves = [half for _, half in read if isinstance(half, Half)]
        if len(messages) == 2:
            pair = Pair(halves[0].format if halves else "", *_in_order(halves, messages))
            found["events"] = decoder.join(pair)
            problems = decoder.decode_pairs([pair]).problems
        elif halves:
            found["half"] = _about(halves[0])
            return found
        else:
            found["events"] = decoder.translate(messages[0], way.kind)[1]
            made = build(way.format, way.reading)
            decode = made.decode_labels if way.kind == "labels" else made.decode
            problems = decode([messages[0].value], lambda _: messages[0]).problems
        found["problems"] = [reason for _, reason in problems]
    except EventError as error:
        found["problems"] = [str(error)]
    return found


def _in_order(halves: list[Half], messages: list[Message]) -> list[Message]:
    """A request and its response, in this order.

    Raises
    ------
    EventError
        If they are no pair.
    """
    if len(halves) < len(messages):
        msg = "one of the two is no request or response alone"
        raise EventError(msg)
    if halves[0].side == halves[1].side or halves[0].key != halves[1].key:
        shown = " and ".join(f"the {half.side} {half.key}" for half in halves)
        msg = f"{shown} are no pair"
        raise EventError(msg)
    return messages if halves[0].side == "request" else messages[::-1]


def _about(half: Half) -> dict[str, str]:
    return {"side": half.side, "key": half.key, "waits_for": half.other}
