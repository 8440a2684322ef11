"""Amazon SageMaker: records of data capture (predictions), and ground truth for them (labels).

References
----------
.. [1] Amazon SageMaker AI Developer Guide, "Data capture" and "Interpret captured data".
.. [2] Amazon SageMaker AI Developer Guide, "Common data formats for inference" and "Linear learner response
   formats".
.. [3] Amazon SageMaker AI Developer Guide, "Ingest Ground Truth labels and merge them with predictions".
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import math
import re
from typing import Any, ClassVar

import msgspec

from monitor.decode.bodies import OUTPUT, feature_rows, first_of, output_rows, read_json, row_events
from monitor.decode.flat import instant, row_id
from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Kind, Reading
from schemas.errors import EventError

_CAPTURE, _TRUTH = "captureData", "groundTruthData"
_INPUT, _OUTPUT, _LABEL = (f"sagemaker: {name}" for name in ("endpointInput", "endpointOutput", _TRUTH))
_HOLDS = {"predictions": _CAPTURE, "labels": _TRUTH}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LONGEST_INTEGER = 18  # digits


class SageMaker:
    """A record a message, or one a line; each may hold several rows."""

    name: ClassVar[str] = "sagemaker"
    order: ClassVar[int] = 30

    def matches(self, message: Message) -> bool:
        """Whether it is a record, or several lines that name what only records have."""
        document = message.object_
        if document:
            return isinstance(document.get(_CAPTURE), dict) or isinstance(document.get(_TRUTH), dict)
        names = (f'"{name}"'.encode() for name in (_CAPTURE, _TRUTH))
        return message.value[:1] == b"{" and any(name in message.value for name in names)

    def events(self, message: Message, reading: Reading, kind: Kind) -> list[Event]:
        """Turn each row of each record into an event."""
        records = message.document if message.object_ else read_json(message.value, "sagemaker")
        events: list[Event] = []
        for record in records if isinstance(records, list) else [records]:
            if not isinstance(record, dict) or not isinstance(record.get(_HOLDS[kind]), dict):
                msg = f"sagemaker: {_HOLDS[kind]}: required, an object, in a stream of {kind}"
                raise EventError(msg)
            events += _captured(record, reading) if kind == "predictions" else _labels(record, reading)
        return events

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Rows in CSV with answers in JSON, one in base64, two records in two lines, and a label."""
        answers = (
            '{"predictions": [{"predicted_label": 0, "score": 0.25}, {"predicted_label": 1, "score": 0.75}]}'
        )
        two = _record("e-1", ("text/csv", "39.5,UA\n40,DL", "CSV"), ("application/json", answers, "JSON"))
        coded = base64.b64encode(b'{"features": [1.5]}').decode()
        one = _record(
            "e-2", ("application/json", coded, "BASE64"), ("text/csv; charset=utf-8", "12.5", "CSV")
        )
        one["eventMetadata"]["inferenceId"] = "mine"
        truth = {
            _TRUTH: {"data": "1", "encoding": "CSV"},
            "eventMetadata": {"eventId": "mine"},
            "eventVersion": "0",
        }
        when = {"timestamp": "2026-01-05T10:00:00+00:00"}
        batch: tuple[Event, ...] = (
            {
                "event_id": "e-1:0",
                **when,
                "features": {"f0": 39.5, "f1": "UA"},
                "prediction": 0,
                "score": 0.25,
            },
            {"event_id": "e-1:1", **when, "features": {"f0": 40, "f1": "DL"}, "prediction": 1, "score": 0.75},
        )
        single: Event = {"event_id": "mine", **when, "features": {"f0": 1.5}, "prediction": 12.5}
        lines = b"\n".join(map(msgspec.json.encode, (two, one))) + b"\n"
        return (
            Example(Message(msgspec.json.encode(two)), batch),
            Example(Message(msgspec.json.encode(one)), (single,)),
            Example(Message(lines), (*batch, single)),
            Example(Message(msgspec.json.encode(truth)), ({"event_id": "mine", "label": 1},), "labels"),
        )


def _record(id_: str, went_in: tuple[str, str, str], went_out: tuple[str, str, str]) -> dict[str, Any]:
    names = ("observedContentType", "data", "encoding")
    return {
        _CAPTURE: {
            "endpointInput": {"mode": "INPUT", **dict(zip(names, went_in, strict=True))},
            "endpointOutput": {"mode": "OUTPUT", **dict(zip(names, went_out, strict=True))},
        },
        "eventMetadata": {"eventId": id_, "inferenceTime": "2026-01-05T10:00:00Z"},
        "eventVersion": "0",
    }


def _captured(record: dict[str, Any], reading: Reading) -> list[Event]:
    capture, metadata = record[_CAPTURE], record.get("eventMetadata")
    _, request = _body(capture.get("endpointInput"), _INPUT)
    features = feature_rows(request, reading, _INPUT)
    is_csv, response = _body(capture.get("endpointOutput"), _OUTPUT)
    if is_csv:
        response = {"predictions": _answers(response, len(features), reading)}
    outputs = [_scored(row, reading) for row in output_rows(response, len(features), _OUTPUT)]
    at = first_of((metadata,), "inferenceTime")
    known: Event = {"event_id": _id(metadata), "timestamp": None if at is None else instant(at)}
    return row_events(known, features, outputs, reading)


def _labels(record: dict[str, Any], reading: Reading) -> list[Event]:
    is_csv, found = _body(record[_TRUTH], _LABEL)
    labels = found if isinstance(found, list) else [found]
    if not labels:
        msg = f"{_LABEL}: there is no label in it"
        raise EventError(msg)
    id_, events = _id(record.get("eventMetadata")), []
    for at, label in enumerate(labels):
        if isinstance(label, dict):
            label = label.get(reading.fields.get("label", "label"))
        if isinstance(label, list) and len(label) == 1:
            (label,) = label
        if label is None or isinstance(label, list | dict):
            msg = f"{_LABEL}: row {at}: one value is allowed" + (", without a comma" if is_csv else "")
            raise EventError(msg)
        event: Event = {"label": label}
        if id_ is not None:
            event["event_id"] = row_id(id_, at, len(labels))
        events.append(event)
    return events


def _id(metadata: Any) -> str | None:
    found = first_of((metadata,), "inferenceId", "eventId")
    return None if found is None else str(found)


def _body(side: Any, where: str) -> tuple[bool, Any]:
    """Whether it is CSV, and what is in it."""
    if not isinstance(side, dict) or side.get("data") is None:
        msg = f"{where}: required, an object with data and encoding (capture input and output)"
        raise EventError(msg)
    data, encoding = side["data"], side.get("encoding")
    if encoding == "JSON":
        return False, read_json(data, where)
    if not isinstance(data, str) or encoding not in ("CSV", "BASE64"):
        msg = (
            f"{where}: encoding {encoding!r:.40} of a {type(data).__name__} (use CSV, JSON or BASE64 of text)"
        )
        raise EventError(msg)
    return (True, read_csv(data, where)) if encoding == "CSV" else _decoded(data, side, where)


def _decoded(data: str, side: dict[str, Any], where: str) -> tuple[bool, Any]:
    """Data in base64; their content type says what they are."""
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        msg = f"{where}: no text in base64 ({str(error)[:80]})"
        raise EventError(msg) from error
    content_type = str(side.get("observedContentType") or "").lower()
    if "json" in content_type:
        return False, read_json(text, where)
    if "csv" in content_type:
        return True, read_csv(text, where)
    msg = f"{where}: content type {content_type!r:.60} (CSV or JSON is allowed)"
    raise EventError(msg)


def _scored(row: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """Outputs of a row; a score without a label is what built-in regressions call their prediction."""
    if list(row) == ["score"] and not isinstance(row["score"], list) and "score" not in reading.fields:
        return {OUTPUT: row["score"]}
    return row


def _answers(table: list[list[Any]], rows: int, reading: Reading) -> list[Any]:
    """What a response in CSV says of each row: a value, a list of numbers, or values called o0, o1, …."""
    if len(table) == 1 and len(table[0]) == rows > 1:
        return table[0]  # some algorithms answer all rows in one line
    names = [f"o{at}" for at in range(len(table[0]) if table else 0)]
    if len(names) == 1:
        return [row[0] for row in table]
    is_named = not set(names).isdisjoint(reading.fields.values())
    if is_named or any(not isinstance(value, int | float) for row in table for value in row):
        return [dict(zip(names, row, strict=True)) for row in table]
    return list(table)


def read_csv(text: str, where: str) -> list[list[Any]]:
    r"""Read rows without a header; numbers become numbers, empty cells None.

    Raises
    ------
    EventError
        If it is no CSV, or rows differ in length.

    Examples
    --------
    >>> read_csv('39.5,UA,\n40,"DL, Inc.",1e3', "data")
    [[39.5, 'UA', None], [40, 'DL, Inc.', 1000.0]]
    """
    try:
        rows = [[_cell(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        msg = f"{where}: no CSV ({error})"
        raise EventError(msg) from error
    for at, row in enumerate(rows):
        if len(row) != len(rows[0]):
            msg = f"{where}: row {at} has {len(row)} values, row 0 has {len(rows[0])}"
            raise EventError(msg)
    return rows


def _cell(text: str) -> Any:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return text or None
    if len(text) <= _LONGEST_INTEGER and text.lstrip("+-").isdigit():
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None
