"""Random batches of one model version, and plain Python's view of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from schemas.batch import CODE_INVALID, CODE_MISSING, INVALID, MISSING, OK, Batch, Categories
from schemas.column import ColumnSpec, Kind

SLICE_MS = 60_000
X = ColumnSpec("x", Kind.NUMERIC, path=("x",))
LATE = ColumnSpec("late", Kind.NUMERIC, path=("late",))
C = ColumnSpec("c", Kind.CATEGORICAL, path=("c",))
V = ColumnSpec("v", Kind.VECTOR, path=("v",))
BAD = object()  # a value that is there and is not what the column holds


@dataclass(frozen=True)
class Row:
    """One event; None for a missing value, `BAD` for an invalid one."""

    event_ms: int
    x: Any
    c: Any
    v: Any
    origin: Any
    late: Any = None


NUMBERS = st.one_of(
    st.integers(-5, 5).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308]),
)
HOLES = st.sampled_from([None, BAD])
ROWS = st.builds(
    Row,
    st.integers(0, 3 * SLICE_MS - 1),
    NUMBERS | HOLES,
    st.sampled_from(["UA", "DL", "AA", "é", ""]) | HOLES,
    st.sampled_from([[1.0], []]) | HOLES,
    st.sampled_from(["JFK", "EWR", "(missing)", "(other)", "a=b"]) | HOLES,
    st.none() | NUMBERS,
)


def batch_of(rows: list[Row], *, late: bool = True, segments: bool = True) -> Batch:
    """Put rows into columns; without the column `late` before anybody has seen it."""
    specs = (X, LATE) if late else (X,)
    numbers, status = np.zeros((len(specs), len(rows))), np.zeros((len(specs), len(rows)), np.uint8)
    for i, spec in enumerate(specs):
        for j, row in enumerate(rows):
            value = getattr(row, spec.name)
            status[i, j] = MISSING if value is None else INVALID if value is BAD else OK
            numbers[i, j] = value if status[i, j] == OK else 0.0
    return Batch(
        event_ms=np.array([row.event_ms for row in rows], np.int64),
        numeric=specs,
        numbers=numbers,
        status=status,
        categorical=(C,),
        categories=(categories([row.c for row in rows]),),
        vectors=((V, np.array([status_of(row.v) for row in rows], np.uint8)),),
        segments={"origin": categories([row.origin for row in rows])} if segments else None,
    )


def status_of(value: Any) -> int:
    """Status of a value."""
    return MISSING if value is None else INVALID if value is BAD else OK


def categories(values: list[Any]) -> Categories:
    """Put values into a dictionary in the order of their appearance."""
    names: dict[str, int] = {}
    codes = [
        CODE_MISSING if v is None else CODE_INVALID if v is BAD else names.setdefault(v, len(names))
        for v in values
    ]
    return Categories(np.array(codes, np.int32), pa.array(list(names), pa.string()))


def group_of(origin: Any, known: set[str] | None = None) -> str:
    """Name of the group of a segment value; with the values that a reference knows."""
    if origin is None:
        return "origin=(missing)"
    if origin is BAD or origin in ("(missing)", "(other)") or (known is not None and origin not in known):
        return "origin=(other)"
    return f"origin={origin}"
