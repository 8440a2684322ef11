"""A request and its response that came apart, as two documents: those of version 1 and 2 of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from monitor.decode.bodies import feature_rows, row_events
from monitor.decode.formats.v1 import V1
from monitor.decode.formats.v2 import V2
from monitor.decode.message import Event, Message
from monitor.decode.reading import Reading
from schemas.errors import EventError


def exchange_events(
    request: Any, response: Any, reading: Reading, *, id_: str, beside: Mapping[str, Any], where: str
) -> list[Event]:
    """Turn a request and its response into one event for each row.

    Parameters
    ----------
    request : object
        With ``instances``, or with ``inputs`` that are tensors.
    response : object
        With ``predictions`` or ``outputs``, or with an ``error``.
    reading : Reading
    id_ : str
        Of the request; rows of a batch get ids of their own from it.
    beside : mapping of str to object
        ``model_name`` and ``model_version``, where the two do not say them.
    where : str
        Name of the format, for messages of errors.

    Raises
    ------
    EventError
        If they cannot be read, or do not belong together.

    Examples
    --------
    >>> exchange_events({"instances": [[1]]}, {"predictions": [0]}, Reading(), id_="r", beside={}, where="x")
    [{'event_id': 'r', 'features': {'f0': 1}, 'prediction': 0}]
    """
    for name, document in (("request", request), ("response", response)):
        if not isinstance(document, dict):
            msg = f"{where}: {name}: {type(document).__name__} (an object is allowed)"
            raise EventError(msg)
    both = {"request": request, "response": {**response, "id": id_}, **beside}
    if "instances" not in request:
        return V2().events(Message(b"").holding(both), reading, "predictions")
    if isinstance(response.get("error"), str) and "predictions" not in response:
        known = {"event_id": id_, "model": beside.get("model_name"), "version": beside.get("model_version")}
        features = feature_rows({"instances": request["instances"]}, reading, f"{where}: request")
        return row_events({**known, "error": response["error"]}, features, None, reading)
    return V1().events(Message(b"").holding(both), reading, "predictions")


def times_of(request_time: str | None, response_time: str | None) -> Event:
    """Time of a request, and how long its response took, as far as they tell.

    Parameters
    ----------
    request_time, response_time : str, optional
        RFC 3339.

    Examples
    --------
    >>> times_of("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.25Z")
    {'timestamp': '2026-01-01T00:00:00Z', 'latency_ms': 250.0}
    """
    if not request_time:
        return {}
    begun, ended = _instant(request_time), _instant(response_time)
    if begun is None or ended is None or ended < begun:
        return {"timestamp": request_time}
    return {"timestamp": request_time, "latency_ms": (ended - begun).total_seconds() * 1_000}


def _instant(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None  # whoever reads the event says what is wrong with its time
    return found if found.tzinfo else found.replace(tzinfo=UTC)
