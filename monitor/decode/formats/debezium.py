"""Debezium: changes of the rows of a table, with or without the schema of Kafka Connect.

References
----------
.. [1] Debezium, "Data change events" of the connectors: ``before``, ``after``, ``op``, ``source``, ``ts_ms``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from monitor.decode.bodies import first_of, read_json
from monitor.decode.flat import flat_event
from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Reading
from schemas.errors import EventError

_KEPT = ("c", "u", "r")  # created, updated, read in a snapshot
_OTHERS = {"d": "a deleted row", "t": "a truncated table", "m": "a message without a row"}


class Debezium:
    """Takes out the row as it is after the change; the time of the change stands for one that it lacks."""

    name: ClassVar[str] = "debezium"
    order: ClassVar[int] = 20

    def matches(self, message: Message) -> bool:
        """Whether there are an operation and a row, and what Debezium tells of them."""
        change = _payload(message.object_)
        if not isinstance(change, dict) or change.get("op") not in (*_KEPT, *_OTHERS):
            return False
        keys = change.keys()
        return bool({"before", "after"} & keys) and (
            "ts_ms" in keys or isinstance(change.get("source"), dict)
        )

    def unwrap(self, message: Message, reading: Reading) -> list[tuple[Message, Event]]:
        """Return the row after the change, as a native event if the stream's `fields` name any of it."""
        change = None if not message.value and not message.is_read else _payload(message.document)
        if change is None:
            msg = "debezium: a tombstone (a deleted row is no event)"
            raise EventError(msg)
        if not isinstance(change, dict):
            msg = f"debezium: {type(change).__name__} (an object is allowed)"
            raise EventError(msg)
        row = _row(change)
        if not set(reading.fields.values()).isdisjoint(row):
            row = flat_event(row, reading, {})
        return [(message.holding(row), {"timestamp": first_of((change, change.get("source")), "ts_ms")})]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A row that was created, one that was updated, with its schema, and one in native form."""
        source = {
            "version": "3.0.0.Final",
            "connector": "postgresql",
            "name": "crm",
            "ts_ms": 1_767_607_199_000,
        }
        about = {"before": None, "source": source, "ts_ms": 1_767_607_200_000, "transaction": None}
        created = {**about, "op": "c", "after": {"customer": 7, "label": 1, "age": 40}}
        updated = {**about, "op": "u", "after": {"customer": 7, "label": 0, "at": 1_767_607_100_000_000}}
        native = {**about, "op": "r", "after": {"event_id": "a", "model": "m", "prediction": 1}}
        label = {"event_id": "7", "label": 1, "timestamp": 1_767_607_200_000, "features": {"age": 40}}
        changed = {"event_id": "7", "label": 0, "timestamp": 1_767_607_100_000}
        of_native = {"event_id": "a", "model": "m", "timestamp": 1_767_607_200_000, "prediction": 1}
        reading = Reading(fields={"event_id": "customer", "label": "label", "timestamp": "at"})
        with_schema = {"schema": {"type": "struct", "fields": []}, "payload": updated}
        return (
            Example(Message(msgspec.json.encode(created)), (label,), "labels", reading),
            Example(Message(msgspec.json.encode(with_schema)), (changed,), "labels", reading),
            Example(Message(msgspec.json.encode(native)), (of_native,)),
        )


def _payload(document: Any) -> Any:
    """The envelope, out of that of Kafka Connect."""
    if isinstance(document, dict) and "op" not in document and {"schema", "payload"} >= document.keys():
        return document.get("payload", document)
    return document


def _row(change: dict[str, Any]) -> dict[str, Any]:
    operation, row = change.get("op"), change.get("after")
    if isinstance(operation, str) and operation in _OTHERS:
        msg = f"debezium: op {operation!r}: {_OTHERS[operation]} is no event"
        raise EventError(msg)
    if operation not in _KEPT:
        msg = f"debezium: op {operation!r:.40} (use one of {', '.join(_KEPT)})"
        raise EventError(msg)
    row = read_json(row, "debezium: after")  # connectors of document databases write a text
    if not isinstance(row, dict):
        msg = f"debezium: after: {type(row).__name__} (an object, the row, is allowed)"
        raise EventError(msg)
    return row
