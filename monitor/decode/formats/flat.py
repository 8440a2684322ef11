"""Records with everything side by side, and fields that the stream names."""

from __future__ import annotations

from typing import ClassVar

from monitor.decode.flat import flat_event
from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Kind, Reading
from schemas.errors import EventError


class Flat:
    """JSON objects of one's own making: ``fields`` of the stream says which field is what."""

    name: ClassVar[str] = "flat"
    order: ClassVar[int] = 99

    def matches(self, _message: Message) -> bool:
        """Never: only the stream can tell."""
        return False

    def events(self, message: Message, reading: Reading, _kind: Kind) -> list[Event]:
        """Turn an object, or each of a list of objects, into an event."""
        document = message.document
        records = document if isinstance(document, list) else [document]
        for record in records:
            if not isinstance(record, dict):
                msg = f"flat: {type(record).__name__} (an object is allowed)"
                raise EventError(msg)
        return [flat_event(record, reading, {}) for record in records]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A record of one's own making."""
        fields = {"event_id": "key", "timestamp": "at", "prediction": "y", "model": "name"}
        value = b'{"key": 7, "name": "m", "at": 1767225600.5, "y": 0.25, "age": 40, "city": "Ulm"}'
        event = {
            "event_id": "7",
            "model": "m",
            "timestamp": 1_767_225_600_500,
            "prediction": 0.25,
            "features": {"age": 40, "city": "Ulm"},
        }
        return (Example(Message(value), (event,), reading=Reading(fields=fields), is_recognised=False),)
