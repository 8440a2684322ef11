"""Formats of serving systems: shapes and types of tensors, batches, errors, and what is wrong in each."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from monitor.decode.catalog import build, translated
from monitor.decode.message import Message
from monitor.decode.reading import Kind, Reading
from schemas.errors import EventError

MODEL = Reading(model="m")


def read(
    name: str, document: Any, reading: Reading = MODEL, kind: Kind = "predictions"
) -> list[dict[str, Any]]:
    """Events of a message of a format, without what the stream says."""
    value = document if isinstance(document, bytes) else msgspec.json.encode(document)
    _, events = translated(name, reading).translate(Message(value, (), 5), kind)
    return [{key: value for key, value in event.items() if key != "model"} for event in events]


def reason(name: str, document: Any, reading: Reading = MODEL, kind: Kind = "predictions") -> str:
    """Why a message cannot be read."""
    with pytest.raises(EventError) as caught:
        read(name, document, reading, kind)
    return str(caught.value)


def found_as(document: Any, reading: Reading = MODEL) -> str:
    """Format that ``auto`` finds."""
    message = Message(msgspec.json.encode(document), (), 5)
    return translated("auto", reading).translate(message, "predictions")[0]


def tensor(
    name: str, shape: Any, data: Any, datatype: Any = "FP64", parameters: Any = None
) -> dict[str, Any]:
    """A tensor of the open inference protocol."""
    written = {"name": name, "shape": shape, "datatype": datatype, "data": data}
    return written if parameters is None else {**written, "parameters": parameters}


def inferred(*inputs: Any, outputs: Any = None, rows: int = 1) -> dict[str, Any]:
    """A response that carries its inputs."""
    went_out = outputs if outputs is not None else [tensor("y", [rows], [0.5] * rows)]
    return {"model_name": "m", "id": "r", "inputs": list(inputs), "outputs": went_out}


def features(document: Any, reading: Reading = MODEL) -> list[Any]:
    """Features of each row of tensors."""
    return [event["features"] for event in read("v2", document, reading)]


@pytest.mark.parametrize(
    ("shape", "data"),
    [([2, 2], [1, 2, 3, 4]), ([2, 2], [[1, 2], [3, 4]]), ([2, 1, 2], [[[1, 2]], [[3, 4]]])],
)
def test_v2_data_are_row_major_flat_or_nested(shape: list[int], data: list[Any]) -> None:
    document = inferred(tensor("x", shape, data), rows=2)
    assert features(document) == [{"x.0": 1, "x.1": 2}, {"x.0": 3, "x.1": 4}]
    assert features(document, Reading(inputs=("a", "b")))[1] == {"a": 3, "b": 4}


def test_v2_names_of_columns() -> None:
    named = tensor("x", [1, 2], [1, 2], parameters={"columns": ["a", "b"]})
    assert features(inferred(named, tensor("c", [1, 1], [[7]], "INT8"))) == [{"a": 1, "b": 2, "c": 7}]
    pandas = {**inferred(tensor("a", [2], [1, None]), tensor("b", [2, 1], [True, False], "BOOL"), rows=2)}
    pandas["parameters"] = {"content_type": "pd"}
    assert features(pandas) == [{"a": 1, "b": True}, {"a": None, "b": False}]
    assert features(pandas, Reading(inputs=("b",))) == [{"b": True}, {"b": False}]


def test_v2_texts_and_base64() -> None:
    coded = base64.b64encode("Köln".encode()).decode()
    binary = base64.b64encode(b"\xff\xfe").decode()
    document = inferred(
        tensor("plain", [2], ["a", "b"], "BYTES", {"content_type": "str"}),
        tensor("coded", [2], [coded, binary], "BYTES", {"content_type": "base64"}),
        rows=2,
    )
    assert features(document) == [{"plain": "a", "coded": "Köln"}, {"plain": "b", "coded": None}]


def test_v2_outputs_row_by_row() -> None:
    outputs = [
        tensor("label", [2, 1], ["no", "yes"], "BYTES"),
        tensor("p", [2, 3], [0.2, 0.3, 0.5, 0.1, 0.2, 0.7]),
    ]
    document = inferred(tensor("x", [2], [1, 2]), outputs=outputs)
    found = read("v2", document, Reading(fields={"scores": "p"}))
    assert [(one["event_id"], one["prediction"]) for one in found] == [("r:0", "no"), ("r:1", "yes")]
    assert found[1]["scores"] == {"0": 0.1, "1": 0.2, "2": 0.7}


def test_v2_a_failed_request_has_an_error_and_no_prediction() -> None:
    document = {
        "request": {"id": "r", "inputs": [tensor("x", [2], [1, 2])]},
        "response": {"error": "out of memory"},
        "model_name": "m",
    }
    assert found_as(document) == "v2"
    assert read("v2", document)[1] == {
        "timestamp": 5,
        "event_id": "r:1",
        "error": "out of memory",
        "features": {"x": 2},
    }


def test_v2_a_request_with_the_outputs_that_it_asks_for_is_no_event() -> None:
    with pytest.raises(EventError, match="no known format"):
        found_as({"inputs": [tensor("x", [1], [1])], "outputs": [{"name": "y"}]})


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"shape": [3, 2], "data": [1] * 5}, "v2: inputs[0] 'x': shape [3, 2] has 6 values, but data has 5"),
        ({"shape": [2], "data": [[1, 2], [3]]}, "v2: inputs[0] 'x': datatype FP64, but a value is a list"),
        ({"data": [1, 2]}, "v2: inputs[0] 'x': shape [1] has 1 values, but data has 2"),
        ({"shape": []}, "v2: inputs[0] 'x': shape [] (a list of whole numbers from 1 on, rows first)"),
        (
            {"shape": [1, 0]},
            "v2: inputs[0] 'x': shape [1, 0] (a list of whole numbers from 1 on, rows first)",
        ),
        ({"shape": [100_001]}, "v2: inputs[0] 'x': 100001 rows (at most 100000 are allowed)"),
        (
            {"data": None},
            "v2: inputs[0] 'x': data: required, a list (data outside of the JSON cannot be read)",
        ),
        ({"data": ["1"]}, "v2: inputs[0] 'x': datatype FP64, but a value is a str"),
        ({"datatype": "INT8", "data": [1.5]}, "v2: inputs[0] 'x': datatype INT8, but a value is a float"),
        ({"datatype": "BOOL"}, "v2: inputs[0] 'x': datatype BOOL, but a value is a int"),
        ({"datatype": "UINT8", "data": [256]}, "v2: inputs[0] 'x': a value outside of UINT8 (0 to 255)"),
        ({"datatype": "UINT8", "data": [-1]}, "v2: inputs[0] 'x': a value outside of UINT8 (0 to 255)"),
        (
            {"datatype": "FP8"},
            "v2: inputs[0] 'x': datatype 'FP8' (use one of BOOL, INT8, INT16, INT32, INT64, UINT8, UINT16, "
            "UINT32, UINT64, FP16, FP32, FP64, BYTES)",
        ),
        (
            {"parameters": {"columns": ["a", "b"]}},
            "v2: inputs[0] 'x': 1 columns, but parameters.columns names 2",
        ),
        ({"name": None}, "v2: inputs[0]: an object with name, shape, datatype and data is allowed"),
    ],
)
def test_v2_what_is_wrong_with_a_tensor(changed: dict[str, Any], why: str) -> None:
    assert reason("v2", inferred({**tensor("x", [1], [1]), **changed})) == why


def test_v2_what_is_wrong_between_tensors() -> None:
    one, two = tensor("x", [1], [1]), tensor("y", [2], [1, 2])
    assert reason("v2", inferred(one, two)) == "v2: inputs[1] 'y': 2 rows, but the first input has 1"
    assert reason("v2", inferred(one, rows=3)) == "v2: outputs[0] 'y': 3 rows, but the first input has 1"
    assert reason("v2", inferred(one, one)) == "v2: inputs: several features are named 'x'"
    wide = inferred(tensor("x", [1, 3], [1, 2, 3]))
    named = Reading(model="m", inputs=("a", "b"))
    assert reason("v2", wide, named) == "v2: inputs[0] 'x': 3 columns, but the stream's inputs name 2"
    coded = tensor("x", [1], ["a"], "BYTES", {"content_type": "base64"})
    assert reason("v2", inferred(coded)).startswith("v2: inputs[0] 'x': no base64 (")
    assert reason("v2", inferred()) == "v2: inputs: required, a list of tensors"
    assert reason("v2", {**inferred(one), "outputs": 1}) == "v2: outputs: required, a list of tensors"
    assert reason("v2", {"request": {}}) == "v2: response: required, an object"
    assert reason("v2", [1]) == "v2: list (an object is allowed)"
    assert "which is the prediction?" in reason("v2", inferred(one, outputs=[one, tensor("z", [1], [1])]))


def test_v2_data_nested_as_deeply_as_json_may_be_are_refused() -> None:
    nested: Any = 1
    for _ in range(300):
        nested = [nested]
    assert "datatype FP64, but a value is a list" in reason("v2", inferred(tensor("x", [1], nested)))


def test_v1_in_request_and_response_with_names_beside() -> None:
    document = {
        "request": {"instances": [[1, 2], [3, 4]]},
        "response": {"predictions": [{"label": "a", "score": 0.5}, {"label": "b", "score": 0.75}]},
        "id": "r",
        "model_version": 3,
    }
    assert found_as(document) == "v1"
    assert read("v1", document)[1] == {
        "timestamp": 5,
        "event_id": "r:1",
        "version": "3",
        "features": {"f0": 3, "f1": 4},
        "prediction": "b",
        "score": 0.75,
    }


def test_v1_what_is_wrong() -> None:
    assert reason("v1", [1]) == "v1: list (an object is allowed)"
    assert reason("v1", {"instances": [1]}) == "v1: predictions: required, a list"
    assert reason("v1", {"predictions": [1]}) == "v1: instances: required, a list"
    assert reason("v1", {"instances": [], "predictions": []}) == (
        "v1: request: 0 rows (1 to 100000 are allowed)"
    )
    many = {"instances": [1, 2], "predictions": [1, 2, 3]}
    assert reason("v1", many) == "v1: predictions: 3 rows of outputs, but 2 rows of inputs"
    named = Reading(model="m", inputs=("a", "b", "c"))
    assert reason("v1", {"instances": [[1, 2]], "predictions": [1]}, named) == (
        "v1: request[0]: 2 values, but the stream's inputs name 3"
    )


def captured(
    data: Any, answer: Any, encodings: tuple[str, str] = ("CSV", "CSV"), content_type: str = "text/csv"
) -> dict[str, Any]:
    """A record of data capture."""
    sides = {
        name: {"observedContentType": content_type, "mode": name, "data": one, "encoding": encoding}
        for name, one, encoding in zip(
            ("endpointInput", "endpointOutput"), (data, answer), encodings, strict=True
        )
    }
    metadata = {"eventId": "e", "inferenceTime": "2026-01-05T10:00:00Z"}
    return {"captureData": sides, "eventMetadata": metadata, "eventVersion": "0"}


def outcomes(document: Any, reading: Reading = MODEL) -> list[Any]:
    """Prediction and score of each row of a record."""
    return [(one["prediction"], one.get("score")) for one in read("sagemaker", document, reading)]


@pytest.mark.parametrize(
    ("encodings", "answer", "expected"),
    [
        (("CSV", "CSV"), "0.5\n1.5\n", [(0.5, None), (1.5, None)]),
        (("CSV", "CSV"), "0.5,1.5", [(0.5, None), (1.5, None)]),
        (("CSV", "CSV"), "0.75,0.25\n0.25,0.75", [(0, 0.25), (1, 0.75)]),
        (("CSV", "JSON"), "[0.5, 1.5]", [(0.5, None), (1.5, None)]),
        (("CSV", "JSON"), '{"score": 0.5}\n{"score": 12.5}', [(0.5, None), (12.5, None)]),
        (("CSV", "JSON"), '{"predictions": [1, 0], "probabilities": [0.75, 0.25]}', [(1, 0.75), (0, 0.25)]),
        (("CSV", "JSON"), '{"predictions": {"label": [1, 0]}}', [(1, None), (0, None)]),
    ],
)
def test_sagemaker_answers(encodings: tuple[str, str], answer: str, expected: list[Any]) -> None:
    assert outcomes(captured("1,2\n3,4", answer, encodings)) == expected


def test_sagemaker_a_score_alone_is_a_probability_if_the_stream_says_so() -> None:
    record = captured("1", '{"predictions": [{"score": 0.75}]}', ("CSV", "JSON"))
    assert outcomes(record) == [(0.75, None)]
    assert outcomes(record, Reading(model="m", fields={"score": "score"})) == [(1, 0.75)]


def test_sagemaker_columns_of_an_answer_are_named_by_the_stream() -> None:
    record = captured("1,2", "late,0.75")
    assert outcomes(record, Reading(model="m", fields={"prediction": "o0", "score": "o1"})) == [
        ("late", 0.75)
    ]
    why = reason("sagemaker", record)
    assert why == (
        "outputs: which is the prediction? (there are 'o0', 'o1'; name it under fields.prediction)"
    )
    assert outcomes(captured("1,2", "0.75"), Reading(model="m", fields={"score": "output"})) == [(1, 0.75)]


@pytest.mark.parametrize(
    "data",
    [
        '{"instances": [{"features": [1.5, "UA"]}, {"features": [2, "DL"]}]}',
        '{"instances": [[1.5, "UA"], [2, "DL"]]}',
        '{"features": [[1.5, "UA"], [2, "DL"]]}',
        '[{"f0": 1.5, "f1": "UA"}, {"f0": 2, "f1": "DL"}]',
        '{"features": [1.5, "UA"]}\n{"features": [2, "DL"]}',
    ],
)
def test_sagemaker_requests_in_json(data: str) -> None:
    found = read("sagemaker", captured(data, "1\n2", ("JSON", "CSV")))
    assert [one["features"] for one in found] == [{"f0": 1.5, "f1": "UA"}, {"f0": 2, "f1": "DL"}]


def test_sagemaker_one_row_and_cells_of_csv() -> None:
    (one,) = read("sagemaker", captured('"Ulm, Mitte",,1e2, 7 ,nan,0x1f', "1"), MODEL)
    assert one["features"] == {
        "f0": "Ulm, Mitte",
        "f1": None,
        "f2": 100.0,
        "f3": 7,
        "f4": "nan",
        "f5": "0x1f",
    }
    assert one["event_id"] == "e"
    (named,) = read("sagemaker", captured('{"a": 1}', "[0.25, 0.75]", ("JSON", "JSON")))
    assert (named["features"], named["prediction"], named["score"]) == ({"a": 1}, 1, 0.75)


def test_sagemaker_base64_is_what_its_content_type_says() -> None:
    csv = base64.b64encode(b"1,2\n3,4").decode()
    assert len(read("sagemaker", captured(csv, "1\n2", ("BASE64", "CSV"), "text/csv; charset=utf-8"))) == 2
    image = captured(csv, "1", ("BASE64", "CSV"), "image/png")
    assert reason("sagemaker", image) == (
        "sagemaker: endpointInput: content type 'image/png' (CSV or JSON is allowed)"
    )
    broken = captured("%", "1", ("BASE64", "CSV"))
    assert reason("sagemaker", broken).startswith("sagemaker: endpointInput: no text in base64 (")


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (captured("1,2\n3", "1"), "endpointInput: row 1 has 1 values, row 0 has 2"),
        (captured("", "1"), "endpointInput: 0 rows (1 to 100000 are allowed)"),
        (captured("1\n2", "1\n2\n3"), "endpointOutput: 3 rows of outputs, but 2 rows of inputs"),
        (captured("1", ""), "endpointOutput: 0 rows of outputs, but 1 rows of inputs"),
        (captured("{", "1", ("JSON", "CSV")), "endpointInput: no JSON (Input data was truncated)"),
        (captured("7", "1", ("JSON", "CSV")), "endpointInput: int (an object or a list is allowed)"),
        (
            captured("1", "1", ("XML", "CSV")),
            "endpointInput: encoding 'XML' of a str (use CSV, JSON or BASE64 of text)",
        ),
        (
            captured("1", None),
            "endpointOutput: required, an object with data and encoding (capture input and output)",
        ),
        (
            {"captureData": {}},
            "endpointInput: required, an object with data and encoding (capture input and output)",
        ),
        ({"x": 1}, "captureData: required, an object, in a stream of predictions"),
    ],
)
def test_sagemaker_what_is_wrong(record: Any, why: str) -> None:
    assert reason("sagemaker", record) == f"sagemaker: {why}"


def truth(data: Any, encoding: str = "CSV") -> dict[str, Any]:
    """A record of ground truth."""
    return {"groundTruthData": {"data": data, "encoding": encoding}, "eventMetadata": {"eventId": "e"}}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (truth("late"), [("e", "late")]),
        (truth("1\n0"), [("e:0", 1), ("e:1", 0)]),
        (truth("[1, 0]", "JSON"), [("e:0", 1), ("e:1", 0)]),
        (truth("true", "JSON"), [("e", True)]),
        (truth('{"label": 2.5}', "JSON"), [("e", 2.5)]),
    ],
)
def test_sagemaker_labels(record: Any, expected: list[Any]) -> None:
    found = read("sagemaker", record, kind="labels")
    assert [(one["event_id"], one["label"]) for one in found] == expected


def test_sagemaker_labels_that_cannot_be_read() -> None:
    assert reason("sagemaker", truth("1,2"), kind="labels") == (
        "sagemaker: groundTruthData: row 0: one value is allowed, without a comma"
    )
    assert reason("sagemaker", truth("{}", "JSON"), kind="labels") == (
        "sagemaker: groundTruthData: row 0: one value is allowed"
    )
    assert reason("sagemaker", truth(""), kind="labels") == (
        "sagemaker: groundTruthData: there is no label in it"
    )
    assert reason("sagemaker", captured("1", "1"), kind="labels") == (
        "sagemaker: groundTruthData: required, an object, in a stream of labels"
    )


def test_sagemaker_a_broken_line_makes_a_dead_letter_of_the_message() -> None:
    line = msgspec.json.encode(captured("1", "1"))
    assert len(read("auto", line + b"\r\n" + line)) == 2
    found = build("auto", MODEL).decode([line, line + b"\n" + line[:-1]])
    assert found.row.tolist() == [0]
    assert [(at, why.startswith("sagemaker: no JSON (")) for at, why in found.problems] == [(1, True)]


def logged(request: Any, response: Any = None, **columns: Any) -> dict[str, Any]:
    """A row of an inference table."""
    answer = {"predictions": [1]} if response is None else response
    return {
        "databricks_request_id": "d",
        "timestamp_ms": 7,
        "status_code": 200,
        "request": request if isinstance(request, str) else msgspec.json.encode(request).decode(),
        "response": msgspec.json.encode(answer).decode(),
        **columns,
    }


@pytest.mark.parametrize(
    "request_",
    [
        {"dataframe_records": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]},
        {"dataframe_split": {"index": [0, 1], "columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}},
        {"instances": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]},
        {"inputs": [[1, "x"], [2, "y"]]},
        {"inputs": {"a": [[1], [2]], "b": ["x", "y"]}, "params": {"k": 1}},
    ],
)
def test_databricks_requests(request_: Any) -> None:
    reading = Reading(model="m", inputs=("a", "b"))
    found = read("databricks", logged(request_, {"predictions": [1, 2]}), reading)
    assert [one["features"] for one in found] == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert [(one["event_id"], one["prediction"]) for one in found] == [("d:0", 1), ("d:1", 2)]


def test_databricks_columns() -> None:
    request = {"inputs": {"a": 1}}
    metadata = '{"endpoint_name": "e", "model_version": "4"}'
    row = logged(request, request_metadata=metadata, served_entity_id="s", execution_time_ms=3)
    _, (event,) = translated("databricks", MODEL).translate(Message(msgspec.json.encode(row)), "predictions")
    assert (event["model"], event["version"], event["latency_ms"], event["timestamp"]) == ("e", "4", 3, 7)
    (served,) = read("databricks", logged(request, served_entity_id="s"))
    (fixed,) = read("databricks", logged(request, served_entity_id="s"), Reading(model="m", version="9"))
    assert (served["version"], fixed["version"]) == ("s", "9")
    beside = {"predictions": [1], "databricks_output": {"trace": None}}
    assert read("databricks", logged(request, beside))[0]["prediction"] == 1


@pytest.mark.parametrize("request_", ["not JSON", {"dataframe_split": 1}, {"dataframe_records": []}])
def test_databricks_errors_need_no_request_that_can_be_read(request_: Any) -> None:
    row = logged(request_, {"error_code": "BAD_REQUEST"}, status_code="400")
    assert read("databricks", row) == [{"timestamp": 7, "event_id": "d", "error": "status 400"}]


def test_databricks_errors_of_a_batch() -> None:
    row = logged({"instances": [[1], [2]]}, {"message": "no"}, status_code=503)
    found = read("databricks", row)
    assert [(one["event_id"], one["error"], one["features"]) for one in found] == [
        ("d:0", "status 503", {"f0": 1}),
        ("d:1", "status 503", {"f0": 2}),
    ]
    assert len(build("databricks", MODEL).decode([msgspec.json.encode(row)])) == 2


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([1], "list (an object is allowed)"),
        (logged({}, status_code="ok"), "status_code 'ok' (a HTTP status is allowed)"),
        ({**logged({}), "request": None}, "request: required, a JSON text"),
        ({**logged([1]), "response": "{"}, "response: no JSON (Input data was truncated)"),
        (logged([1], request_metadata="{"), "request_metadata: no JSON (Input data was truncated)"),
        (logged({"instances": 1}), "request.instances: int (a list of rows is allowed)"),
        (
            logged({"dataframe_split": {"columns": ["a"]}}),
            "request.dataframe_split: an object with lists 'columns' and 'data' is allowed",
        ),
        (
            logged({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}),
            "request.dataframe_split.data[0]: 2 values (a list with one value for each of 1 columns)",
        ),
        (
            logged({"dataframe_split": {"columns": ["a"], "data": [1]}}),
            "request.dataframe_split.data[0]: int (a list with one value for each of 1 columns)",
        ),
        (
            logged({"inputs": {"a": [1, 2], "b": [1]}}),
            "request.inputs: 'a', 'b': lists of the same length are allowed",
        ),
        (logged({"instances": [[1], [2]]}), "response: 1 rows of outputs, but 2 rows of inputs"),
    ],
)
def test_databricks_what_is_wrong(row: Any, why: str) -> None:
    assert reason("databricks", row) == f"databricks: {why}"


def test_bentoml_columns_without_a_schema() -> None:
    record = {"age": 40, "y": 0.5, "timestamp": "2026-01-05T10:00:00", "request_id": "1", "trace_id": "2"}
    named = Reading(model="m", fields={"prediction": "y"})
    (event,) = read("bentoml", record, named)
    assert (event["event_id"], event["prediction"], event["features"]) == ("1", 0.5, {"age": 40})
    assert found_as(record, named) == "bentoml"
    assert found_as({**record, "event_id": "a", "prediction": 1}) == "json"
    assert reason("bentoml", [1]) == "bentoml: list (an object is allowed)"


def test_bentoml_several_predictions_of_a_schema() -> None:
    roles = {"age": "feature", "predict": "prediction", "probabilities": "prediction", "note": "comment"}
    schema = {name: {"name": name, "role": role, "type": "numerical"} for name, role in roles.items()}
    meta = {"bento_name": "iris", "bento_version": "v7", "schema": schema}
    record = {"age": 40, "predict": 1, "probabilities": [0.25, 0.75], "note": "x", "extra": 2}
    (event,) = read("bentoml", {**record, "timestamp": 7, "request_id": "1", "bento_meta": meta})
    assert (event["prediction"], event["score"], event["version"]) == (1, 0.75, "v7")
    assert event["features"] == {"age": 40, "extra": 2}


def test_feast_only_what_belongs_to_a_feature_is_left_out() -> None:
    record = {
        "__request_id": "1",
        "__log_timestamp": 1_767_607_200_000_000,
        "order__status": "open",
        "order__status__status": 1,
        "order__status__timestamp": 7,
        "risk": 1,
    }
    (event,) = read("feast", record, Reading(model="m", fields={"prediction": "risk"}))
    assert event["features"] == {"order__status": "open"}
    assert event["timestamp"] == 1_767_607_200_000
    assert reason("feast", [1]) == "feast: list (an object is allowed)"


def change(operation: Any, after: Any, **more: Any) -> dict[str, Any]:
    """An envelope of Debezium."""
    return {"before": None, "after": after, "op": operation, "source": {"ts_ms": 4}, **more}


KEYED = Reading(model="m", fields={"event_id": "id", "label": "label"})


def test_debezium_rows_are_read_by_the_fields_of_the_stream() -> None:
    """Even where a column is called as in a native event."""
    document = change("c", {"id": 7, "label": 1})
    assert read("auto", document, KEYED, "labels") == [{"timestamp": 4, "event_id": "7", "label": 1}]
    text = change("u", '{"id": 7, "label": 1}', ts_ms=9)
    assert read("debezium", text, KEYED, "labels") == [{"timestamp": 9, "event_id": "7", "label": 1}]


def test_debezium_rows_in_any_format() -> None:
    row = {"instances": [[1]], "predictions": [2], "id": "r"}
    assert found_as(change("r", row)) == "debezium/v1"
    assert found_as({"schema": None, "payload": change("r", row)}) == "debezium/v1"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (change("d", None, before={"id": 7}), "op 'd': a deleted row is no event"),
        (change("t", None), "op 't': a truncated table is no event"),
        (change("m", None), "op 'm': a message without a row is no event"),
        (change("x", {}), "op 'x' (use one of c, u, r)"),
        (change([], {}), "op [] (use one of c, u, r)"),
        (change("c", None), "after: NoneType (an object, the row, is allowed)"),
        (change("c", "{"), "after: no JSON (Input data was truncated)"),
        (b"", "a tombstone (a deleted row is no event)"),
        (None, "a tombstone (a deleted row is no event)"),
        ({"schema": {}, "payload": None}, "a tombstone (a deleted row is no event)"),
        ([1], "list (an object is allowed)"),
    ],
)
def test_debezium_what_is_no_event(document: Any, why: str) -> None:
    assert reason("debezium", document, KEYED, "labels") == f"debezium: {why}"


def test_auto_says_that_a_deleted_row_is_no_event() -> None:
    document = change("d", None, before={"id": 7})
    assert reason("auto", document, KEYED, "labels") == "debezium: op 'd': a deleted row is no event"
