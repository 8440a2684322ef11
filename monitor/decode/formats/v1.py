"""Prediction protocol, version 1, of KServe and TensorFlow Serving: instances and predictions in one message.

References
----------
.. [1] KServe, "Data Plane: V1 Inference Protocol".
.. [2] TensorFlow Serving, "RESTful API", row format of the predict API.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from monitor.decode.bodies import feature_rows, first_of, output_rows, row_events
from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Kind, Reading
from schemas.errors import EventError


class V1:
    """One event for each instance; the protocol has no names of models, and no ids."""

    name: ClassVar[str] = "v1"
    order: ClassVar[int] = 45

    def matches(self, message: Message) -> bool:
        """Whether there are lists of instances and of predictions, in one object or in two."""
        request, response, _ = _parts(message.object_)
        return isinstance(request.get("instances"), list) and isinstance(response.get("predictions"), list)

    def events(self, message: Message, reading: Reading, _kind: Kind) -> list[Event]:
        """Turn each instance, with its prediction, into an event."""
        request, response, beside = _parts(message.document)
        for document, name in ((request, "instances"), (response, "predictions")):
            if not isinstance(document.get(name), list):
                msg = f"v1: {name}: required, a list"
                raise EventError(msg)
        features = feature_rows({"instances": request["instances"]}, reading, "v1: request")
        answer = {name: value for name, value in response.items() if name != "instances"}
        outputs = output_rows(answer, len(features), "v1: predictions")
        known: Event = {
            "event_id": first_of((response, request, beside), "id"),
            "model": first_of((response, request, beside), "model_name"),
            "version": first_of((response, request, beside), "model_version"),
        }
        known = {name: str(value) for name, value in known.items() if value is not None}
        return row_events(known, features, outputs, reading)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Objects whose id is one of the features, and lists with probabilities."""
        objects = {"instances": [{"key": "a", "temp": 39.5}, {"key": "b", "temp": 40}], "predictions": [0, 1]}
        of_objects: tuple[Event, ...] = (
            {"event_id": "a", "features": {"temp": 39.5}, "prediction": 0},
            {"event_id": "b", "features": {"temp": 40}, "prediction": 1},
        )
        lists = {"id": "r7", "instances": [[1.5, 2.0]], "predictions": [[0.25, 0.75]]}
        of_lists = {"event_id": "r7", "features": {"x": 1.5, "y": 2.0}, "prediction": 1, "score": 0.75}
        return (
            Example(Message(msgspec.json.encode(objects)), of_objects, reading=_keyed()),
            Example(Message(msgspec.json.encode(lists)), (of_lists,), reading=Reading(inputs=("x", "y"))),
        )


def _keyed() -> Reading:
    return Reading(fields={"event_id": "key"})


def _parts(document: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Request, response, and what is around them."""
    if not isinstance(document, dict):
        msg = f"v1: {type(document).__name__} (an object is allowed)"
        raise EventError(msg)
    request, response = document.get("request"), document.get("response")
    if isinstance(request, dict) and isinstance(response, dict):
        return request, response, document
    return document, document, {}
