"""Open inference protocol, version 2, in JSON: a request and its response in one message.

References
----------
.. [1] KServe, "Open Inference Protocol", specification/protocol/inference_rest.md.
.. [2] Seldon, "Content Types (and Codecs)", MLServer documentation.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from monitor.decode.bodies import first_of, row_events
from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Kind, Reading
from monitor.decode.tensors import Tensor, read_tensors
from schemas.errors import EventError


class V2:
    """One event for each row, which is the first dimension of every tensor."""

    name: ClassVar[str] = "v2"
    order: ClassVar[int] = 40

    def matches(self, message: Message) -> bool:
        """Whether there are tensors that came in, and tensors (or an error) that went out."""
        document = message.object_
        request, response = document.get("request"), document.get("response")
        if isinstance(request, dict) and isinstance(response, dict):
            went_out = _are_tensors(response.get("outputs")) or isinstance(response.get("error"), str)
            return _are_tensors(request.get("inputs")) and went_out
        # A request may have outputs too, which it asks for: these have no shape.
        return _are_tensors(document.get("inputs")) and _are_tensors(document.get("outputs"))

    def events(self, message: Message, reading: Reading, _kind: Kind) -> list[Event]:
        """Turn each row into an event."""
        request, response, beside = _parts(message.document)
        inputs = read_tensors(request.get("inputs"), "v2: inputs", _content_type(request))
        rows = len(inputs[0].values)
        _require_rows(inputs, rows)
        known: Event = {
            "event_id": first_of((response, request, beside), "id"),
            "model": first_of((response, request, beside), "model_name"),
            "version": first_of((response, request, beside), "model_version"),
        }
        known = {name: str(value) for name, value in known.items() if value is not None}
        features = _features(inputs, reading)
        if isinstance(response.get("error"), str) and "outputs" not in response:
            return row_events({**known, "error": response["error"]}, features, None, reading)
        outputs = read_tensors(response.get("outputs"), "v2: outputs", _content_type(response))
        _require_rows(outputs, rows)
        return row_events(known, features, _outputs(outputs), reading)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A batch of two in one tensor, and a response that carries its inputs, one tensor a column."""
        request = {
            "id": "42",
            "inputs": [_written("x", [2, 2], "FP32", [1.5, 2.0, 3.5, 4.0])],
            "outputs": [{"name": "predict"}],
        }
        outputs = [
            _written("predict", [2, 1], "INT64", [0, 1]),
            _written("predict_proba", [2, 2], "FP64", [[0.9, 0.1], [0.2, 0.8]]),
        ]
        response = {"model_name": "m", "model_version": "3", "id": "42", "outputs": outputs}
        combined = {"request": request, "response": response}
        both = {"model": "m", "version": "3"}
        batch: tuple[Event, ...] = (
            {"event_id": "42:0", **both, "features": {"a": 1.5, "b": 2.0}, "prediction": 0, "score": 0.1},
            {"event_id": "42:1", **both, "features": {"a": 3.5, "b": 4.0}, "prediction": 1, "score": 0.8},
        )
        columns = [
            _written("temp", [1, 1], "FP32", [39.0]),
            {**_written("carrier", [1], "BYTES", ["UA"]), "parameters": {"content_type": "str"}},
        ]
        carrying = {
            "model_name": "m",
            "id": "7",
            "parameters": {"content_type": "pd"},
            "inputs": columns,
            "outputs": [_written("delay", [1], "FP32", [12.5])],
        }
        one = {"event_id": "7", "model": "m", "features": {"temp": 39.0, "carrier": "UA"}, "prediction": 12.5}
        return (
            Example(Message(msgspec.json.encode(combined)), batch, reading=Reading(inputs=("a", "b"))),
            Example(Message(msgspec.json.encode(carrying)), (one,)),
        )


def _written(name: str, shape: list[int], datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def _are_tensors(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and {"name", "shape", "datatype"} <= one.keys() for one in value)
    )


def _parts(document: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Request, response, and what is around them."""
    if not isinstance(document, dict):
        msg = f"v2: {type(document).__name__} (an object is allowed)"
        raise EventError(msg)
    if "request" not in document and "response" not in document:
        return document, document, {}
    for name in ("request", "response"):
        if not isinstance(document.get(name), dict):
            msg = f"v2: {name}: required, an object"
            raise EventError(msg)
    return document["request"], document["response"], document


def _content_type(document: dict[str, Any]) -> str:
    """Of tensors that have none themselves."""
    parameters = document.get("parameters")
    found = parameters.get("content_type") if isinstance(parameters, dict) else None
    return found if isinstance(found, str) else ""


def _require_rows(tensors: list[Tensor], rows: int) -> None:
    for tensor in tensors:
        if len(tensor.values) != rows:
            msg = f"{tensor.place}: {len(tensor.values)} rows, but the first input has {rows}"
            raise EventError(msg)


def _features(inputs: list[Tensor], reading: Reading) -> list[dict[str, Any]]:
    names: list[str] = []
    columns: list[list[Any]] = []
    for tensor in inputs:
        names += _names(tensor, reading.inputs if len(inputs) == 1 else ())
        columns += tensor.values.T.tolist()
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        msg = f"v2: inputs: several features are named {', '.join(map(repr, twice[:5]))}"
        raise EventError(msg)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _names(tensor: Tensor, inputs: tuple[str, ...]) -> tuple[str, ...]:
    width = tensor.values.shape[1]
    if tensor.columns:
        return tensor.columns
    if inputs:
        if len(inputs) != width:
            msg = f"{tensor.place}: {width} columns, but the stream's inputs name {len(inputs)}"
            raise EventError(msg)
        return inputs
    return (tensor.name,) if width == 1 else tuple(f"{tensor.name}.{at}" for at in range(width))


def _outputs(outputs: list[Tensor]) -> list[dict[str, Any]]:
    """By name: values of one column, and lists of several."""
    names = [tensor.name for tensor in outputs]
    columns = [
        tensor.values[:, 0].tolist() if tensor.values.shape[1] == 1 else tensor.values.tolist()
        for tensor in outputs
    ]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
