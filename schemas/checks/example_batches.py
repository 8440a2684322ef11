"""Small batches for the examples of checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from schemas.batch import CODE_INVALID, CODE_MISSING, INVALID, MISSING, OK, Batch, Categories
from schemas.column import SCORE, ColumnSpec, Kind, Source

WRONG = object()
"""Stands for a value of another type."""


def batch(
    numeric: Mapping[str, Sequence[object]] | None = None,
    categorical: Mapping[str, Sequence[object]] | None = None,
) -> Batch:
    """Make a batch with a row a second; None is a missing value, `WRONG` an invalid one."""
    numbers, names = numeric or {}, categorical or {}
    rows = len(next(iter([*numbers.values(), *names.values()])))
    states = [[_status(value) for value in column] for column in numbers.values()]
    return Batch(
        event_ms=np.arange(rows, dtype=np.int64) * 1_000,
        numeric=tuple(ColumnSpec(name, Kind.NUMERIC, _source(name)) for name in numbers),
        numbers=np.array(
            [[v if isinstance(v, int | float) else 0.0 for v in column] for column in numbers.values()],
            np.float64,
        ).reshape(len(numbers), rows),
        status=np.array(states, np.uint8).reshape(len(numbers), rows),
        categorical=tuple(ColumnSpec(name, Kind.CATEGORICAL) for name in names),
        categories=tuple(_categories(column) for column in names.values()),
    )


def _status(value: object) -> int:
    return MISSING if value is None else INVALID if value is WRONG else OK


def _source(name: str) -> Source:
    return Source.SCORE if name == SCORE or name.startswith(f"{SCORE}.") else Source.FEATURE


def _categories(column: Sequence[object]) -> Categories:
    texts: dict[str, int] = {"does not occur": 0}
    codes = [
        CODE_MISSING if v is None else CODE_INVALID if v is WRONG else texts.setdefault(str(v), len(texts))
        for v in column
    ]
    return Categories(np.array(codes, np.int32), pa.array(list(texts), pa.string()))
