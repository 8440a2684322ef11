"""Columns of Arrow as the four kinds of scalars that JSON has; what JSON cannot say is null."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

INTEGER, NUMBER, TEXT, TRUTH = pa.int64(), pa.float64(), pa.string(), pa.bool_()


def plain_column(column: pa.Array) -> pa.Array | None:
    """Give a column one of the types int64, float64, string and bool, or that of nothing but nulls.

    Returns
    -------
    pa.Array or None
        None for values that become scalars of JSON one by one only, such as dates.

    Examples
    --------
    >>> plain_column(pa.array([1.5, float("nan"), None], pa.float32())).to_pylist()
    [1.5, None, None]
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain_column(column.dictionary_decode()) if kind.value_type == TEXT else None
    if pa.types.is_null(kind) or kind in (INTEGER, TEXT, TRUTH):
        return column
    if kind in (NUMBER, pa.float32()):
        return _finite(column.cast(NUMBER))
    if kind == pa.large_string():
        return column.cast(TEXT)
    if kind == pa.uint64():
        return None if (pc.max(column).as_py() or 0) >= 2**63 else column.cast(INTEGER)
    return column.cast(INTEGER) if pa.types.is_integer(kind) else None


def _finite(column: pa.Array) -> pa.Array:
    if not column.null_count:
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(column.to_numpy().sum()):
                return column  # a sum with anything else in it is not finite
    finite = pc.is_finite(column)
    if pc.min(finite).as_py() is not False:
        return column
    return pc.if_else(finite, column, pa.scalar(None, NUMBER))
