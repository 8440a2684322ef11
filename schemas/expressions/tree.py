"""What expressions are made of; `at` is the place of a part in the text, counted from 1."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Type(StrEnum):
    """What a part of an expression is, in words for people."""

    NUMBER = "a number"
    TEXT = "a text"
    CONDITION = "a condition"
    VALUE = "a value"  # a column of which it is not known yet


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float
    at: int


@dataclass(frozen=True)
class Text:
    """A text, or true and false, which are texts in events."""

    value: str
    at: int


@dataclass(frozen=True)
class Column:
    """The value of a column."""

    name: str
    at: int


@dataclass(frozen=True)
class Arithmetic:
    """``left operator right`` of numbers, or a function of numbers."""

    operator: str
    parts: tuple[Node, ...]
    at: int


@dataclass(frozen=True)
class Length:
    """Number of characters of a text."""

    part: Node
    at: int


@dataclass(frozen=True)
class Comparison:
    """``left operator right``."""

    operator: str
    left: Node
    right: Node
    at: int


@dataclass(frozen=True)
class Among:
    """Whether a value is one of several."""

    part: Node
    values: tuple[Number | Text, ...]
    at: int


@dataclass(frozen=True)
class IsNull:
    """Whether there is no value."""

    part: Node
    at: int


@dataclass(frozen=True)
class Logic:
    """``and``, ``or`` of two conditions, ``not`` of one."""

    operator: str
    parts: tuple[Node, ...]
    at: int


Node: TypeAlias = Number | Text | Column | Arithmetic | Length | Comparison | Among | IsNull | Logic


def parts_of(node: Node) -> tuple[Node, ...]:
    """Parts that a node is made of."""
    match node:
        case Arithmetic(_, parts, _) | Logic(_, parts, _):
            return parts
        case Comparison(_, left, right, _):
            return left, right
        case Length(part, _) | IsNull(part, _) | Among(part, _, _):
            return (part,)
        case _:
            return ()


def columns_of(node: Node) -> tuple[str, ...]:
    """Names of the columns that an expression is about, in the order of their first mention."""
    found: dict[str, None] = {}
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Column):
            found[one.name] = None
        waiting += reversed(parts_of(one))
    return tuple(found)
