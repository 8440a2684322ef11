"""From the columns of a table to numbers, categories and presence, with the rules of the JSON decoder."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitor.decode.features import category_texts
from monitor.frames.times import is_temporal, temporal_ms
from schemas.batch import CODE_INVALID, CODE_MISSING, INVALID, MISSING, Categories, Lists
from schemas.column import Kind

ALLOWED = "numbers, texts, truth values, dates, and lists"


def kind_of(kind: pa.DataType) -> Kind | None:
    """Kind that a type of Arrow has if nobody says otherwise; None for a column without any value.

    Raises
    ------
    ValueError
        If values of that type cannot be watched.
    """
    if pa.types.is_dictionary(kind):
        return kind_of(kind.value_type)
    if pa.types.is_null(kind):
        return None
    if pa.types.is_boolean(kind) or _is_text(kind):
        return Kind.CATEGORICAL
    if is_number(kind) or is_temporal(kind):
        return Kind.NUMERIC
    if _is_list(kind):
        return Kind.VECTOR
    msg = f"values of type {kind} cannot be watched (use {ALLOWED})"
    raise ValueError(msg)


def is_number(kind: pa.DataType) -> bool:
    """Whether values are numbers; truth values are not."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def has_fractions(kind: pa.DataType) -> bool:
    """Whether values are numbers with a fractional part, even if it should be 0."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_floating(value) or pa.types.is_decimal(value))


def plain(column: pa.ChunkedArray) -> pa.Array:
    """One array, in which missing values are null, dates are milliseconds and decimals floats."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_temporal(array.type):
        return temporal_ms(array)
    if pa.types.is_decimal(array.type) or pa.types.is_float16(array.type) or pa.types.is_float32(array.type):
        array = array.cast(pa.float64())
    if pa.types.is_float64(array.type):
        return pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)
    return array.cast(pa.string()) if _is_text(array.type) else array


def numbers(column: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Numbers and their status; what is no number is invalid, and so is infinity.

    Examples
    --------
    >>> numbers(pa.array([1.5, None, float("inf")]))
    (array([1.5, 0. , 0. ]), array([0, 1, 2], dtype=uint8))
    """
    missing = _missing(column)
    if not is_number(column.type):
        return np.zeros(len(column)), np.where(missing, np.uint8(MISSING), np.uint8(INVALID))
    floats = column.cast(pa.float64(), safe=False).fill_null(0.0)
    values: NDArray[np.float64] = floats.to_numpy(zero_copy_only=False)
    finite = np.isfinite(values)
    status = np.where(missing, np.uint8(MISSING), np.where(finite, np.uint8(0), np.uint8(INVALID)))
    return np.where(finite, values, 0.0), status


def categories(column: pa.Array) -> Categories:
    """Codes and names of categories; lists are invalid.

    Examples
    --------
    >>> found = categories(pa.array([1.0, None, 2.5, 1.0]))
    >>> found.codes.tolist(), found.values.to_pylist()
    ([0, -1, 1, 0], ['1', '2.5'])
    """
    if _is_list(column.type):
        codes = np.where(_missing(column), CODE_MISSING, CODE_INVALID).astype(np.int32)
        return Categories(codes, pa.array([], pa.string()))
    if pa.types.is_null(column.type):
        return Categories(np.full(len(column), CODE_MISSING, np.int32), pa.array([], pa.string()))
    encoded = column.dictionary_encode()
    # Several values may have one name (0.0 and -0.0), and infinity has none.
    names = category_texts(encoded.dictionary).dictionary_encode()
    places = names.indices.fill_null(CODE_INVALID).to_numpy(zero_copy_only=False)
    places = np.append(places, CODE_MISSING).astype(np.int32)
    at = encoded.indices.fill_null(len(places) - 1).to_numpy(zero_copy_only=False)
    return Categories(places[at], names.dictionary)


def presence(column: pa.Array) -> NDArray[np.uint8]:
    """Status of a column of lists; what is no list is invalid."""
    present = np.uint8(0 if _is_list(column.type) else INVALID)
    return np.where(_missing(column), np.uint8(MISSING), present)


def lists(column: pa.Array) -> Lists:
    """Lists of numbers; no lists of what is something else."""
    kind = column.type
    if _is_list(kind) and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return Lists(column.cast(pa.list_(pa.float64())))
    return Lists(pa.array([], pa.list_(pa.float64())), np.full(len(column), -1))


def _missing(column: pa.Array) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return missing


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
    )  # fmt: skip
