"""CloudEvents 1.0 on Kafka: binary (attributes in headers), structured, and batches; with data of any format.

References
----------
.. [1] CloudEvents, "Kafka Protocol Binding", version 1.0.2.
.. [2] CloudEvents, "JSON Event Format", version 1.0.2.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, ClassVar

import msgspec

from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Reading
from schemas.errors import EventError

_STRUCTURED, _BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_REQUIRED = ("specversion", "id", "source", "type")


class CloudEvents:
    """Takes the data out; the event's id and time stand for those that the data do not have."""

    name: ClassVar[str] = "cloudevents"
    order: ClassVar[int] = 10

    def matches(self, message: Message) -> bool:
        """Whether headers say so, or the JSON object has all that a CloudEvent must have."""
        if message.content_type in (_STRUCTURED, _BATCH) or message.header("ce-specversion") is not None:
            return True
        return all(isinstance(message.object_.get(name), str) for name in _REQUIRED)

    def unwrap(self, message: Message, _reading: Reading) -> list[tuple[Message, Event]]:
        """Return the data of each event, with what its attributes tell."""
        if message.header("ce-specversion") is not None and message.content_type not in (_STRUCTURED, _BATCH):
            attributes = {
                key.lower().replace("_", "-").removeprefix("ce-"): value.decode("utf-8", "replace")
                for key, value in message.headers
                if value is not None and key.lower().replace("_", "-").startswith("ce-")
            }
            rest = [h for h in message.headers if not h[0].lower().replace("_", "-").startswith("ce-")]
            inner = Message(message.value, rest, message.timestamp_ms)
            if message.is_read:
                inner = inner.holding(message.document)
            return [(inner, _told(attributes))]
        document = message.document
        if message.content_type == _BATCH or isinstance(document, list):
            if not isinstance(document, list):
                msg = "cloudevents: a batch is a JSON array"
                raise EventError(msg)
            return [self._structured(one, message, f"[{at}]") for at, one in enumerate(document)]
        return [self._structured(document, message, "")]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Binary mode, structured mode, data in base64, and a batch."""
        (one, event), (two, other) = _native("A234"), _native("B7")
        attributes = {"specversion": "1.0", "source": "/serving", "type": "org.example.predicted"}
        when = {"time": "2026-01-05T10:00:00Z", "datacontenttype": "application/json"}
        envelope = {**attributes, **when, "id": "A234"}
        headers = [(f"ce_{name}", str(value).encode()) for name, value in envelope.items()]
        binary = [*headers, ("content-type", b"application/json")]
        structured = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
        coded = {**envelope, "data_base64": base64.b64encode(msgspec.json.encode(one)).decode()}
        batch = [{**envelope, "data": one}, {**envelope, "id": "B7", "data": two}]
        return (
            Example(Message(msgspec.json.encode(one), binary), (event,)),
            Example(Message(msgspec.json.encode({**envelope, "data": one}), structured), (event,)),
            Example(Message(msgspec.json.encode({**envelope, "data": one})), (event,)),
            Example(Message(msgspec.json.encode(coded)), (event,)),
            Example(Message(msgspec.json.encode(batch), [("content-type", _BATCH.encode())]), (event, other)),
        )

    def _structured(self, document: Any, message: Message, place: str) -> tuple[Message, Event]:
        if not isinstance(document, dict):
            msg = f"cloudevents{place}: {type(document).__name__} (an object is allowed)"
            raise EventError(msg)
        missing = [name for name in _REQUIRED if not isinstance(document.get(name), str)]
        if missing:
            msg = f"cloudevents{place}: {', '.join(missing)}: required"
            raise EventError(msg)
        return _data(document, message, place), _told(document)


def _native(id_: str) -> tuple[Event, Event]:
    """Data without an id and a time, and the event that they become."""
    data: Event = {"model": "m", "prediction": 1, "features": {"a": 1.5}}
    return data, {"event_id": id_, "timestamp": "2026-01-05T10:00:00Z", **data}


def _data(document: dict[str, Any], message: Message, place: str) -> Message:
    if "data_base64" in document:
        try:
            return Message(base64.b64decode(document["data_base64"], validate=True), (), message.timestamp_ms)
        except (binascii.Error, TypeError, ValueError) as error:
            msg = f"cloudevents{place}: data_base64: {error}"
            raise EventError(msg) from error
    if "data" not in document:
        msg = f"cloudevents{place}: data: required"
        raise EventError(msg)
    data = document["data"]
    content_type = str(document.get("datacontenttype", "application/json"))
    if isinstance(data, str) and not content_type.endswith("json"):
        return Message(data.encode(), (), message.timestamp_ms)
    return Message(b"", (), message.timestamp_ms).holding(data)


def _told(attributes: dict[str, Any]) -> Event:
    told: Event = {"event_id": attributes.get("id")}
    if attributes.get("time"):
        told["timestamp"] = attributes["time"]
    # KServe names the service; others may name the model as an extension.
    model = attributes.get("model") or attributes.get("inferenceservicename")
    if isinstance(model, str):
        told["model"] = model
    return told
