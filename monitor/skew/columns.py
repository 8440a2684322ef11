"""From columns as they were logged to values with their types."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.mismatch.values import Type, Values
from monitor.decode.batch import to_categories, to_numbers
from monitor.frames.values import categories, is_number, kind_of, plain
from schemas.batch import INVALID
from schemas.column import Kind

if TYPE_CHECKING:
    import pandas as pd

Objects = NDArray[np.object_]
_OF_TYPES: tuple[tuple[tuple[type, ...], Type], ...] = (
    ((bool, np.bool_), Type.TRUTH),  # bool before int, which it is as well
    ((str,), Type.TEXT),
    ((list, tuple, np.ndarray), Type.LIST),
    ((int, float, np.number, Decimal), Type.NUMBER),
)


def of_arrow(column: pa.ChunkedArray) -> Values:
    """Read a column of a table.

    Raises
    ------
    ValueError
        If its values are of a type that no feature has.

    Examples
    --------
    >>> of_arrow(pa.chunked_array([[1.5, None, float("nan")]])).type.tolist()
    [1, 0, 0]
    """
    kind = kind_of(column.type)
    array = plain(column)
    absent = array.is_null().to_numpy(zero_copy_only=False)
    numbers, texts = np.zeros(len(array)), pa.nulls(len(array), pa.string())
    if kind is None:
        found = Type.MISSING
    elif kind is Kind.VECTOR:
        found = Type.LIST
    elif is_number(array.type) or pa.types.is_boolean(array.type):
        found = Type.NUMBER if is_number(array.type) else Type.TRUTH
        numbers = array.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False)
    else:
        found, texts = Type.TEXT, array
    return Values(np.where(absent, Type.MISSING, found).astype(np.uint8), numbers, texts)


def of_objects(values: Objects) -> Values:
    """Read Python objects [n] as JSON or pandas gives them; None, NaN and what else is no value is missing.

    Raises
    ------
    ValueError
        If a value is of a type that no feature has.

    Examples
    --------
    >>> of_objects(np.array([1, "1", True, None, 2.5], object)).type.tolist()
    [1, 2, 3, 0, 1]
    """
    types = np.fromiter(map(type, values), object, len(values))
    kinds = np.zeros(len(values), np.uint8)
    for one in dict.fromkeys(types.tolist()):
        kinds[types == one] = _type(one)
    there = kinds == Type.NUMBER
    numbers = np.zeros(len(values))
    if there.any():
        numbers[there], invalid = _numbers(values[there])
        kinds[np.flatnonzero(there)[invalid]] = Type.MISSING
    kinds[there & np.isnan(numbers)] = Type.MISSING
    truth = kinds == Type.TRUTH
    numbers[truth] = values[truth].astype(np.float64)
    numbers[kinds == Type.MISSING] = 0.0
    return Values(kinds, numbers, _texts(values, kinds == Type.TEXT))


def of_series(series: pd.Series) -> Values:
    """Read a column of a pandas frame; see `of_arrow` and `of_objects`."""
    if series.dtype == object:
        try:
            return of_objects(series.to_numpy(object))
        except ValueError as error:
            try:  # dates and the like, all of one type
                return of_arrow(pa.chunked_array([pa.array(series, from_pandas=True)]))
            except (pa.ArrowException, ValueError):
                raise error from None
    return of_arrow(pa.chunked_array([pa.array(series, from_pandas=True)]))


def text_of(column: pa.ChunkedArray) -> pa.Array:
    """Names of the values of a column of a table, as parts of a key; null where there is none."""
    found = categories(plain(column))
    return found.values.take(pa.array(found.codes, pa.int32(), mask=found.codes < 0))


def text_of_series(series: pd.Series) -> pa.Array:
    """Names of the values of a column of a pandas frame, as parts of a key; null where there is none."""
    if series.dtype == object:
        return text_of_objects(series.to_numpy(object))
    return text_of(pa.chunked_array([pa.array(series, from_pandas=True)]))


def text_of_objects(values: Objects) -> pa.Array:
    """Names of Python objects, as parts of a key; null where there is none."""
    absent = np.not_equal(values, values).astype(bool)  # NaN, as pandas fills gaps
    found = to_categories(without(values, absent).tolist())
    return found.values.take(pa.array(found.codes, pa.int32(), mask=found.codes < 0))


def without(values: Objects, absent: NDArray[np.bool_]) -> Objects:
    """Return the same with None where a mask says so."""
    found = values.copy()
    found[absent] = None
    return found


def _type(one: type) -> Type:
    for known, kind in _OF_TYPES:
        if issubclass(one, known):
            return kind
    if one is type(None) or one.__name__ in ("NAType", "NaTType"):
        return Type.MISSING
    msg = f"values of type {one.__name__} cannot be compared (use numbers, texts, truth values and lists)"
    raise ValueError(msg)


def _numbers(values: Objects) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers, and which of them no float can hold."""
    try:
        return values.astype(np.float64), np.zeros(len(values), bool)
    except OverflowError:  # integers of more than 308 digits
        numbers, status = to_numbers(values.tolist())
        return numbers, status == INVALID


def _texts(values: Objects, is_text: NDArray[np.bool_]) -> pa.Array:
    texts = without(values, ~is_text)
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:  # half a surrogate pair becomes a question mark
        clean = [
            None if text is None else text.encode("utf-8", "replace").decode() for text in texts.tolist()
        ]
        return pa.array(clean, pa.string())
