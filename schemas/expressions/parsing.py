"""Reads an expression by recursive descent into a tree, with bounds on its size.

::

    condition   = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation    = "not" negation | comparison
    comparison  = sum [ operator sum | ["not"] "in" list | "is" ["not"] "null" ]
    sum         = product { ("+" | "-") product }
    product     = signed { ("*" | "/" | "%") signed }
    signed      = "-" signed | value
    value       = number | text | "true" | "false" | column | function "(" sum { "," sum } ")"
                | "(" condition ")"
"""

from __future__ import annotations

from typing import NoReturn

from schemas.errors import UsageError
from schemas.expressions.tokens import Token, tokens_of
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

DEEPEST, MOST_PARTS, MOST_LISTED = 30, 200, 100
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
FUNCTIONS = {"abs": (1, 1), "min": (2, 10), "max": (2, 10), "len": (1, 1)}
RESERVED = ("and", "or", "not", "in", "is", "null", "true", "false")


def parse(source: str) -> Node:
    """Read an expression.

    Raises
    ------
    UsageError
        If it is none: what stands where, and what may stand there.

    Examples
    --------
    >>> parse("a + 1 < 2").operator
    '<'
    >>> parse("a <")
    Traceback (most recent call last):
    schemas.errors.UsageError: the end at character 4 cannot stand here (use a column, a number or a text)
    """
    reading = _Reading(tokens_of(source))
    found = reading.condition()
    if reading.next.kind != "end":
        reading.refuse("use and, or, an operator, or the end")
    return found


class _Reading:
    """Where reading stands."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens, self._at, self._depth, self._parts = tokens, 0, 0, 0

    @property
    def next(self) -> Token:
        """Token that is read next."""
        return self._tokens[self._at]

    def refuse(self, advice: str) -> NoReturn:
        """Say what stands where it cannot, and what can."""
        token = self.next
        what = "the end" if token.kind == "end" else repr(token.text)
        msg = f"{what} at character {token.at} cannot stand here ({advice})"
        raise UsageError(msg)

    def condition(self) -> Node:
        """Read what ``or`` joins."""
        self._deeper()
        found = self._conjunction()
        while token := self._taken("or"):
            found = self._counted(Logic("or", (found, self._conjunction()), token.at))
        self._depth -= 1
        return found

    def _conjunction(self) -> Node:
        found = self._negation()
        while token := self._taken("and"):
            found = self._counted(Logic("and", (found, self._negation()), token.at))
        return found

    def _negation(self) -> Node:
        if token := self._taken("not"):
            self._deeper()
            found = self._counted(Logic("not", (self._negation(),), token.at))
            self._depth -= 1
            return found
        return self._comparison()

    def _comparison(self) -> Node:
        left = self._sum()
        token = self.next
        if token.kind == "sign" and token.text in COMPARISONS:
            self._at += 1
            found = self._counted(Comparison(token.text, left, self._sum(), token.at))
            if self.next.kind == "sign" and self.next.text in COMPARISONS:
                self.refuse("join two comparisons with and")
            return found
        if self._taken("is"):
            is_negated = self._taken("not") is not None
            if not self._taken("null"):
                self.refuse("use null after is")
            return self._negated(IsNull(left, token.at), is_negated)
        if token.kind == "word" and token.text == "not" and self._tokens[self._at + 1].text == "in":
            self._at += 2
            return self._negated(Among(left, self._list(), token.at), True)
        if self._taken("in"):
            return self._negated(Among(left, self._list(), token.at), False)
        return left

    def _negated(self, node: Node, is_negated: bool) -> Node:
        self._counted(node)
        return self._counted(Logic("not", (node,), node.at)) if is_negated else node

    def _list(self) -> tuple[Number | Text, ...]:
        self._need("[")
        found: list[Number | Text] = []
        while True:
            value = self._signed()
            if not isinstance(value, Number | Text):
                self._at -= 1
                self.refuse("a list holds numbers and texts")
            found.append(value)
            if len(found) > MOST_LISTED:
                self.refuse(f"use at most {MOST_LISTED} values in a list")
            if self._taken("]"):
                return tuple(found)
            self._need(",", "use , or ]")

    def _sum(self) -> Node:
        found = self._product()
        while token := self._taken("+", "-"):
            found = self._counted(Arithmetic(token.text, (found, self._product()), token.at))
        return found

    def _product(self) -> Node:
        found = self._signed()
        while token := self._taken("*", "/", "%"):
            found = self._counted(Arithmetic(token.text, (found, self._signed()), token.at))
        return found

    def _signed(self) -> Node:
        token = self._taken("-")
        if token is None:
            return self._value()
        self._deeper()
        found = self._signed()
        self._depth -= 1
        if isinstance(found, Number):
            return Number(-found.value, token.at)
        return self._counted(Arithmetic("negative", (found,), token.at))

    def _value(self) -> Node:
        token = self.next
        if token.kind == "sign" and token.text == "(":
            self._at += 1
            found = self.condition()
            self._need(")")
            return found
        if token.kind == "number":
            self._at += 1
            return self._counted(Number(float(token.text), token.at))
        if token.kind == "text" or (token.kind == "word" and token.text in ("true", "false")):
            self._at += 1
            return self._counted(Text(token.text, token.at))
        if token.kind == "word" and token.text in RESERVED:
            advice = (
                "use is null or is not null" if token.text == "null" else "use a column, a number or a text"
            )
            self.refuse(advice)
        if token.kind == "word" and self._tokens[self._at + 1].text == "(":
            return self._function(token)
        if token.kind in ("word", "name"):
            self._at += 1
            return self._counted(Column(token.text, token.at))
        return self.refuse("use a column, a number or a text")

    def _function(self, token: Token) -> Node:
        if token.text not in FUNCTIONS:
            self.refuse(f"use {', '.join(FUNCTIONS)}, or the name of a column")
        self._at += 1
        self._need("(")
        self._deeper()
        parts = [self._sum()]
        while self._taken(","):
            parts.append(self._sum())
        self._depth -= 1
        least, most = FUNCTIONS[token.text]
        if not least <= len(parts) <= most:
            allowed = str(least) if least == most else f"{least} to {most}"
            self.refuse(f"{token.text} takes {allowed} value{'s' if most > 1 else ''}")
        self._need(")")
        if token.text == "len":
            return self._counted(Length(parts[0], token.at))
        return self._counted(Arithmetic(token.text, tuple(parts), token.at))

    def _taken(self, *texts: str) -> Token | None:
        token = self.next
        if token.kind in ("word", "sign") and token.text in texts:
            self._at += 1
            return token
        return None

    def _need(self, text: str, advice: str = "") -> None:
        if not self._taken(text):
            self.refuse(advice or f"use {text}")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self.refuse(f"nest at most {DEEPEST} levels")

    def _counted(self, node: Node) -> Node:
        self._parts += 1
        if self._parts > MOST_PARTS:
            self.refuse(f"use at most {MOST_PARTS} parts")
        return node
