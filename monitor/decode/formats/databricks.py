"""Databricks: rows of inference tables of model serving, with requests and responses as JSON texts.

References
----------
.. [1] Databricks, "Inference tables for monitoring and debugging models": ``timestamp_ms``,
   ``execution_time_ms``, ``request_metadata``.
.. [2] Databricks, "Monitor served models using AI Gateway-enabled inference tables": ``request_time``,
   ``execution_duration_ms``, ``served_entity_id``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from monitor.decode.bodies import feature_rows, first_of, output_rows, read_json, row_events
from monitor.decode.flat import instant
from monitor.decode.message import Event, Message
from monitor.decode.reading import Example, Kind, Reading
from schemas.errors import EventError

_ID = "databricks_request_id"
_FIRST_ERROR = 400


class Databricks:
    """One event for each row of a request; a request that failed becomes events with an error."""

    name: ClassVar[str] = "databricks"
    order: ClassVar[int] = 32

    def matches(self, message: Message) -> bool:
        """Whether there are the columns of an inference table that nothing else has."""
        return {_ID, "request", "response"} <= message.object_.keys()

    def events(self, message: Message, reading: Reading, _kind: Kind) -> list[Event]:
        """Turn each row of a request into an event."""
        record = message.document
        if not isinstance(record, dict):
            msg = f"databricks: {type(record).__name__} (an object is allowed)"
            raise EventError(msg)
        status = _status(record.get("status_code"))
        known = _known(record, reading)
        if status is not None and status >= _FIRST_ERROR:
            return row_events({**known, "error": f"status {status}"}, _asked(record, reading), None, reading)
        features = feature_rows(_json_of(record, "request"), reading, "databricks: request")
        outputs = output_rows(_json_of(record, "response"), len(features), "databricks: response")
        return row_events(known, features, outputs, reading)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Two rows, one request that failed, and the columns of tables of the AI Gateway."""
        split = {"dataframe_split": {"columns": ["temp", "carrier"], "data": [[39.5, "UA"], [40, "DL"]]}}
        metadata = {"model_name": "m", "model_version": "3", "endpoint_name": "delays"}
        old = {
            "timestamp_ms": 1_767_607_200_000,
            "execution_time_ms": 12,
            "date": "2026-01-05",
            "request_metadata": metadata,
        }
        two = _row("d-1", 200, split, {"predictions": [0.5, 1.5]}) | old | {"client_request_id": "mine"}
        failed = _row("d-2", 500, {"dataframe_records": [{"temp": 1}]}, {"error_code": "INTERNAL"}) | old
        new = _row("d-3", 200, {"inputs": {"temp": [39.5]}}, {"predictions": [[0.25, 0.75]]}) | {
            "request_time": "2026-01-05T10:00:00Z",
            "execution_duration_ms": 9,
            "served_entity_id": "e5",
            "requester": "someone@example.org",
        }
        told = {"model": "m", "version": "3", "timestamp": 1_767_607_200_000, "latency_ms": 12}
        batch: tuple[Event, ...] = (
            {"event_id": "mine:0", **told, "features": {"temp": 39.5, "carrier": "UA"}, "prediction": 0.5},
            {"event_id": "mine:1", **told, "features": {"temp": 40, "carrier": "DL"}, "prediction": 1.5},
        )
        error: Event = {"event_id": "d-2", **told, "features": {"temp": 1}, "error": "status 500"}
        newer: Event = {
            "event_id": "d-3",
            "version": "e5",
            "timestamp": "2026-01-05T10:00:00+00:00",
            "latency_ms": 9,
            "features": {"temp": 39.5},
            "prediction": 1,
            "score": 0.75,
        }
        return tuple(
            Example(Message(msgspec.json.encode(row)), events)
            for row, events in ((two, batch), (failed, (error,)), (new, (newer,)))
        )


def _row(id_: str, status: int, request: Any, response: Any) -> dict[str, Any]:
    return {
        _ID: id_,
        "client_request_id": None,
        "status_code": status,
        "request": msgspec.json.encode(request).decode(),
        "response": msgspec.json.encode(response).decode(),
    }


def _known(record: dict[str, Any], reading: Reading) -> Event:
    """What columns tell of all rows of a request."""
    metadata = record.get("request_metadata")
    told = read_json(metadata, "databricks: request_metadata") if metadata else {}
    version = first_of((told,), "model_version")
    if version is None and not reading.version:
        version = first_of((record,), "served_entity_id")
    texts = {
        "event_id": first_of((record,), "client_request_id", _ID),
        "model": first_of((told,), "model_name", "endpoint_name"),
        "version": version,
    }
    known: Event = {name: str(value) for name, value in texts.items() if value is not None}
    if record.get("timestamp_ms") is not None:
        known["timestamp"] = record["timestamp_ms"]
    elif record.get("request_time") is not None:
        known["timestamp"] = instant(record["request_time"])
    for name in ("execution_time_ms", "execution_duration_ms"):
        if record.get(name) is not None:
            known.setdefault("latency_ms", record[name])
    return known


def _status(value: Any) -> int | None:
    """The HTTP status; rows may have it as text."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        return int(value)
    msg = f"databricks: status_code {value!r:.40} (a HTTP status is allowed)"
    raise EventError(msg)


def _json_of(record: dict[str, Any], column: str) -> Any:
    if record.get(column) is None:
        msg = f"databricks: {column}: required, a JSON text"
        raise EventError(msg)
    return read_json(record[column], f"databricks: {column}")


def _asked(record: dict[str, Any], reading: Reading) -> list[dict[str, Any]]:
    """Rows of a request that failed, maybe because it could not be read."""
    try:
        return feature_rows(_json_of(record, "request"), reading, "databricks: request")
    except EventError:
        return [{}]
