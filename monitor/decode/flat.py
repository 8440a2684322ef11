"""Records with everything side by side: which field is what is said by the stream, the rest are features."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from monitor.decode.message import Event
from monitor.decode.reading import ROLES, Reading
from schemas.errors import EventError

_UNITS = ((1e11, 1_000), (1e14, 1), (1e17, 1e-3))  # below: seconds, milliseconds, microseconds
_OF_JSON = frozenset({type(None), bool, int, float, str})


def flat_event(
    record: Mapping[str, Any],
    reading: Reading,
    usual: Mapping[str, str],
    *,
    left_out: frozenset[str] = frozenset(),
) -> Event:
    """Sort the fields of a record into those of an event.

    Parameters
    ----------
    record : mapping of str to object
    reading : Reading
        Its `fields` go before `usual`; with `inputs`, only these are features.
    usual : mapping of str to str
        Names that fields have in a format, by role.
    left_out : frozenset of str
        Fields that are no features.

    Examples
    --------
    >>> flat_event({"id": 7, "age": 40, "y": 1}, Reading(), {"event_id": "id", "prediction": "y"})
    {'event_id': '7', 'prediction': 1, 'features': {'age': 40}}
    """
    names = {**usual, **reading.fields}
    event: Event = {}
    for role in ROLES:
        value = record.get(names[role]) if role in names else None
        if value is not None:
            event[role] = _as(role, value)
    used = left_out | set(names.values())
    features = {name: plain(value) for name, value in record.items() if name not in used}
    if reading.inputs:
        features = {name: plain(record.get(name)) for name in reading.inputs}
    if features:
        event["features"] = features
    return event


def row_id(id_: Any, at: int, rows: int) -> str:
    """Id of one of the events of a message that has an id itself.

    Examples
    --------
    >>> row_id("r7", 0, 1), row_id("r7", 0, 2)
    ('r7', 'r7:0')
    """
    return str(id_) if rows == 1 else f"{id_}:{at}"


def _as(role: str, value: Any) -> Any:
    if role == "timestamp":
        return instant(value)
    if role in ("event_id", "model", "version"):
        return value if isinstance(value, str) else str(value)
    return plain(value)


def instant(value: Any) -> str | int:
    """Write an instant as native events do: RFC 3339, or epoch milliseconds.

    Parameters
    ----------
    value : datetime, date, str, int or float
        Instants without a zone are UTC. Numbers are epoch seconds below 10¹¹, milliseconds below 10¹⁴,
        microseconds below 10¹⁷, and nanoseconds from there on.

    Raises
    ------
    EventError
        If it is anything else.

    Examples
    --------
    >>> instant(1_362_132_000.5), instant(1_362_132_000_000_000), instant("2013-03-01 10:00:00")
    (1362132000500, 1362132000000, '2013-03-01T10:00:00+00:00')
    """
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00:00Z"
    if isinstance(value, int | float) and not isinstance(value, bool):
        scale = next((factor for limit, factor in _UNITS if abs(value) < limit), 1e-6)
        return int(value * scale)
    if isinstance(value, str):
        try:
            return instant(datetime.fromisoformat(value))
        except ValueError:
            return value  # whoever reads the event says what is wrong with it
    msg = f"timestamp: {value!r:.60} is no instant"
    raise EventError(msg)


def plain(value: Any) -> Any:
    """Turn a value of another type system into one of JSON; bytes that are no text are left out."""
    if type(value) in _OF_JSON:
        return value
    if isinstance(value, datetime | date):
        return instant(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
