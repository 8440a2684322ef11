"""How examples of events that broke a rule are taken from a batch, and how their values are written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.batch import CODE_MISSING, MISSING, OK, Batch
from schemas.checks.base import Columns, Values
from schemas.checks.catalog import checks
from schemas.contract import Contract, RuleKey
from schemas.examples import Example, Examples, of, printable
from schemas.origins import Origins

LONGEST_ID, LONGEST_VALUE, MOST_VALUES = 100, 60, 8


def examples_of(
    batch: Batch, rows: NDArray[np.intp], key: RuleKey, contract: Contract, known: Examples | None = None
) -> Examples | None:
    """Take examples from rows that broke a rule.

    Parameters
    ----------
    batch : Batch
    rows : int array
        Rows that broke it.
    key : RuleKey
        Of a rule of the contract.
    contract : Contract
        Says how many, and which columns must not be shown.
    known : Examples, optional
        Those that the new ones will be added to.

    Returns
    -------
    Examples or None
        None if there are none to add, or nothing to know events by.
    """
    most = contract.examples
    if not most or not len(rows) or batch.keys is None or batch.origins is None:
        return None
    keys = batch.keys[rows]
    last = None if known is None else known.last_key
    if last is not None:
        rows, keys = rows[keys < last], keys[keys < last]
    if len(rows) > most:
        rows = rows[keys <= np.partition(keys, most - 1)[most - 1]]
    if not len(rows):
        return None
    columns = Columns(batch)
    shown = checks()[key.check].shown(key.column, contract)[:MOST_VALUES]
    values = [(name, None if name in contract.hidden else columns.values(name)) for name in shown]
    return of(most, [_example(batch, batch.keys, batch.origins, row, values) for row in rows.tolist()])


def _example(
    batch: Batch,
    keys: NDArray[np.uint64],
    origins: Origins,
    row: int,
    columns: Sequence[tuple[str, Values | None]],
) -> Example:
    origin = origins.of(row)
    return Example(
        int(keys[row]),
        int(batch.event_ms[row]),
        printable(origin.event_id, LONGEST_ID),
        origin.topic,
        origin.partition,
        origin.offset,
        tuple((name, None if values is None else text_of(values, row)) for name, values in columns),
    )


def text_of(values: Values, row: int) -> str:
    """Write one value of a column in a few characters.

    Examples
    --------
    >>> from schemas.checks.example_batches import WRONG, batch
    >>> columns = Columns(batch({"age": [130, None, 0.5]}, {"carrier": ["UA", "XX", WRONG]}))
    >>> [text_of(columns.values("age"), row) for row in range(3)]
    ['130', '(missing)', '0.5']
    >>> [text_of(columns.values("carrier"), row) for row in range(3)]
    ["'UA'", "'XX'", '(of another type)']
    """
    if values.categories is not None:
        code = int(values.categories.codes[row])
        if code >= 0:
            return f"'{printable(str(values.categories.values[code].as_py()), LONGEST_VALUE)}'"
        state = MISSING if code == CODE_MISSING else -1
    elif values.status is not None:
        state = int(values.status[row])
        if state == OK:
            return "(a list)" if values.numbers is None else f"{float(values.numbers[row]):.12g}"
    else:
        state = MISSING
    return "(missing)" if state == MISSING else "(of another type)"
