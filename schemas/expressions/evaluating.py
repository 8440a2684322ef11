"""Evaluates expressions over whole columns, with three truth values: true, false and unknown.

A part is known where everything that it needs is there. `and` of something false and something unknown is
false, `or` of something true and something unknown is true; everything else is unknown with any part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.batch import OK, Categories
from schemas.checks.base import Columns, Values
from schemas.column import Kind
from schemas.expressions.tree import (
    Among,
    Arithmetic,
    Column,
    Comparison,
    IsNull,
    Length,
    Logic,
    Node,
    Number,
    Text,
)
from schemas.expressions.truth import Bools, Truth

_OPERATORS: dict[str, Callable[..., NDArray[np.float64]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.mod,
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
    "negative": np.negative,
}
_COMPARISONS: dict[str, Callable[..., Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


@dataclass(frozen=True)
class _Numbers:
    """Numbers, one for each row or one for all; where they are not known they mean nothing."""

    values: NDArray[np.float64]
    known: Bools | None = None


@dataclass(frozen=True)
class _Names:
    """Texts by a dictionary."""

    categories: Categories
    known: Bools | None = None


@dataclass(frozen=True)
class _Nothing:
    """A column of another kind than is needed, or none at all."""


_Value: TypeAlias = _Numbers | _Names | _Nothing | Text


def evaluate(node: Node, columns: Columns) -> Truth:
    """Evaluate a condition for every row of a batch.

    Parameters
    ----------
    node : Node
        A condition whose types were checked.
    columns : Columns

    Examples
    --------
    >>> from schemas.checks.example_batches import batch
    >>> from schemas.expressions.parsing import parse
    >>> columns = Columns(batch({"a": [1, 3, 1, None], "b": [2, 2, None, 2]}))
    >>> found = evaluate(parse("a < b or b is null"), columns)
    >>> found.holds.tolist(), found.known.tolist()
    ([True, False, True, False], [True, True, True, False])
    """
    rows = len(columns.batch)
    with np.errstate(all="ignore"):
        found = _truth(node, columns)
    holds = np.broadcast_to(found.holds, rows)
    if found.known is None or found.known.all():
        return Truth(holds)
    return Truth(holds & found.known, np.broadcast_to(found.known, rows))


def _truth(node: Node, columns: Columns) -> Truth:
    match node:
        case Logic("not", (part,), _):
            found = _truth(part, columns)
            return Truth(~found.holds, found.known)
        case Logic(operator, (left, right), _):
            found = _truth(left, columns)
            if _decides(operator, found):
                return found
            return _joined(operator, found, _truth(right, columns))
        case IsNull(part, _):
            return _is_null(_value(part, columns), len(columns.batch))
        case Among(part, values, _):
            return _among(_value(part, columns), values)
        case Comparison(operator, left, right, _):
            return _compared(operator, _value(left, columns), _value(right, columns))
        case _:
            msg = f"{type(node).__name__} is no condition"
            raise TypeError(msg)


def _decides(operator: str, left: Truth) -> bool:
    """Whether the left side says it all: what follows need not be looked at."""
    if left.known is not None:
        return False
    return bool(left.holds.all()) if operator == "or" else not left.holds.any()


def _joined(operator: str, left: Truth, right: Truth) -> Truth:
    if operator == "or":  # by De Morgan
        found = _joined("and", Truth(~left.holds, left.known), Truth(~right.holds, right.known))
        return Truth(~found.holds, found.known)
    holds = left.holds & right.holds
    if left.known is None and right.known is None:
        return Truth(holds)
    ours, theirs = (np.True_ if known is None else known for known in (left.known, right.known))
    known = (ours & theirs) | (ours & ~left.holds) | (theirs & ~right.holds)
    # What is not known may say anything: where one part is known to be false, so is the whole.
    false = (ours & ~left.holds) | (theirs & ~right.holds)
    return Truth(holds & ~false, known)


def _is_null(value: _Value, rows: int) -> Truth:
    match value:
        case _Nothing():
            return Truth(np.ones(rows, bool))
        case _Numbers(_, known) | _Names(_, known):
            return Truth(np.zeros(rows, bool) if known is None else ~known)
        case _:
            return Truth(np.zeros(rows, bool))


def _among(value: _Value, listed: tuple[Number | Text, ...]) -> Truth:
    if isinstance(value, _Nothing):
        return _unknown()
    if isinstance(value, _Names):
        names = [one.value if isinstance(one, Text) else name_of(one.value) for one in listed]
        return _of_names(value, pc.is_in(value.categories.values, value_set=pa.array(names, pa.string())))
    if isinstance(value, Text):
        return Truth(np.array(value.value in [one.value for one in listed]))
    numbers = [one.value for one in listed if isinstance(one, Number)]
    return Truth(np.isin(value.values, numbers), value.known)


def _compared(operator: str, left: _Value, right: _Value) -> Truth:
    if isinstance(left, _Nothing) or isinstance(right, _Nothing):
        return _unknown()
    if isinstance(left, _Numbers) and isinstance(right, _Numbers):
        return Truth(_COMPARISONS[operator](left.values, right.values), _both(left.known, right.known))
    if operator not in ("==", "!="):
        return _unknown()
    found = _equal(left, right)
    return found if operator == "==" else Truth(~found.holds, found.known)


def _equal(left: _Value, right: _Value) -> Truth:
    if isinstance(right, _Names) and not isinstance(left, _Names):
        left, right = right, left
    if isinstance(left, _Names):
        if isinstance(right, _Names):
            return _same_names(left, right)
        text = _as_text(right)
        return _unknown() if text is None else _of_names(left, pc.equal(left.categories.values, text))
    if isinstance(left, Text) and isinstance(right, Text):
        return Truth(np.array(left.value == right.value))
    return _unknown()  # a column of numbers and a text


def _as_text(value: _Value) -> str | None:
    """Text that a category is compared with; None if it cannot be."""
    if isinstance(value, Text):
        return value.value
    if isinstance(value, _Numbers) and value.values.ndim == 0:
        return name_of(float(value.values))
    return None


def name_of(number: float) -> str:
    """Name of a number as a category.

    Examples
    --------
    >>> name_of(1.0), name_of(0.5)
    ('1', '0.5')
    """
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def _same_names(left: _Names, right: _Names) -> Truth:
    """Compare two columns of names, by a dictionary that both share."""
    ours, theirs = left.categories, right.categories
    shared = pa.concat_arrays([ours.values, theirs.values]).dictionary_encode().indices.to_numpy()
    table = np.concatenate((shared, [-1, -2]))  # codes -1 and -2 pick the last two entries
    places = np.where(theirs.codes >= 0, theirs.codes + len(ours.values), theirs.codes)
    return Truth(table[ours.codes] == table[places], _both(left.known, right.known))


def _of_names(names: _Names, matches: pa.BooleanArray) -> Truth:
    table = np.concatenate((matches.to_numpy(zero_copy_only=False), [False, False]))
    return Truth(table[names.categories.codes], names.known)


def _value(node: Node, columns: Columns) -> _Value:
    match node:
        case Number(value, _):
            return _Numbers(np.array(value))
        case Text():
            return node
        case Column(name, _):
            return _column(columns.values(name))
        case Length(part, _):
            return _length(_value(part, columns))
        case Arithmetic(operator, parts, _):
            return _arithmetic(operator, [_value(part, columns) for part in parts])
        case _:
            msg = f"{type(node).__name__} is no value"
            raise TypeError(msg)


def _column(values: Values) -> _Value:
    if values.categories is not None:
        known = None if values.is_clean else values.categories.codes >= 0
        return _Names(values.categories, known)
    if values.kind is Kind.NUMERIC and values.numbers is not None:
        known = None if values.is_clean or values.status is None else values.status == OK
        return _Numbers(values.numbers, known)
    return _Nothing()


def _length(value: _Value) -> _Value:
    if isinstance(value, Text):
        return _Numbers(np.array(float(len(value.value))))
    if not isinstance(value, _Names):
        return _Nothing()
    lengths = pc.utf8_length(value.categories.values).to_numpy(zero_copy_only=False).astype(np.float64)
    return _Numbers(np.concatenate((lengths, [0.0, 0.0]))[value.categories.codes], value.known)


def _arithmetic(operator: str, parts: list[_Value]) -> _Value:
    first, *others = parts
    if not isinstance(first, _Numbers):
        return _Nothing()
    function = _OPERATORS[operator]
    if not others:
        return _Numbers(function(first.values), first.known)
    values, known = first.values, first.known
    for other in others:
        if not isinstance(other, _Numbers):
            return _Nothing()
        values, known = function(values, other.values), _both(known, other.known)
    finite = np.isfinite(values)
    return _Numbers(values, known if finite.all() else _both(known, finite))


def _both(left: Bools | None, right: Bools | None) -> Bools | None:
    if left is None or right is None:
        return right if left is None else left
    return left & right


def _unknown() -> Truth:
    return Truth(np.array(False), np.array(False))
