"""Expressions over columns say of every row what plain Python says, and no text does more than be refused."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.checks.base import Columns
from schemas.checks.example_batches import WRONG, batch
from schemas.column import Kind
from schemas.errors import UsageError
from schemas.expressions.evaluating import evaluate
from schemas.expressions.expression import Expression
from schemas.expressions.parsing import parse

NUMBERS, NAMES = ("a", "b"), ("c", "d")
Row = dict[str, Any]
SAME = st.sampled_from(["==", "!="])


def numbers(depth: int) -> st.SearchStrategy[str]:
    leaf = st.sampled_from(NUMBERS) | st.integers(0, 4).map(str) | st.just("2.5") | st.just("len(c)")
    if not depth:
        return leaf
    inner = numbers(depth - 1)
    return leaf | st.one_of(
        st.tuples(inner, st.sampled_from("+-*/%"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
        inner.map(lambda p: f"abs({p})"),
        inner.map(lambda p: f"-{p}"),
    )


def conditions(depth: int) -> st.SearchStrategy[str]:
    number = numbers(1)
    leaf = st.one_of(
        st.tuples(number, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), number).map(" ".join),
        st.tuples(st.sampled_from(NAMES), SAME, st.sampled_from(["'UA'", "d", "1"])).map(" ".join),
        st.sampled_from(["c in ['UA', 1]", "a not in [1, 2]", "a is null", "(a + b) is not null"]),
    )
    if not depth:
        return leaf
    inner = conditions(depth - 1)
    return leaf | st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        inner.map(lambda p: f"not ({p})"),
    )


ROWS = st.lists(
    st.fixed_dictionaries(
        {name: st.sampled_from([0.0, 1.0, 2.0, 3.5, -2.0, None, WRONG]) for name in NUMBERS}
        | {name: st.sampled_from(["UA", "AA", "1", "", None, WRONG]) for name in NAMES}
    ),
    min_size=1,
    max_size=8,
)


def plain(node: Any, row: Row) -> Any:
    """Plain Python's view of one row; None where it is not known."""
    name = type(node).__name__
    if name in ("Number", "Text"):
        return node.value
    if name == "Column":
        return None if row[node.name] is WRONG else row[node.name]
    if name == "Length":
        text = plain(node.part, row)
        return None if text is None else float(len(text))
    if name == "IsNull":
        return plain(node.part, row) is None
    if name == "Among":
        value = plain(node.part, row)
        return None if value is None else value in [_like(value, one.value) for one in node.values]
    if name == "Logic":
        return _logic(node.operator, [plain(part, row) for part in node.parts])
    if name == "Comparison":
        left, right = plain(node.left, row), plain(node.right, row)
        if left is None or right is None:
            return None
        right, left = _like(left, right), _like(right, left)
        if node.operator in ("==", "!="):
            return (left == right) == (node.operator == "==")
        return _ordered(node.operator, left, right)
    return _arithmetic(node.operator, [plain(part, row) for part in node.parts])


def _like(value: Any, other: Any) -> Any:
    """A number beside a name is the name of a category."""
    if isinstance(value, str) and isinstance(other, float):
        return str(int(other)) if other.is_integer() else repr(other)
    return other


def _ordered(operator: str, left: float, right: float) -> bool:
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator]


def _logic(operator: str, parts: list[bool | None]) -> bool | None:
    if operator == "not":
        return None if parts[0] is None else not parts[0]
    decisive = operator == "or"
    if decisive in parts:
        return decisive
    return None if None in parts else not decisive


def _arithmetic(operator: str, parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if operator in ("abs", "negative"):
        return abs(known[0]) if operator == "abs" else -known[0]
    left, right = known
    if operator in ("/", "%") and right == 0:
        return None
    found = {
        "+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right,
        "/": lambda: left / right, "%": lambda: float(np.mod(left, right)),
        "min": lambda: min(left, right), "max": lambda: max(left, right),
    }[operator]()  # fmt: skip
    return found if math.isfinite(found) else None


@given(conditions(2), ROWS)
def test_every_row_is_as_plain_python_says(source: str, rows: list[Row]) -> None:
    tree = parse(source)
    columns = {name: [row[name] for row in rows] for name in (*NUMBERS, *NAMES)}
    made = batch({name: columns[name] for name in NUMBERS}, {name: columns[name] for name in NAMES})
    found = evaluate(tree, Columns(made))
    known = [True] * len(rows) if found.known is None else found.known.tolist()
    ours = [holds if sure else None for holds, sure in zip(found.holds.tolist(), known, strict=True)]
    assert ours == [plain(tree, row) for row in rows]


@given(st.text(st.sampled_from("ab c().,[]'\"`\\<>=!+-*/%0159eandornotinisnull_\n\x00é"), max_size=60))
def test_any_text_is_read_or_refused(source: str) -> None:
    with contextlib.suppress(UsageError):
        Expression(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", r"the end at character 1 cannot stand here \(use a column"),
        ("a <", "the end at character 4 cannot stand here"),
        ("a = 1", r"'=' at character 3 cannot be read \(use == to compare\)"),
        ("a && b", "'&' at character 3 cannot be read .use and"),
        ("a < b < c", r"'<' at character 7 cannot stand here \(join two comparisons with and\)"),
        ("a < 'x", "character 5 cannot be read .the text does not end"),
        ("a == null", "use is null or is not null"),
        ("a", r"a at character 1 is a value, and a rule needs a condition \(compare it, as in a == true\)"),
        ("x + 1 > 2", "x at character 1 is a text, and [+] needs a number"),
        ("n == 'UA'", "== at character 3 compares what is never equal: n is a number and 'UA' is a text"),
        ("len(n) > 1", "n at character 5 is a number, and len needs a text"),
        ("1 < 2", "is about no column"),
        ("a in [b]", "'b' at character 7 cannot stand here .a list holds numbers and texts"),
        ("(a < 1) + 1 > 2", "< at character 4 is a condition, and [+] needs a number"),
        ("__import__('os') == 1", "'__import__' at character 1 cannot stand here .use abs, min, max, len"),
        ("a.__class__ == 1 and lambda: 1", "':' at character 28 cannot be read"),
        ("min(a) > 1", "min takes 2 to 10 values"),
        ("(" * 40 + "a < 1" + ")" * 40, "nest at most 30 levels"),
        ("not " * 40 + "a < 1", "nest at most 30 levels"),
        ("-" * 40 + "a < 1", "nest at most 30 levels"),
        (" and ".join(["a < 1"] * 80), "use at most 200 parts"),
        ("a < " + "1" * 1_000, "is too long .use at most 1000 characters"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(source: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Expression(source, {"n": Kind.NUMERIC, "x": Kind.CATEGORICAL})


def test_names_that_are_no_words_stand_in_backquotes() -> None:
    assert Expression("`dep delay` <= user.age and `and` == true").columns == ("dep delay", "user.age", "and")


def test_a_column_that_no_event_has_is_null_and_otherwise_unknown() -> None:
    columns = Columns(batch({"a": [1, 2]}))
    assert evaluate(parse("b is null and a > 1"), columns).holds.tolist() == [False, True]
    found = evaluate(parse("b > 1"), columns)
    assert found.known is not None
    assert not found.known.any()
