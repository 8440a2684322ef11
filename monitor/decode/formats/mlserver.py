"""Messages of MLServer's Kafka server: requests in one topic, responses in another, in JSON of protocol V2.

References
----------
.. [1] Seldon, "MLServer", mlserver/kafka and mlserver/cloudevents.py.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from monitor.decode.exchange import exchange_events, times_of
from monitor.decode.halves import Half, Side, request_id
from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Reading
from schemas.errors import EventError

TYPES: dict[str, Side] = {
    "io.seldon.serving.inference.request": "request",
    "io.seldon.serving.inference.response": "response",
}
_UNKNOWN = "NOTIMPLEMENTED"  # what MLServer writes for what its environment does not tell


class MLServer:
    """Halves with the same id; topics of a pair are called alike, up to ``input`` and ``output``."""

    name: ClassVar[str] = "mlserver"
    order: ClassVar[int] = 6

    def matches(self, message: Message) -> bool:
        """Whether headers say so: requests of clients need none but the model's."""
        return message.header("ce-type") in TYPES or message.header("mlserver-model") is not None

    def half(self, message: Message) -> Half:
        """Side by the type, else by the body; the key of a request goes before the id in its body."""
        document = message.document
        if not isinstance(document, dict):
            msg = f"mlserver: {type(document).__name__} (an object is allowed)"
            raise EventError(msg)
        side = TYPES.get(message.header("ce-type") or "") or _side(document)
        id_ = message.header("ce-requestid") or document.get("id")
        if side == "request" and message.key and not message.header("ce-requestid"):
            id_ = message.key.decode("utf-8", "replace")
        return Half(self.name, side, _scope(message.topic), request_id(id_, "mlserver: Ce-Requestid or id"))

    def joined(self, request: Message, response: Message, reading: Reading) -> list[Event]:
        """Turn each row into an event."""
        headers = {
            "model_name": _told(request, "mlserver-model") or _told(response, "ce-modelid"),
            "model_version": _told(request, "mlserver-version"),
        }
        id_ = self.half(request).id
        events = exchange_events(
            request.document, response.document, reading, id_=id_, beside=headers, where=self.name
        )
        times = times_of(request.header("ce-time"), response.header("ce-time"))
        return [{**times, **event} for event in events]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A request whose key is its id, two rows of a client without a key, and a request with a type."""
        one = _request("ignored", [1, 2], [1.5, 2.0])
        two = _request("c-8", [2, 2], [1.5, 2.0, 3.5, 4.0])
        first: Event = {"model": "iris", "version": "v2", "features": {"a": 1.5, "b": 2.0}, "prediction": 0}
        second = {**first, "features": {"a": 3.5, "b": 4.0}, "prediction": 1}
        client = [("mlserver-model", b"iris"), ("mlserver-version", b"v2")]
        typed = [*client, ("ce_type", b"io.seldon.serving.inference.request"), ("ce_requestid", b"c-9")]
        return (
            _example(Message(one, client, key=b"c-7"), _response("c-7", [0]), {**first, "event_id": "c-7"}),
            _example(
                Message(two, client),
                _response("c-8", [0, 1]),
                {**first, "event_id": "c-8:0"},
                {**second, "event_id": "c-8:1"},
            ),
            _example(Message(one, typed), _response("c-9", [0]), {**first, "event_id": "c-9"}),
        )


def _example(request: Message, response: Message, *events: Event) -> Example:
    request.topic, response.topic = "mlserver-input", "mlserver-output"
    return Example(request, events, reading=Reading(inputs=("a", "b")), other=response)


def _request(id_: str, shape: list[int], data: list[float]) -> bytes:
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}
    return msgspec.json.encode({"id": id_, "inputs": [tensor]})


def _response(id_: str, data: list[int]) -> Message:
    tensor = {"name": "predict", "shape": [len(data)], "datatype": "INT64", "data": data, "parameters": None}
    body = {"model_name": "iris", "model_version": "v2", "id": id_, "parameters": None, "outputs": [tensor]}
    headers = {
        "Ce-Id": id_, "Ce-Specversion": "0.3", "Ce-Type": "io.seldon.serving.inference.response",
        "Ce-Source": f"io.seldon.serving.deployment.{_UNKNOWN}.{_UNKNOWN}", "Ce-Requestid": id_,
        "Ce-Modelid": _UNKNOWN,
    }  # fmt: skip
    encoded = [(name, value.encode()) for name, value in headers.items()]
    return Message(msgspec.json.encode(body), encoded, key=id_.encode())


def _side(document: dict[str, Any]) -> Side:
    """Side of a message without a type; a request may have outputs too, which it asks for."""
    if "inputs" in document:
        return "request"
    if "outputs" in document or "error" in document:
        return "response"
    msg = "mlserver: neither inputs nor outputs"
    raise EventError(msg)


def _scope(topic: str) -> str:
    for end in ("inputs", "input", "outputs", "output", "requests", "request", "responses", "response"):
        if topic.lower().endswith(end):
            return topic[: -len(end)].rstrip("-_.")
    return ""


def _told(message: Message, header: str) -> str | None:
    found = message.header(header)
    return None if found == _UNKNOWN else found or None
