"""Tensors of the open inference protocol, version 2, as its JSON has them; no format of its own.

References
----------
.. [1] KServe, "Open Inference Protocol", "Tensor Data" and "Tensor Data Types".
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.decode.bodies import MOST_ROWS
from monitor.decode.flat import plain
from schemas.errors import EventError

_INTEGERS = tuple(f"{kind}{bits}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64))
_TYPES: dict[str, set[type]] = {
    "BOOL": {bool},
    **{name: {int} for name in _INTEGERS},
    **{name: {int, float} for name in ("FP16", "FP32", "FP64")},
    "BYTES": {str},
}


@dataclass(frozen=True)
class Tensor:
    """A tensor whose data fit its shape and its datatype.

    Parameters
    ----------
    place : str
        For messages of errors.
    name : str
    values : object array [rows, columns]
        All dimensions but the first are one.
    columns : tuple of str
        Names that the tensor gives its columns; empty if it gives none.
    """

    place: str
    name: str
    values: NDArray[np.object_]
    columns: tuple[str, ...] = ()


def read_tensors(documents: Any, where: str, content_type: str = "") -> list[Tensor]:
    """Read tensors as the protocol has them in JSON.

    Parameters
    ----------
    documents : list of dict
        With ``name``, ``shape``, ``datatype`` and ``data``, flat or nested.
    where : str
        For messages of errors.
    content_type : str
        Of tensors that have none among their own ``parameters``.

    Raises
    ------
    EventError
        If one of them does not fit its shape or its datatype.
    """
    if not isinstance(documents, list) or not documents:
        msg = f"{where}: required, a list of tensors"
        raise EventError(msg)
    return [_tensor(one, f"{where}[{at}]", content_type) for at, one in enumerate(documents)]


def _tensor(document: Any, place: str, content_type: str) -> Tensor:
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str):
        msg = f"{place}: an object with name, shape, datatype and data is allowed"
        raise EventError(msg)
    place = f"{place} {name!r:.60}"
    shape = _shape(document.get("shape"), place)
    values = _data(document.get("data"), shape, place)
    parameters = document.get("parameters")
    told = parameters if isinstance(parameters, dict) else {}
    _require_type(values, document.get("datatype"), place)
    if document["datatype"] == "BYTES" and told.get("content_type", content_type) == "base64":
        values = _texts(values, place)
    table = values.reshape(shape[0], -1)
    columns = told.get("columns")
    if not isinstance(columns, list):
        return Tensor(place, name, table)
    if len(columns) != table.shape[1]:
        msg = f"{place}: {table.shape[1]} columns, but parameters.columns names {len(columns)}"
        raise EventError(msg)
    return Tensor(place, name, table, tuple(map(str, columns)))


def _shape(shape: Any, place: str) -> list[int]:
    if not isinstance(shape, list) or not shape or any(type(n) is not int or n < 1 for n in shape):
        msg = f"{place}: shape {shape!r:.60} (a list of whole numbers from 1 on, rows first)"
        raise EventError(msg)
    if shape[0] > MOST_ROWS:
        msg = f"{place}: {shape[0]} rows (at most {MOST_ROWS} are allowed)"
        raise EventError(msg)
    return shape


def _data(data: Any, shape: list[int], place: str) -> NDArray[np.object_]:
    """Values in row-major order, however they are nested."""
    if not isinstance(data, list):
        msg = f"{place}: data: required, a list (data outside of the JSON cannot be read)"
        raise EventError(msg)
    values = np.asarray(data, dtype=object).ravel()
    if len(values) != math.prod(shape):
        msg = f"{place}: shape {shape!r:.60} has {math.prod(shape)} values, but data has {len(values)}"
        raise EventError(msg)
    return values


def _require_type(values: NDArray[np.object_], datatype: Any, place: str) -> None:
    allowed = _TYPES.get(datatype) if isinstance(datatype, str) else None
    if allowed is None:
        msg = f"{place}: datatype {datatype!r:.40} (use one of {', '.join(_TYPES)})"
        raise EventError(msg)
    found = values.tolist()
    wrong = set(map(type, found)) - allowed - {type(None)}
    if wrong:
        msg = f"{place}: datatype {datatype}, but a value is a {min(one.__name__ for one in wrong)}"
        raise EventError(msg)
    if datatype in _INTEGERS:
        limits = np.iinfo(datatype.lower())
        known = [value for value in found if value is not None]
        if known and not limits.min <= min(known) <= max(known) <= limits.max:
            msg = f"{place}: a value outside of {datatype} ({limits.min} to {limits.max})"
            raise EventError(msg)


def _texts(values: NDArray[np.object_], place: str) -> NDArray[np.object_]:
    """Texts of values in base64; None for bytes that are none."""
    try:
        decoded = [
            None if value is None else plain(base64.b64decode(value, validate=True)) for value in values
        ]
    except (binascii.Error, ValueError) as error:
        msg = f"{place}: no base64 ({error})"
        raise EventError(msg) from error
    return np.array(decoded, dtype=object)
