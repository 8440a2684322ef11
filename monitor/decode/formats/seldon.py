"""Messages of Seldon Core 2: inputs and outputs of models and pipelines, each in a topic, in Protobuf.

References
----------
.. [1] Seldon, "Seldon Core 2", Kafka integration: topics and headers.
.. [2] KServe, "Open Inference Protocol", specification/protocol/open_inference_grpc.proto.
"""

from __future__ import annotations

import re
import struct
from typing import Any, ClassVar

from monitor.decode.exchange import exchange_events, times_of
from monitor.decode.halves import Half, Side, request_id
from monitor.decode.inference_protobuf import MESSAGES, document_of
from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Reading
from schemas.errors import EventError

_TOPIC = re.compile(r"(?P<scope>.+?\.(?:model|pipeline)\.(?P<name>.+))\.(?P<end>inputs|outputs)")
_SIDES: dict[str, Side] = {"inputs": "request", "outputs": "response"}


class Seldon:
    """Halves with the same ``x-request-id``, in topics of the same model or pipeline."""

    name: ClassVar[str] = "seldon"
    order: ClassVar[int] = 7

    def matches(self, message: Message) -> bool:
        """Whether the topic is called as Seldon does, and there is an id; the bytes alone do not tell."""
        return _TOPIC.fullmatch(message.topic) is not None and message.header("x-request-id") is not None

    def half(self, message: Message) -> Half:
        """Side and scope by the topic."""
        found = _TOPIC.fullmatch(message.topic)
        if found is None:
            msg = f"seldon: topic {message.topic!r:.99} (seldon.NAMESPACE.model|pipeline.NAME.inputs|outputs)"
            raise EventError(msg)
        side = _SIDES[found["end"]]
        _document(message, side)
        id_ = request_id(message.header("x-request-id"), "seldon: header x-request-id")
        return Half(self.name, side, found["scope"], id_)

    def joined(self, request: Message, response: Message, reading: Reading) -> list[Event]:
        """Turn each row into an event of the model or pipeline that the topics name."""
        found = _TOPIC.fullmatch(request.topic)
        inputs, outputs = _document(request, "request"), _document(response, "response")
        if found is not None:
            outputs["model_name"] = found["name"]
        id_ = self.half(request).id
        events = exchange_events(inputs, outputs, reading, id_=id_, beside={}, where=self.name)
        times = times_of(request.header("ce-time"), response.header("ce-time"))
        return [{**times, **event} for event in events]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Typed contents of a model with two rows, and raw contents of a pipeline with texts."""
        return (_typed(), _raw())


def _typed() -> Example:
    request: Any = MESSAGES["request"](model_name="iris_1", id="body")
    tensor = request.inputs.add(name="predict", datatype="FP32", shape=[2, 2])
    tensor.contents.fp32_contents.extend([1.5, 2.0, 3.5, 4.0])
    response: Any = MESSAGES["response"](model_name="iris_1", model_version="1", id="body")
    tensor = response.outputs.add(name="predict", datatype="INT64", shape=[2, 1])
    tensor.contents.int64_contents.extend([0, 1])
    both: Event = {"model": "iris", "version": "1"}
    events: tuple[Event, ...] = (
        {**both, "event_id": "s-1:0", "features": {"a": 1.5, "b": 2.0}, "prediction": 0},
        {**both, "event_id": "s-1:1", "features": {"a": 3.5, "b": 4.0}, "prediction": 1},
    )
    messages = _messages("seldon.default.model.iris", b"s-1", request, response)
    return Example(messages[0], events, reading=Reading(inputs=("a", "b")), other=messages[1])


def _raw() -> Example:
    request: Any = MESSAGES["request"]()
    request.inputs.add(name="temp", datatype="FP64", shape=[1])
    request.inputs.add(name="carrier", datatype="BYTES", shape=[1])
    request.raw_input_contents.extend([struct.pack("<d", 39.5), b"\x02\x00\x00\x00UA"])
    response: Any = MESSAGES["response"]()
    response.outputs.add(name="delay", datatype="FP32", shape=[1])
    response.raw_output_contents.append(struct.pack("<f", 12.5))
    features = {"temp": 39.5, "carrier": "UA"}
    event = {"model": "flights", "event_id": "s-2", "features": features, "prediction": 12.5}
    messages = _messages("seldon.ns.pipeline.flights", b"s-2", request, response)
    return Example(messages[0], (event,), other=messages[1])


def _messages(scope: str, id_: bytes, request: Any, response: Any) -> list[Message]:
    headers = [("x-request-id", id_), ("pipeline", b"flights")]
    return [
        Message(body.SerializeToString(deterministic=True), headers, topic=f"{scope}.{end}")
        for end, body in (("inputs", request), ("outputs", response))
    ]


def _document(message: Message, side: Side) -> dict[str, Any]:
    try:
        return document_of(message.value, side)
    except EventError as error:
        msg = f"seldon: {error}"
        raise EventError(msg) from error
