"""BentoML: records of ``bentoml.monitor``, as its default monitor and its OTLP monitor write them.

References
----------
.. [1] BentoML, src/bentoml/_internal/monitoring/default.py and otlp.py.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from monitor.decode.bodies import first_of
from monitor.decode.flat import flat_event
from monitor.decode.message import Event, Message
from monitor.decode.outputs import outputs_of
from monitor.decode.reading import Example, Kind, Reading
from schemas.errors import EventError

_META = "bento_meta"
_USUAL = {"event_id": "request_id", "timestamp": "timestamp"}
_NOT_FEATURES = frozenset({"request_id", "timestamp", "trace_id", _META})
_NATIVE = frozenset({"event_id", "features"})
_UNKNOWN = "not available"  # how BentoML writes a version that it does not know


class BentoML:
    """Columns side by side; the OTLP monitor says which of them are features, predictions and targets."""

    name: ClassVar[str] = "bentoml"
    order: ClassVar[int] = 62

    def matches(self, message: Message) -> bool:
        """Whether there are the columns that BentoML adds, and none of Driftline's own."""
        record = message.object_
        is_bento = "trace_id" in record or isinstance(record.get(_META), dict)
        return is_bento and {"timestamp", "request_id"} <= record.keys() and not _NATIVE & record.keys()

    def events(self, message: Message, reading: Reading, kind: Kind) -> list[Event]:
        """Turn a record into an event."""
        record = message.document
        if not isinstance(record, dict):
            msg = f"bentoml: {type(record).__name__} (an object is allowed)"
            raise EventError(msg)
        roles, known = _roles(record), _known(record)
        usual = {**_USUAL, "prediction": "pred" if "pred" in record else "prediction"}
        targets = [name for name, role in roles.items() if role == "target" and name in record]
        usual["label"] = targets[0] if targets else "target"
        predicted = {
            name: record[name] for name, role in roles.items() if role == "prediction" and name in record
        }
        other = frozenset(name for name, role in roles.items() if role != "feature")
        event = known | flat_event(record, reading, usual, left_out=_NOT_FEATURES | other)
        if kind == "labels":
            return [event]
        event.pop("label", None)
        return [event | outputs_of(predicted, reading)] if predicted else [event]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A record of each monitor, and the label of the second."""
        columns = {"sepal length": 4.9, "species code": "b", "pred": "setosa"}
        ids = {"timestamp": "2026-01-05T10:00:00", "request_id": "6413930528999883196", "trace_id": "77"}
        schema = {
            name: {"name": name, "role": role, "type": "numerical"}
            for name, role in (("age", "feature"), ("y", "prediction"), ("truth", "target"))
        }
        meta = {"bento_name": "m", "bento_version": _UNKNOWN, "monitor_name": "p", "schema": schema}
        otlp = {"age": 40, "y": 0.5, "truth": 1, "timestamp": 1_767_607_200.5, "request_id": "8", _META: meta}
        told = {"event_id": ids["request_id"], "timestamp": "2026-01-05T10:00:00+00:00"}
        plain: Event = {
            **told,
            "features": {"sepal length": 4.9, "species code": "b"},
            "prediction": "setosa",
        }
        other: Event = {
            "event_id": "8",
            "model": "m",
            "timestamp": 1_767_607_200_500,
            "features": {"age": 40},
        }
        return (
            Example(Message(msgspec.json.encode({**columns, **ids})), (plain,)),
            Example(Message(msgspec.json.encode(otlp)), ({**other, "prediction": 0.5},)),
            Example(Message(msgspec.json.encode(otlp)), ({**other, "label": 1},), "labels"),
        )


def _roles(record: dict[str, Any]) -> dict[str, str]:
    """Roles of columns by name; empty where the record does not tell."""
    meta = record.get(_META)
    schema = meta.get("schema") if isinstance(meta, dict) else None
    columns = schema if isinstance(schema, dict) else {}
    return {name: str(one.get("role")) for name, one in columns.items() if isinstance(one, dict)}


def _known(record: dict[str, Any]) -> Event:
    meta = record.get(_META)
    model, version = first_of((meta,), "bento_name"), first_of((meta,), "bento_version")
    known = {"model": model, "version": None if version == _UNKNOWN else version}
    return {name: str(value) for name, value in known.items() if value is not None}
