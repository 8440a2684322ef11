"""Finds out, before any event comes, whether the parts of an expression go together."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.column import Kind
from schemas.errors import UsageError
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
    Type,
    columns_of,
)

_OF_KIND = {Kind.NUMERIC: Type.NUMBER, Kind.CATEGORICAL: Type.TEXT}


def check_types(node: Node, kinds: Mapping[str, Kind]) -> None:
    """Check that an expression is a condition about columns, and that its parts go together.

    Parameters
    ----------
    node : Node
    kinds : mapping of str to Kind
        Of the columns that are known already; others may be anything.

    Raises
    ------
    UsageError
        With the place of the part that does not fit.

    Examples
    --------
    >>> from schemas.expressions.parsing import parse
    >>> check_types(parse("carrier + 1 > 2"), {"carrier": Kind.CATEGORICAL})
    Traceback (most recent call last):
    schemas.errors.UsageError: carrier at character 1 is a text, and + needs a number
    """
    _need(node, kinds, Type.CONDITION, "a rule")
    if not columns_of(node):
        msg = "is about no column (name at least one)"
        raise UsageError(msg)


def _need(node: Node, kinds: Mapping[str, Kind], wanted: Type, user: str) -> None:
    found = _type(node, kinds)
    if found is wanted or (found is Type.VALUE and wanted is not Type.CONDITION):
        return
    hint = ""
    if wanted is Type.CONDITION and isinstance(node, Column):
        hint = f" (compare it, as in {node.name} == true)"
    msg = f"{_named(node)} at character {node.at} is {found}, and {user} needs {wanted}{hint}"
    raise UsageError(msg)


def _type(node: Node, kinds: Mapping[str, Kind]) -> Type:
    match node:
        case Number():
            return Type.NUMBER
        case Text():
            return Type.TEXT
        case Column(name, _):
            return _OF_KIND.get(kinds[name], Type.VALUE) if name in kinds else Type.VALUE
        case Arithmetic(operator, parts, _):
            for part in parts:
                _need(part, kinds, Type.NUMBER, "-" if operator == "negative" else operator)
            return Type.NUMBER
        case Length(part, _):
            _need(part, kinds, Type.TEXT, "len")
            return Type.NUMBER
        case Logic(operator, parts, _):
            for part in parts:
                _need(part, kinds, Type.CONDITION, operator)
        case IsNull(part, _):
            _value(part, kinds, "is null")
        case Among(part, _, _):
            _value(part, kinds, "in")
        case Comparison():
            _check_comparison(node, kinds)
    return Type.CONDITION


def _check_comparison(node: Comparison, kinds: Mapping[str, Kind]) -> None:
    if node.operator not in ("==", "!="):
        _need(node.left, kinds, Type.NUMBER, node.operator)
        _need(node.right, kinds, Type.NUMBER, node.operator)
        return
    left, right = (_value(part, kinds, node.operator) for part in (node.left, node.right))
    names = isinstance(node.left, Column) or isinstance(node.right, Column)
    both = {left, right}
    # A number may be the name of a category.
    has_number = isinstance(node.left, Number) or isinstance(node.right, Number)
    if both == {Type.NUMBER, Type.TEXT} and not (names and has_number):
        words = f"{_named(node.left)} is {left} and {_named(node.right)} is {right}"
        msg = f"{node.operator} at character {node.at} compares what is never equal: {words}"
        raise UsageError(msg)


def _value(node: Node, kinds: Mapping[str, Kind], user: str) -> Type:
    found = _type(node, kinds)
    if found is Type.CONDITION:
        msg = f"{_named(node)} at character {node.at} is a condition, and {user} needs a value"
        raise UsageError(msg)
    return found


def _named(node: Node) -> str:
    match node:
        case Column(name, _):
            return name
        case Number(value, _):
            return f"{value:g}"
        case Text(value, _):
            return repr(value)
        case Arithmetic(operator, _, _) | Comparison(operator, _, _, _) | Logic(operator, _, _):
            return operator
        case Length():
            return "len"
        case IsNull():
            return "is null"
        case _:
            return "in"
