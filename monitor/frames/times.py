"""Instants in tables: RFC 3339 text, datetimes, dates or epoch milliseconds; without a zone they are UTC."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitor.decode.json import EARLIEST_MS, LATEST_MS

ALLOWED = "RFC 3339 as in 2026-01-31T12:00:00Z, a datetime, or epoch milliseconds"
_DAY_MS = 86_400_000
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_ZONE = r"[0-9](Z|[+-][0-9]{2}:?([0-9]{2})?)$"
_TEXT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
)


class WrongInstant(ValueError):  # noqa: N818 - a fault in the data, reported by the caller
    """A value that is no instant.

    Parameters
    ----------
    row : int
        Counted from 0.
    what : str
        The value, and what is wrong with it.
    """

    def __init__(self, row: int, what: str) -> None:
        super().__init__(what)
        self.row, self.what = row, what


def event_times(column: pa.Array) -> NDArray[np.int64]:
    """Read the instants of events.

    Returns
    -------
    int64 array [n]
        Epoch milliseconds.

    Raises
    ------
    WrongInstant
        If one is missing, cannot be read, or lies before 1970 or after 9999.

    Examples
    --------
    >>> event_times(pa.array(["2013-03-01T10:00:00Z", "2013-03-01 10:00"])).tolist()
    [1362132000000, 1362132000000]
    """
    if column.null_count:
        raise WrongInstant(int(pc.index(column.is_null(), True).as_py()), "is missing")
    event_ms = _milliseconds(column)
    out = np.flatnonzero((event_ms < EARLIEST_MS) | (event_ms >= LATEST_MS))
    if len(out):
        raise WrongInstant(
            int(out[0]), f"{_shown(column, int(out[0]))} is not between the years 1970 and 9999"
        )
    return event_ms


def is_temporal(kind: pa.DataType) -> bool:
    """Whether values are dates, times or spans, which count as milliseconds."""
    return bool(pa.types.is_temporal(kind))


def temporal_ms(column: pa.Array) -> pa.Array:
    """Turn dates and datetimes into epoch milliseconds, times and spans into milliseconds; nulls stay."""
    kind = column.type
    if pa.types.is_date32(kind):
        return pc.multiply(column.cast(pa.int32()).cast(pa.int64()), _DAY_MS)
    if pa.types.is_date64(kind):
        return column.cast(pa.int64())
    counted = column.cast(pa.int32()) if kind.bit_width == 32 else column
    whole = counted.cast(pa.int64())
    per_second = _PER_SECOND[kind.unit]
    if per_second <= 1_000:
        return pc.multiply(whole, 1_000 // per_second)
    values = whole.fill_null(0).to_numpy(zero_copy_only=False) // (per_second // 1_000)
    return pa.array(values, mask=column.is_null().to_numpy(zero_copy_only=False))


def _milliseconds(column: pa.Array) -> NDArray[np.int64]:
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _int64(temporal_ms(column))
    if pa.types.is_integer(kind):
        return _int64(column.cast(pa.int64()))
    if pa.types.is_floating(kind):
        return _whole_numbers(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _texts(column.cast(pa.string()))
    raise WrongInstant(0, f"{_shown(column, 0)} is of type {kind} (use {ALLOWED})")


def _whole_numbers(column: pa.Array) -> NDArray[np.int64]:
    values = column.to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53)))
    if len(wrong):
        raise WrongInstant(int(wrong[0]), f"{_shown(column, int(wrong[0]))} is no instant (use {ALLOWED})")
    whole: NDArray[np.int64] = values.astype(np.int64)
    return whole


def _texts(column: pa.Array) -> NDArray[np.int64]:
    looks_right = pc.match_substring_regex(column, _TEXT)
    if not pc.all(looks_right).as_py():
        raise _unreadable(column, int(pc.index(looks_right, False).as_py()))
    try:
        return _parsed(column)
    except pa.ArrowInvalid:
        raise _unreadable(column, _first_unreadable(column)) from None


def _parsed(column: pa.Array) -> NDArray[np.int64]:
    nothing = pa.scalar(None, pa.string())
    # The last part of a date looks like an offset, "-31"; only what has a time can have a zone.
    has_time = pc.greater(pc.binary_length(column), len("2026-01-31"))
    has_zone = pc.and_(has_time, pc.match_substring_regex(column, _ZONE))
    zoned = pc.if_else(has_zone, column, nothing).cast(pa.timestamp("ns", tz="UTC"))
    naive = pc.if_else(has_zone, nothing, column).cast(pa.timestamp("ns"))
    nanoseconds = _int64(pc.coalesce(zoned.cast(pa.int64()), naive.cast(pa.int64())))
    return nanoseconds // 1_000_000


def _first_unreadable(column: pa.Array) -> int:
    """Find the first text that cannot be read, by halving; there is at least one."""
    first, last = 0, len(column)
    while last - first > 1:
        middle = (first + last) // 2
        try:
            _parsed(column.slice(first, middle - first))
        except pa.ArrowInvalid:
            last = middle
        else:
            first = middle
    return first


def _unreadable(column: pa.Array, row: int) -> WrongInstant:
    return WrongInstant(row, f"{_shown(column, row)} is no instant (use {ALLOWED})")


def _shown(column: pa.Array, row: int) -> str:
    return f"{column[row].as_py()!r:.60}"


def _int64(column: pa.Array) -> NDArray[np.int64]:
    values: NDArray[np.int64] = column.to_numpy(zero_copy_only=False)
    return values.astype(np.int64, copy=False)
