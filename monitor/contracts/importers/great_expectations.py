"""Great Expectations: a suite as JSON, of release 1 (``type``) or older (``expectation_type``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from monitor.contracts.catalog import Example
from monitor.contracts.contract import CATEGORICAL, NUMERIC, Contract, is_finite_number
from monitor.contracts.document import Node
from monitor.contracts.draft import ColumnDraft, Draft
from monitor.contracts.patterns import PART

_INTEGER = re.compile(r"^u?(big|small|tiny)?int(eger|\d+)?(type)?$", re.IGNORECASE)
_NUMBER = re.compile(r"^(float|double|decimal|numeric|real|number)\w*$", re.IGNORECASE)
_NAME = re.compile(
    r"^(str|string|object|object_|text|varchar|char|bool|boolean|category)(type|_|dtype.*)?$", re.IGNORECASE
)
_KNOWN_ARGUMENTS = {
    "column", "mostly", "batch_id", "result_format", "catch_exceptions", "include_config", "meta",
    "min_value", "max_value", "strict_min", "strict_max", "value_set", "regex", "type_", "type_list",
    "column_index", "parse_strings_as_datetimes", "auto", "profiler_config",
}  # fmt: skip


class GreatExpectations:
    """Reads suites; of expectations only those on single values of a column fit a contract."""

    name: ClassVar[str] = "great_expectations"

    def matches(self, document: Node) -> bool:
        """Whether it lists expectations."""
        return isinstance(document["expectations"].value, list)

    def read(self, document: Node) -> Contract:
        """Turn a suite into a contract; see `monitor.contracts.catalog.Importer`."""
        draft = Draft()
        for entry in document["expectations"]:
            _expectation(draft, entry)
        return draft.finished()

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Suites as release 1 and older ones write them."""
        return (Example(_suite("type"), _EXPECTED), Example(_suite("expectation_type"), _EXPECTED))


def _expectation(draft: Draft, entry: Node) -> None:
    kind = (entry["type"] if "type" in entry else entry["expectation_type"]).text()
    arguments = entry["kwargs"]
    if kind == "expect_table_columns_to_match_set":
        _columns(draft, arguments)
        return
    read, name = _READERS.get(kind), arguments["column"].value
    if read is None or name is None:
        where = "" if name is None else f"{name}: "
        draft.left_out(f"{where}{kind}")
        return
    if entry["severity"].value is not None:
        draft.left_out(f"{name}: severity {entry['severity'].value} of {kind}")
    column = draft.column(str(name), entry)
    for argument, below in arguments.entries().items():
        if argument not in _KNOWN_ARGUMENTS and below.value is not None:
            column.left_out(f"{argument} of {kind}")
    read(column, arguments)
    if read in (_between, _in_set, _regex):
        _mostly(column, arguments)


def _columns(draft: Draft, arguments: Node) -> None:
    for at, name in enumerate(arguments["column_set"].values()):
        draft.column(str(name), arguments["column_set"][at])
    if arguments["exact_match"].truth(default=True):
        draft.left_out("that there are no other columns")


def _between(column: ColumnDraft, arguments: Node) -> None:
    column.at_least(arguments["min_value"].value, is_exclusive=arguments["strict_min"].truth(default=False))
    column.at_most(arguments["max_value"].value, is_exclusive=arguments["strict_max"].truth(default=False))


def _in_set(column: ColumnDraft, arguments: Node) -> None:
    if arguments["value_set"].value is not None:
        column.one_of(arguments["value_set"].value)


def _regex(column: ColumnDraft, arguments: Node) -> None:
    column.matching(arguments["regex"].value, extent=PART)


def _not_null(column: ColumnDraft, arguments: Node) -> None:
    mostly = arguments["mostly"].value
    if mostly is None or mostly == 1:
        column.not_null()
    elif is_finite_number(mostly):
        column.missing_at_most(round(1 - mostly, 12))
    else:
        column.left_out(f"mostly {mostly!r}")


def _type(column: ColumnDraft, arguments: Node) -> None:
    many = arguments["type_list"].value
    names = [str(name) for name in (many if isinstance(many, list) else [arguments["type_"].value])]
    kinds = {_kind(name) for name in names}
    if len(kinds) == 1 and kinds != {None}:
        column.of_kind(kinds.pop(), is_integer=all(_INTEGER.match(name) for name in names))
    else:
        column.left_out(f"type {', '.join(names)}")


def _kind(name: str) -> str | None:
    if _INTEGER.match(name) or _NUMBER.match(name):
        return NUMERIC
    return CATEGORICAL if _NAME.match(name) else None


def _exists(column: ColumnDraft, arguments: Node) -> None:
    if arguments["column_index"].value is not None:
        column.left_out("its position in the table")


def _mostly(column: ColumnDraft, arguments: Node) -> None:
    """Take in how many values have to be as expected: the others may violate."""
    mostly = arguments["mostly"].value
    if mostly is not None and mostly != 1:
        column.violating_at_most(round(1 - mostly, 12) if is_finite_number(mostly) else mostly)


_READERS: dict[str, Callable[[ColumnDraft, Node], None]] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_match_regex": _regex,
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_of_type": _type,
    "expect_column_values_to_be_in_type_list": _type,
    "expect_column_to_exist": _exists,
}


def _suite(key: str) -> dict[str, Any]:
    def expect(kind: str, **arguments: Any) -> dict[str, Any]:
        return {key: f"expect_{kind}", "kwargs": arguments, "meta": {}}

    name = "name" if key == "type" else "expectation_suite_name"
    return {
        name: "flights",
        "meta": {"great_expectations_version": "1.5.0" if key == "type" else "0.18.21"},
        "expectations": [
            expect("table_row_count_to_be_between", min_value=1),
            expect("column_to_exist", column="day"),
            expect("column_values_to_be_of_type", column="seats", type_="int64"),
            expect("column_values_to_be_between", column="seats", min_value=0, strict_min=True),
            expect("column_values_to_be_between", column="temp", min_value=-40, max_value=130.5, mostly=0.99),
            expect("column_values_to_not_be_null", column="temp", mostly=0.95),
            expect("column_values_to_be_in_set", column="carrier", value_set=["UA", "AA"]),
            expect("column_values_to_not_be_null", column="carrier"),
            expect("column_values_to_match_regex", column="tail", regex="^N[0-9]+$"),
            expect("column_values_to_be_unique", column="tail"),
        ],
    }


_EXPECTED = Contract(
    {
        "day": {},
        "seats": {"kind": NUMERIC, "min": 1},
        "temp": {"kind": NUMERIC, "min": -40, "max": 130.5, "max_missing": 0.05, "limit": 0.01},
        "carrier": {"kind": CATEGORICAL, "values": ["UA", "AA"], "nullable": False},
        "tail": {"kind": CATEGORICAL, "pattern": "^N[0-9]+$"},
    },
    notes=(
        "left out: expect_table_row_count_to_be_between",
        "left out: tail: expect_column_values_to_be_unique",
    ),
)
