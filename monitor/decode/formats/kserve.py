"""Events of KServe's inference logger: a request and its response, with the same id, in protocol V1 or V2.

References
----------
.. [1] KServe, "Inference Logger".
.. [2] CloudEvents, "HTTP Protocol Binding", version 1.0.2, binary content mode.
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
    "org.kubeflow.serving.inference.request": "request",
    "org.kubeflow.serving.inference.response": "response",
}
_SCOPE = ("namespace", "inferenceservicename", "component", "endpoint")


class KServe:
    """Halves with the same id, of the same component of a service; also in structured mode."""

    name: ClassVar[str] = "kserve"
    order: ClassVar[int] = 5

    def matches(self, message: Message) -> bool:
        """Whether the type of the CloudEvent is one of the logger's."""
        return _attribute(message, "type") in TYPES

    def half(self, message: Message) -> Half:
        """Side by the type; components behind each other pass the id on, so it is unique in each alone."""
        type_ = _attribute(message, "type") or ""
        side = TYPES.get(type_)
        if side is None:
            msg = f"kserve: ce-type {type_!r:.80} (use {' or '.join(TYPES)})"
            raise EventError(msg)
        scope = "/".join(_attribute(message, name) or "" for name in _SCOPE)
        _body(message, side)
        return Half(self.name, side, scope, request_id(_attribute(message, "id"), "kserve: ce-id"))

    def joined(self, request: Message, response: Message, reading: Reading) -> list[Event]:
        """Turn each row into an event; the service is the model, unless the response names one."""
        events = exchange_events(
            _body(request, "request"),
            _body(response, "response"),
            reading,
            id_=request_id(_attribute(request, "id"), "kserve: ce-id"),
            beside={"model_name": _attribute(response, "inferenceservicename")},
            where=self.name,
        )
        times = times_of(_attribute(request, "time"), _attribute(response, "time"))
        return [{**times, **event} for event in events]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Protocol V1 with two instances, V2, V1 with an error, and structured mode."""
        instances = {"instances": [[6.8, 2.8], [6.0, 3.4]]}
        tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [6.8, 2.8]}
        out = {"name": "predict", "shape": [1, 1], "datatype": "INT64", "data": [1]}
        answer = {"model_name": "sklearn-iris", "model_version": "3", "id": "other", "outputs": [out]}
        when = {"model": "sklearn-iris", "timestamp": "2026-01-05T10:00:00Z", "latency_ms": 12.5}
        first, second = {"x": 6.8, "y": 2.8}, {"x": 6.0, "y": 3.4}
        v1: tuple[Event, ...] = (
            {"event_id": "k-1:0", **when, "features": first, "prediction": 1},
            {"event_id": "k-1:1", **when, "features": second, "prediction": 2},
        )
        v2 = {"event_id": "k-2", "version": "3", **when, "features": first, "prediction": 1}
        failed = {"event_id": "k-3", **when, "features": first, "error": "out of memory"}
        whole = {"event_id": "k-4", **when, "features": first, "prediction": 1}
        return (
            _example("k-1", instances, {"predictions": [1, 2]}, *v1),
            _example("k-2", {"inputs": [tensor]}, answer, v2),
            _example("k-3", {"instances": [[6.8, 2.8]]}, {"error": "out of memory"}, failed),
            _example("k-4", {"instances": [[6.8, 2.8]]}, {"predictions": [1]}, whole, is_binary=False),
        )


def _example(id_: str, request: Any, response: Any, *events: Event, is_binary: bool = True) -> Example:
    messages = []
    times = ("2026-01-05T10:00:00Z", "2026-01-05T10:00:00.0125Z")
    for type_, body, time in zip(TYPES, (request, response), times, strict=True):
        attributes = {
            "specversion": "1.0", "id": id_, "type": type_, "time": time, "source": "http://localhost:9081/",
            "inferenceservicename": "sklearn-iris", "namespace": "default", "component": "predictor",
            "endpoint": "default",
        }  # fmt: skip
        if is_binary:
            headers = [(f"ce-{name}", value.encode()) for name, value in attributes.items()]
            headers.append(("content-type", b"application/json"))
            messages.append(Message(msgspec.json.encode(body), headers))
        else:
            document = {**attributes, "data": body}
            messages.append(
                Message(msgspec.json.encode(document), [("content-type", b"application/cloudevents+json")])
            )
    return Example(messages[0], events, reading=Reading(inputs=("x", "y")), other=messages[1])


def _is_binary(message: Message) -> bool:
    return message.header("ce-type") is not None


def _attribute(message: Message, name: str) -> str | None:
    if _is_binary(message):
        return message.header(f"ce-{name}")
    document = message.object_
    found = document.get(name) if "specversion" in document else None
    return found if isinstance(found, str) else None


def _body(message: Message, side: Side) -> Any:
    if _is_binary(message):
        return message.document
    if "data" not in message.object_:
        msg = f"kserve: {side}: data: required"
        raise EventError(msg)
    return message.object_["data"]
