"""Driftline's own JSON, among other formats; a stream of it alone is read by `monitor.decode.json`."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Kind, Reading
from schemas.errors import EventError

_USUAL = frozenset({"event_id", "prediction", "label", "features"})


class Native:
    """One JSON object an event."""

    name: ClassVar[str] = "json"
    order: ClassVar[int] = 90

    def matches(self, message: Message) -> bool:
        """Whether there is a field that only native events have."""
        return bool(_USUAL & message.object_.keys())

    def events(self, message: Message, _reading: Reading, _kind: Kind) -> list[Event]:
        """Return the event as it is."""
        document = message.document
        if not isinstance(document, dict):
            msg = f"Expected `object`, got `{type(document).__name__}`"
            raise EventError(msg)
        return [document]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A prediction and a label."""
        prediction = {
            "event_id": "f-1",
            "model": "m",
            "timestamp": 5,
            "prediction": 1,
            "features": {"a": 1.5},
        }
        label = {"event_id": "f-1", "model": "m", "timestamp": 9, "label": "late"}
        return (
            Example(Message(msgspec.json.encode(prediction)), (prediction,)),
            Example(Message(msgspec.json.encode(label)), (label,), "labels"),
        )
