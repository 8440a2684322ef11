"""pandas frames. A column of objects is what its values are in JSON: ints are numbers, not categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from monitor.decode.batch import to_categories, to_numbers
from monitor.frames.names import TIMESTAMP, KnownKinds
from monitor.frames.table import Table, checked, flattened, rows_together
from schemas.batch import CODE_INVALID, INVALID
from schemas.column import PREDICTION, Kind
from schemas.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

_CANNOT_BE_ONE_TYPE = (pa.ArrowException, OverflowError, UnicodeEncodeError)


def frame_table(frame: pd.DataFrame, kinds: KnownKinds, name: str = "frame") -> Table:
    """Make a table of a frame, which is not changed.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row an event. An index that is called ``timestamp`` counts as that column.
    kinds : KnownKinds
        Decides what a column of mixed objects is.
    name : str
        What messages call the frame.

    Raises
    ------
    UsageError
        If a column mixes lists and single values, or two columns have one name.
    """
    if frame.index.name == TIMESTAMP and TIMESTAMP not in frame.columns:
        frame = frame.reset_index()
    columns = [_column(name, str(label), frame.iloc[:, at], kinds) for at, label in enumerate(frame.columns)]
    whole = flattened(pa.table(columns, names=[str(label) for label in frame.columns]))
    rows = rows_together(whole.num_columns)

    def parts() -> Iterator[pa.Table]:
        for start in range(0, whole.num_rows, rows):
            yield whole.slice(start, rows)

    return checked(Table(name, whole.schema, parts))


def _column(frame: str, name: str, series: pd.Series[Any], kinds: KnownKinds) -> pa.Array:
    try:
        return pa.array(series, from_pandas=True)
    except _CANNOT_BE_ONE_TYPE:
        return _mixed(frame, name, series, kinds)


def _mixed(frame: str, name: str, series: pd.Series[Any], kinds: KnownKinds) -> pa.Array:
    """Read values of several types as the stream does: the usual type decides, the others are invalid."""
    values = [
        # Python objects already, so there is no other way than one by one; numpy's are not what JSON gives.
        value.item() if isinstance(value, np.generic) else value
        for value in series.astype(object).where(series.notna(), None).tolist()
    ]
    kind = kinds.of(name) or _usual_kind(name, values)
    if kind is Kind.NUMERIC:
        numbers, status = to_numbers(values)
        return pa.array(np.where(status == INVALID, np.inf, numbers), mask=np.array(series.isna(), bool))
    found = to_categories(values)
    if kind is Kind.VECTOR or (found.codes == CODE_INVALID).any():
        message = "holds values of types that do not go together (use single values only, or lists only)"
        raise UsageError(f"{frame}: {name}: {message}")  # noqa: EM102 - built from its parts
    return pa.DictionaryArray.from_arrays(pa.array(found.codes, mask=found.codes < 0), found.values)


def _usual_kind(name: str, values: list[Any]) -> Kind:
    """Kind as the stream would find it, see `monitor.decode`."""
    if name == PREDICTION:
        first = next((value for value in values if value is not None), None)
        return Kind.NUMERIC if isinstance(first, float) else Kind.CATEGORICAL
    types = Counter(map(type, values))
    numbers = types[int] + types[float]
    if numbers >= max(types[str], types[bool], types[list]):
        return Kind.NUMERIC
    return Kind.VECTOR if types[list] > max(types[str], types[bool]) else Kind.CATEGORICAL
