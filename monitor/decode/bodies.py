"""Bodies of requests and responses as serving systems write them: rows of features, and rows of outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from monitor.decode.flat import flat_event, row_id
from monitor.decode.message import Event, reason_of
from monitor.decode.outputs import outputs_of
from monitor.decode.reading import Reading
from schemas.errors import EventError

MOST_ROWS = 100_000
OUTPUT = "output"
"""Name of an output that comes without one."""

_OF_ROWS = ("event_id", "timestamp")  # roles that a field among the features can have


def read_json(text: Any, where: str) -> Any:
    r"""Read JSON in a text, or JSON Lines as a list; what is no text has been read already.

    Raises
    ------
    EventError
        If it is neither.

    Examples
    --------
    >>> read_json('{"a": 1}', "request"), read_json('[1]\n[2]', "request"), read_json({"a": 1}, "request")
    ({'a': 1}, [[1], [2]], {'a': 1})
    """
    if not isinstance(text, str | bytes):
        return text
    value = text.encode() if isinstance(text, str) else text
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        lines = [line for line in value.splitlines() if line.strip()]
        if len(lines) > 1:
            try:
                return [msgspec.json.decode(line) for line in lines]
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
                pass  # what is wrong with the whole says more
        msg = f"{where}: no JSON ({reason_of(value, error)})"
        raise EventError(msg) from error


def feature_rows(body: Any, reading: Reading, where: str) -> list[dict[str, Any]]:
    """Features of each row of a request.

    Parameters
    ----------
    body : object
        ``dataframe_records``, ``dataframe_split``, ``instances``, ``inputs`` or ``features`` with rows; a
        list of rows; or one row. A row is an object, or a list of values that `Reading.inputs` names, else
        ``f0``, ``f1``, ….
    reading : Reading
    where : str
        For messages of errors.

    Raises
    ------
    EventError
        If there is no row, or a row has other values than there are names.

    Examples
    --------
    >>> feature_rows({"instances": [[1, 2]]}, Reading(inputs=("temp", "wind")), "x")
    [{'temp': 1, 'wind': 2}]
    """
    rows = _rows(body, where)
    if not 0 < len(rows) <= MOST_ROWS:
        msg = f"{where}: {len(rows)} rows (1 to {MOST_ROWS} are allowed)"
        raise EventError(msg)
    return [_named(row, reading, f"{where}[{at}]") for at, row in enumerate(rows)]


def output_rows(body: Any, rows: int, where: str) -> list[dict[str, Any]]:
    """Outputs by name of each row of a response.

    Parameters
    ----------
    body : object
        ``predictions`` with a value, a list or an object for each row, and lists as long beside it; such a
        list alone; or the outputs of one row. Outputs without a name are called ``output``.
    rows : int
        How many rows the request has.
    where : str
        For messages of errors.

    Raises
    ------
    EventError
        If there are more rows, or less.

    Examples
    --------
    >>> output_rows({"predictions": ["a", "b"], "scores": [0.9, 0.8]}, 2, "response")
    [{'scores': 0.9, 'predictions': 'a'}, {'scores': 0.8, 'predictions': 'b'}]
    """
    if not isinstance(body, dict) or "predictions" not in body:
        return [_outputs(one, {}, OUTPUT) for one in _per_row(body, rows, where, is_bare=True)]
    predictions = _per_row(body["predictions"], rows, where)
    lists = {
        name: values
        for name, values in body.items()
        if name != "predictions" and isinstance(values, list) and len(values) == rows
    }
    if not lists:
        return [_outputs(one, {}, OUTPUT) for one in predictions]
    beside = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    return [_outputs(one, other, "predictions") for one, other in zip(predictions, beside, strict=True)]


def row_events(
    known: Event,
    features: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]] | None,
    reading: Reading,
) -> list[Event]:
    """Make an event of each row.

    Parameters
    ----------
    known : dict
        What is known of all of them; rows get ids of their own from its ``event_id``.
    features : sequence of mapping
        Of each row; the stream's `fields` may say that one of them is the id or the time.
    outputs : sequence of mapping, optional
        Of each row; None if nothing was predicted.
    reading : Reading

    Examples
    --------
    >>> row_events({"event_id": "r"}, [{"a": 1}, {"a": 2}], [{"y": 0}, {"y": 1}], Reading())[1]
    {'event_id': 'r:1', 'features': {'a': 2}, 'prediction': 1}
    """
    fields = {role: reading.fields[role] for role in _OF_ROWS if role in reading.fields}
    among = Reading(fields=fields, inputs=reading.inputs)
    told = {name: value for name, value in known.items() if value is not None}
    events = []
    for at, row in enumerate(features):
        ids = {"event_id": row_id(told["event_id"], at, len(features))} if "event_id" in told else {}
        event = {**told, **ids, **flat_event(row, among, {})}
        if outputs is not None:
            event |= outputs_of(outputs[at], reading)
        events.append(event)
    return events


def first_of(documents: Sequence[Any], *names: str) -> Any:
    """The first value that is there, and is not empty, of some names in some objects; else None."""
    for document in documents:
        for name in names if isinstance(document, dict) else ():
            value = document.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                return value
    return None


def _rows(body: Any, where: str) -> list[Any]:
    if isinstance(body, list):
        is_one = bool(body) and not any(isinstance(value, list | dict) for value in body)
        return [body] if is_one else body
    if not isinstance(body, dict):
        msg = f"{where}: {type(body).__name__} (an object or a list is allowed)"
        raise EventError(msg)
    if "dataframe_split" in body:
        return _split(body["dataframe_split"], f"{where}.dataframe_split")
    for name in ("dataframe_records", "instances", "inputs"):
        if name in body:
            found = body[name]
            if name == "inputs" and isinstance(found, dict):
                return _columns(found, f"{where}.inputs")
            if not isinstance(found, list):
                msg = f"{where}.{name}: {type(found).__name__} (a list of rows is allowed)"
                raise EventError(msg)
            return found
    if list(body) == ["features"] and isinstance(body["features"], list):
        return _rows(body["features"], f"{where}.features")
    return [body]


def _split(split: Any, where: str) -> list[Any]:
    columns, data = (split.get("columns"), split.get("data")) if isinstance(split, dict) else (None, None)
    if not isinstance(columns, list) or not isinstance(data, list):
        msg = f"{where}: an object with lists 'columns' and 'data' is allowed"
        raise EventError(msg)
    for at, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            has = f"{len(row)} values" if isinstance(row, list) else type(row).__name__
            msg = f"{where}.data[{at}]: {has} (a list with one value for each of {len(columns)} columns)"
            raise EventError(msg)
    names = list(map(str, columns))
    return [dict(zip(names, row, strict=True)) for row in data]


def _columns(columns: dict[str, Any], where: str) -> list[Any]:
    """Rows of lists by name; values that are no lists are those of one row."""
    lengths = _lengths(columns)
    if lengths <= {-1}:
        return [columns]
    if len(lengths) != 1:
        msg = f"{where}: {', '.join(map(repr, columns))[:120]}: lists of the same length are allowed"
        raise EventError(msg)
    values = ([_only(value) for value in values] for values in columns.values())
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _named(row: Any, reading: Reading, where: str) -> dict[str, Any]:
    if isinstance(row, dict) and list(row) == ["features"] and isinstance(row["features"], list | dict):
        row = row["features"]
    if isinstance(row, dict):
        return row
    values = row if isinstance(row, list) else [row]
    names = reading.inputs or tuple(f"f{at}" for at in range(len(values)))
    if len(names) != len(values):
        msg = f"{where}: {len(values)} values, but the stream's inputs name {len(names)}"
        raise EventError(msg)
    return dict(zip(names, values, strict=True))


def _per_row(value: Any, rows: int, where: str, *, is_bare: bool = False) -> list[Any]:
    """Values of each row; a bare list may also be the outputs of a single row."""
    found = [value]
    if isinstance(value, list):
        found = [value] if is_bare and rows == 1 and len(value) != 1 else value
    elif isinstance(value, dict) and _lengths(value) == {rows}:
        found = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if len(found) != rows:
        msg = f"{where}: {len(found)} rows of outputs, but {rows} rows of inputs"
        raise EventError(msg)
    return found


def _lengths(lists: dict[str, Any]) -> set[int]:
    """How long the lists of an object are; -1 for other values."""
    return {len(values) if isinstance(values, list) else -1 for values in lists.values()}


def _outputs(one: Any, beside: dict[str, Any], name: str) -> dict[str, Any]:
    return {**beside, **(one if isinstance(one, dict) else {name: one})}
