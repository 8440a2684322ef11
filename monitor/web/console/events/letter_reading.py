"""How a dead letter would be read today: its format and events, or why it still cannot be."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime

from alerting.finding import epoch_ms
from monitor.config import Configuration
from monitor.decode.explained import Way, explained
from monitor.decode.message import Message
from monitor.web.api.dead_letters import DeadLetter
from monitor.web.console.events.hex_dump import visible
from monitor.web.console.personal import personal_columns, without_personal
from schemas.errors import DriftlineError

SHOWN_EVENTS = 10
SHOWN_SIGNS = 16_384


@dataclass(frozen=True)
class LetterReading:
    """What the decoder makes of a letter now.

    Parameters
    ----------
    why_not : str
        Why it was not read at all; empty if it was.
    asks_registry : bool
        Whether it was not read because that asks the schema registry, which a person has to want.
    format : str
        How it is written, as far as that was found out.
    events : tuple of str
        In native form, as JSON; personal columns hidden.
    events_total : int
    problems : tuple of str
        Why it would be a dead letter again; empty if it would be taken in.
    half : str
        What it waits for, if it is a request or a response alone.
    """

    why_not: str = ""
    asks_registry: bool = False
    format: str = ""
    events: tuple[str, ...] = ()
    events_total: int = 0
    problems: tuple[str, ...] = ()
    half: str = ""


def read_letter(configuration: Configuration, letter: DeadLetter, *, may_ask: bool) -> LetterReading:
    """Read a letter as the configuration of today says.

    Parameters
    ----------
    configuration : Configuration
    letter : DeadLetter
        Whole.
    may_ask : bool
        Whether the schema registry may be asked, if the stream needs one.
    """
    if letter.is_cut:
        return LetterReading("only the beginning of the message is stored")
    stream = next((one for one in configuration.streams if one.topic == letter.topic), None)
    if stream is None:
        return LetterReading(f"{letter.topic} is no stream of the configuration any more")
    if not may_ask and configuration.registry is not None and stream.format != "json":
        return LetterReading("reading it may ask the schema registry", asks_registry=True)
    try:
        found = explained([_message(letter)], Way(stream.format, stream.kind, stream.reading()))
    except DriftlineError as error:
        return LetterReading(str(error).splitlines()[0])
    half = found.get("half")
    events = [_shown(configuration, event) for event in found["events"][:SHOWN_EVENTS]]
    return LetterReading(
        format=found["format"],
        events=tuple(events),
        events_total=len(found["events"]),
        problems=tuple(dict.fromkeys(found["problems"])),
        half=f"a {half['side']} that waits for its {half['waits_for']}" if half else "",
    )


def _message(letter: DeadLetter) -> Message:
    headers = tuple((one.name, base64.b64decode(one.value_base64)) for one in letter.headers)
    key = None if letter.key_base64 is None else base64.b64decode(letter.key_base64)
    at_ms = 0 if letter.timestamp is None else epoch_ms(datetime.fromisoformat(letter.timestamp))
    return Message(base64.b64decode(letter.value_base64), headers, at_ms, key=key, topic=letter.topic)


def _shown(configuration: Configuration, event: dict[str, object]) -> str:
    hidden = personal_columns(configuration, str(event.get("model", "")))
    text = json.dumps(without_personal(event, hidden), ensure_ascii=False, default=str, indent=2)
    return visible(text) if len(text) <= SHOWN_SIGNS else f"{visible(text[:SHOWN_SIGNS])}\n…"
