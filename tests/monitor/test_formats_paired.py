"""Formats of requests and responses that come apart: what they tell, refuse, and take from where."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from monitor import cli
from monitor.decode.catalog import translated
from monitor.decode.halves import LONGEST_HALF, Half, Pair
from monitor.decode.inference_protobuf import MESSAGES, document_of
from monitor.decode.message import Message
from monitor.decode.reading import Reading
from schemas.errors import EventError

REQUEST_TYPE = b"org.kubeflow.serving.inference.request"


def half(message: Message, format_: str = "auto") -> Half:
    """What a message is."""
    _, found = translated(format_, Reading()).read(message, "predictions")
    assert isinstance(found, Half)
    return found


def refusal(message: Message, format_: str = "auto") -> str:
    """Why a message cannot be read."""
    with pytest.raises(EventError) as caught:
        translated(format_, Reading()).read(message, "predictions")
    return str(caught.value)


def kserve(body: Any, **attributes: str) -> Message:
    """An event of KServe's logger."""
    known = {"type": REQUEST_TYPE.decode(), "id": "r", "specversion": "1.0", "source": "/s"} | attributes
    value = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Message(value, [(f"CE_{name}", text.encode()) for name, text in known.items()])


def mlserver(body: Any, *headers: tuple[str, bytes], key: bytes | None = None, topic: str = "") -> Message:
    """A message of MLServer."""
    return Message(msgspec.json.encode(body), [("mlserver-model", b"m"), *headers], 5, key=key, topic=topic)


def seldon(body: Any, topic: str = "seldon.ns.model.iris.inputs", id_: bytes = b"r") -> Message:
    """A message of Seldon Core."""
    value = body if isinstance(body, bytes) else body.SerializeToString()
    return Message(value, [("x-request-id", id_)], 5, topic=topic)


def request_of(datatype: str, shape: list[int], *raw: bytes, **contents: Any) -> Any:
    """A request with one tensor."""
    message: Any = MESSAGES["request"]()
    tensor = message.inputs.add(name="x", datatype=datatype, shape=shape)
    message.raw_input_contents.extend(raw)
    for name, values in contents.items():
        getattr(tensor.contents, name).extend(values)
    return message


# --- kserve -------------------------------------------------------------------------------------------------


def test_a_half_of_kserve_belongs_to_its_component() -> None:
    about = {
        "namespace": "ns",
        "inferenceservicename": "iris",
        "component": "predictor",
        "endpoint": "canary",
    }
    assert half(kserve({}, **about)) == Half("kserve", "request", "ns/iris/predictor/canary", "r")
    assert half(kserve({})).scope == "///"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (kserve(b"{"), "Input data was truncated"),
        (kserve({}, id=""), "kserve: ce-id: required, to find the other half by"),
        (kserve({}, namespace="a\0b"), "kserve: a NUL character, or a name of more than 1024 characters"),
        (
            kserve({}, namespace="n" * 2_000),
            "kserve: a NUL character, or a name of more than 1024 characters",
        ),
        (kserve(b"x" * (LONGEST_HALF + 1)), f"kserve: {LONGEST_HALF + 1} bytes (at most {LONGEST_HALF} of a"),
    ],
)
def test_what_is_no_half_of_kserve(message: Message, reason: str) -> None:
    assert refusal(message).startswith(reason)


def test_other_cloudevents_are_not_kserves() -> None:
    message = kserve({"prediction": 1}, type="org.example")
    assert translated("auto", Reading(model="m")).read(message, "predictions")[0] == "cloudevents/json"
    assert refusal(message, "kserve").startswith("kserve: ce-type 'org.example' (use org.kubeflow")


def test_a_request_and_a_response_that_do_not_fit() -> None:
    pair = Pair("kserve", kserve({"instances": [[1], [2]]}), kserve({"predictions": [1]}))
    with pytest.raises(EventError, match="v1: predictions: 1 rows of outputs, but 2 rows of inputs"):
        translated("auto", Reading()).join(pair)
    with pytest.raises(EventError, match="kserve: response: list"):
        translated("auto", Reading()).join(Pair("kserve", kserve({}), kserve([])))
    with pytest.raises(EventError, match="json: not a format of requests and responses"):
        translated("auto", Reading()).join(Pair("json", kserve({}), kserve({})))


@pytest.mark.parametrize(
    ("times", "known"),
    [
        (("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"), {"latency_ms": 1_000.0}),
        (("2026-01-01T00:00:00", "2026-01-01T00:00:00.5Z"), {"latency_ms": 500.0}),
        (("2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z"), {}),  # clocks differ
        (("2026-01-01T00:00:01Z", "soon"), {}),
    ],
)
def test_latency_is_known_if_both_have_a_time(times: tuple[str, str], known: dict[str, float]) -> None:
    request = kserve({"instances": [[1]]}, time=times[0])
    response = kserve({"predictions": [1]}, time=times[1])
    (event,) = translated("auto", Reading(model="m")).join(Pair("kserve", request, response))
    assert {name: event[name] for name in event if name == "latency_ms"} == known
    assert event["timestamp"] == times[0]


def test_without_a_time_the_stamp_of_the_request_holds() -> None:
    request, response = (
        kserve({"instances": [[1]]}),
        kserve({"predictions": [1]}, time="2026-01-01T00:00:00Z"),
    )
    request.timestamp_ms, response.timestamp_ms = 7, 9
    (event,) = translated("auto", Reading(model="m")).join(Pair("kserve", request, response))
    assert event["timestamp"] == 7


# --- mlserver -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "side", "id_"),
    [
        (mlserver({"id": "b", "inputs": []}), "request", "b"),
        (mlserver({"id": "b", "inputs": [], "outputs": []}, key=b"k"), "request", "k"),
        (mlserver({"id": "b", "inputs": []}, ("CE-RequestId", b"c"), key=b"k"), "request", "c"),
        (mlserver({"id": "b", "outputs": []}, key=b"k"), "response", "b"),
        (mlserver({"id": "b", "error": "no"}), "response", "b"),
        (
            mlserver(
                {"inputs": []}, ("ce_type", b"io.seldon.serving.inference.response"), ("ce_requestid", b"c")
            ),
            "response",
            "c",
        ),
    ],
)
def test_side_and_id_of_mlserver(message: Message, side: str, id_: str) -> None:
    found = half(message)
    assert (found.side, found.id) == (side, id_)


def test_topics_of_mlserver_that_are_called_alike_belong_together() -> None:
    body = {"id": "b", "inputs": []}
    scopes = [
        half(mlserver(body, topic=topic)).scope
        for topic in ("", "a-input", "a.outputs", "A_Requests", "other")
    ]
    assert scopes == ["", "a", "a", "A", ""]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (mlserver([]), "mlserver: list (an object is allowed)"),
        (mlserver({"id": "b"}), "mlserver: neither inputs nor outputs"),
        (mlserver({"inputs": []}), "mlserver: Ce-Requestid or id: required, to find the other half by"),
        (mlserver({"inputs": [], "id": 7}), "mlserver: Ce-Requestid or id: required, to find"),
    ],
)
def test_what_is_no_half_of_mlserver(message: Message, reason: str) -> None:
    assert refusal(message).startswith(reason)


# --- seldon -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "side", "scope"),
    [
        ("seldon.ns.model.iris.inputs", "request", "seldon.ns.model.iris"),
        ("prefix.seldon.ns.pipeline.a.b.outputs", "response", "prefix.seldon.ns.pipeline.a.b"),
    ],
)
def test_side_and_scope_of_seldon_are_those_of_the_topic(topic: str, side: str, scope: str) -> None:
    found = half(seldon(b"", topic))
    assert (found.side, found.scope, found.id) == (side, scope, "r")


def test_what_is_no_half_of_seldon() -> None:
    assert "empty message" in refusal(seldon(b"", "seldon.ns.errors.errors"))  # `auto` does not tell it
    assert refusal(seldon(b"", "elsewhere"), "seldon").startswith(
        "seldon: topic 'elsewhere' (seldon.NAMESPACE"
    )
    assert refusal(seldon(b"\xff\xff")).startswith("seldon: request: no Protobuf of the inference protocol")
    missing = Message(b"", (), topic="seldon.ns.model.m.inputs")
    assert refusal(missing, "seldon") == "seldon: header x-request-id: required, to find the other half by"


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "UINT16", "INT64", "UINT64", "FP16", "FP32", "FP64"])
def test_raw_contents_are_read_like_others(datatype: str) -> None:
    kinds = {"BOOL": "?", "FP": "<f", "INT": "<i", "UINT": "<u"}
    kind = kinds[datatype.rstrip("0123456789")]
    if datatype != "BOOL":
        kind += str(int(datatype.lstrip("FPUINT")) // 8)
    raw = np.array([0, 1, 1, 0], kind).tobytes()
    (tensor,) = document_of(request_of(datatype, [2, 2], raw).SerializeToString(), "request")["inputs"]
    assert (tensor["shape"], tensor["data"]) == ([2, 2], [0, 1, 1, 0])


def test_raw_texts_and_typed_texts() -> None:
    raw = b"".join(struct.pack("<I", len(text)) + text for text in (b"UA", b"", b"\xff"))
    for message in (
        request_of("BYTES", [3], raw),
        request_of("BYTES", [3], bytes_contents=[b"UA", b"", b"\xff"]),
    ):
        (tensor,) = document_of(message.SerializeToString(), "request")["inputs"]
        assert tensor["data"] == ["UA", "", None]


def test_parameters_are_read() -> None:
    message = request_of("INT32", [1], int_contents=[1])
    message.parameters["a"].string_param = "x"
    message.parameters["b"].SetInParent()
    message.inputs[0].parameters["c"].int64_param = 4
    found = document_of(message.SerializeToString(), "request")
    assert (found["parameters"], found["inputs"][0]["parameters"]) == ({"a": "x"}, {"c": 4})


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (request_of("FP32", [2], b"\0" * 3), "request: inputs[0]: 3 raw bytes are no whole number of FP32"),
        (request_of("FP32", [2], b"", b""), "request: 2 raw contents for 1 tensors"),
        (request_of("BF16", [1], b"\0\0"), "request: inputs[0]: datatype 'BF16' (use one of BOOL, INT8"),
        (request_of("FP32", [200_000, 1]), "request: inputs[0]: shape [200000, 1] (at most 100000 rows"),
        (request_of("FP32", [2, 2**60]), "request: inputs[0]: shape [2, "),
        (request_of("FP32", []), "request: inputs[0]: shape [] (at most"),
        (request_of("FP32", [-1]), "request: inputs[0]: shape [-1] (at most"),
        (request_of("BYTES", [2], b"\1\0\0\0aX"), "request: inputs[0]: the raw bytes are not 2 values"),
        (
            request_of("BYTES", [1], b"\xff\xff\xff\xffa"),
            "request: inputs[0]: the raw bytes are not 1 values",
        ),
        (request_of("BYTES", [1], b"\0\0\0\0\0\0\0\0"), "request: inputs[0]: the raw bytes are not 1 values"),
    ],
)
def test_contents_that_do_not_fit(message: Any, reason: str) -> None:
    assert refusal(seldon(message)).startswith(f"seldon: {reason}")


# --- explain-event ------------------------------------------------------------------------------------------


def explain(tmp_path: Path, *arguments: str) -> int:
    """Explain a request of KServe."""
    request, response = tmp_path / "request", tmp_path / "response"
    request.write_text('{"instances": [[1, 2]]}')
    response.write_text('{"predictions": [1]}')
    kind = f"ce-type={REQUEST_TYPE.decode()}"
    return cli.run(["explain-event", str(request), "--header", kind, "--header", "ce-id=r7", *arguments])


RESPONSE = [
    "--other-header", "ce_type=org.kubeflow.serving.inference.response", "--other-header",
    "ce_inferenceservicename=iris",
]  # fmt: skip


def test_explain_event_says_what_a_half_waits_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == [
        "format    kserve",
        "half      request",
        "key       kserve:///:r7",
        "waits for its response",
    ]
    assert explain(tmp_path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["half"] == {"side": "request", "key": "kserve:///:r7", "waits_for": "response"}
    assert (found["format"], found["events"], found["problems"]) == ("kserve", [], [])


def test_explain_event_joins_two_halves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = ["--other", str(tmp_path / "response"), *RESPONSE[:2], "--other-header", "ce-id=r7"]
    assert explain(tmp_path, "--json", *other) == 1  # no model
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == ["Object missing required field `model`"]
    assert found["events"][0]["features"] == {"f0": 1, "f1": 2}
    same_service = ["--header", "ce-inferenceservicename=iris", *other, *RESPONSE[2:]]
    assert explain(tmp_path, *same_service) == 0
    assert '"model": "iris"' in capsys.readouterr().out


def test_explain_event_says_that_halves_are_no_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ["--other", str(tmp_path / "response"), *RESPONSE, "--other-header", "ce-id=r8"]
    assert explain(tmp_path, *other) == 1
    said = "the request kserve:///:r7 and the response kserve:/iris//:r8 are no pair"
    assert said in capsys.readouterr().err
    assert explain(tmp_path, "--other", str(tmp_path / "response")) == 1
    assert explain(tmp_path, *RESPONSE) == 2
    assert "--other-header and --other-topic belong to --other" in capsys.readouterr().err
