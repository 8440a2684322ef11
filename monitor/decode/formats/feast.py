"""Feast: logs of the feature server, with a prediction beside them.

References
----------
.. [1] Feast, sdk/python/feast/feature_logging.py.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from monitor.decode.flat import flat_event
from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Kind, Reading
from schemas.errors import EventError

_ID, _AT, _DATE = "__request_id", "__log_timestamp", "__log_date"
_USUAL = {"event_id": _ID, "timestamp": _AT, "prediction": "prediction", "label": "label"}
_BESIDE = ("__timestamp", "__status")


class Feast:
    """Columns ``view__feature``; those that tell time and status of a feature are none."""

    name: ClassVar[str] = "feast"
    order: ClassVar[int] = 60

    def matches(self, message: Message) -> bool:
        """Whether there are the columns that Feast adds."""
        return {_ID, _AT} <= message.object_.keys()

    def events(self, message: Message, reading: Reading, _kind: Kind) -> list[Event]:
        """Turn a record into an event."""
        record = message.document
        if not isinstance(record, dict):
            msg = f"feast: {type(record).__name__} (an object is allowed)"
            raise EventError(msg)
        return [flat_event(record, reading, _USUAL, left_out=_no_features(record))]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A record with an entity, a feature, and a prediction that the stream names."""
        record = {
            "driver_id": 1001,
            "stats__rate": 0.5,
            "stats__rate__timestamp": "2026-01-05T09:00:00Z",
            "stats__rate__status": 1,
            "risk": 0.25,
            _AT: "2026-01-05T10:00:00Z",
            _DATE: "2026-01-05",
            _ID: "f-1",
        }
        event: Event = {
            "event_id": "f-1",
            "timestamp": "2026-01-05T10:00:00+00:00",
            "features": {"driver_id": 1001, "stats__rate": 0.5},
            "prediction": 0.25,
        }
        reading = Reading(fields={"prediction": "risk"})
        return (Example(Message(msgspec.json.encode(record)), (event,), reading=reading),)


def _no_features(record: dict[str, Any]) -> frozenset[str]:
    """Columns that Feast adds to a record, and to each feature of it."""
    beside = {
        name for name in record for end in _BESIDE if name.endswith(end) and name.removesuffix(end) in record
    }
    return frozenset(beside | {_ID, _AT, _DATE})
