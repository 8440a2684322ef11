"""Pandera: a schema of a data frame as ``to_yaml`` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from monitor.config.problem import show
from monitor.contracts.catalog import Example
from monitor.contracts.contract import CATEGORICAL, NUMERIC, Contract
from monitor.contracts.document import Node
from monitor.contracts.draft import ColumnDraft, Draft
from monitor.contracts.patterns import PART, START

_TYPE = re.compile(
    r"^(?:pandas\.|polars\.|numpy\.)?"
    r"(?:(?P<integer>u?int\d*)|(?P<number>float\d*|decimal.*)|(?P<name>str.*|object|bool.*|category|utf8|enum))"
    r"(?:\[\w+\])?$",
    re.IGNORECASE,
)
_COLUMN_KEYS = {"dtype", "pandas_dtype", "nullable", "required", "checks", "regex"}
_ABOUT = {
    "title",
    "description",
    "metadata",
    "name",
    "coerce",
    "default",
    "allow_duplicates",
    "report_duplicates",
}


class Pandera:
    """Reads schemas of data frames; a column whose name is a regular expression is left out."""

    name: ClassVar[str] = "pandera"

    def matches(self, document: Node) -> bool:
        """Whether it says that it is the schema of a data frame."""
        kind = document["schema_type"].value
        return isinstance(kind, str) and kind.lower().startswith("dataframe")

    def read(self, document: Node) -> Contract:
        """Turn a schema into a contract; see `monitor.contracts.catalog.Importer`."""
        draft = Draft()
        for name, entry in document["columns"].entries().items():
            if entry["regex"].truth(default=False):
                draft.left_out(f"columns that match {show(name)} (a column has a name)")
                continue
            _column(draft.column(name, entry), entry)
        ignored = {"schema_type", "version", "api", "coerce", "title", "description", "metadata", "name"}
        draft.left_out_keys(document, {"columns"}, {*ignored, "report_duplicates"})
        return draft.finished()

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Schemas as releases before 0.24, 0.24 and the newest write checks."""
        return tuple(Example(document, _EXPECTED) for document in (_older(), _newer(), _flat()))


def _column(column: ColumnDraft, entry: Node) -> None:
    kind = entry["dtype"].value if "dtype" in entry else entry["pandas_dtype"].value
    _type(column, kind)
    if not entry["nullable"].truth(default=False):
        column.not_null()
    if not entry["required"].truth(default=True):
        column.optional()
    if entry["unique"].truth(default=False) or not entry["allow_duplicates"].truth(default=True):
        column.left_out("unique (rows are not compared with each other)")
    for name, given in _checks(entry):
        _check(column, name, given)


def _type(column: ColumnDraft, kind: Any) -> None:
    if kind is None:
        return
    found = _TYPE.match(str(kind))
    if found is None:
        column.left_out(f"dtype {kind}")
    elif found["name"]:
        column.of_kind(CATEGORICAL)
    else:
        column.of_kind(NUMERIC, is_integer=bool(found["integer"]))


def _checks(entry: Node) -> Iterator[tuple[str, Node]]:
    """Checks of a column, in each of the three ways in which releases have written them."""
    checks = entry["checks"]
    if isinstance(checks.value, list):
        for check in checks:
            yield check["options"]["check_name"].text(), check
    else:
        yield from checks.entries().items()
    for name, below in entry.entries().items():
        if name not in _COLUMN_KEYS | _ABOUT | {"unique"} and below.value not in (None, False):
            yield name, below


def _check(column: ColumnDraft, name: str, given: Node) -> None:
    if name in ("greater_than", "greater_than_or_equal_to"):
        column.at_least(_argument(given, "min_value"), is_exclusive=name == "greater_than")
    elif name in ("less_than", "less_than_or_equal_to"):
        column.at_most(_argument(given, "max_value"), is_exclusive=name == "less_than")
    elif name == "in_range":
        column.at_least(given["min_value"].value, is_exclusive=not given["include_min"].truth(default=True))
        column.at_most(given["max_value"].value, is_exclusive=not given["include_max"].truth(default=True))
    elif name == "isin":
        column.one_of(_argument(given, "allowed_values"))
    elif name == "equal_to":
        column.one_of([_argument(given, "value")])
    elif name in ("str_matches", "str_contains"):
        column.matching(_argument(given, "pattern"), extent=START if name == "str_matches" else PART)
    else:
        column.left_out(f"check {name}")


def _argument(given: Node, name: str) -> Any:
    """Only argument of a check: as it is, under its name, or under ``value``."""
    if not isinstance(given.value, dict):
        return given.value
    return given[name].value if name in given else given["value"].value


def _older() -> dict[str, Any]:
    checks: dict[str, dict[str, Any]] = {
        "temp": {"greater_than_or_equal_to": -40, "less_than_or_equal_to": {"max_value": 130.5}},
        "seats": {"in_range": {"min_value": 1, "max_value": 853}},
        "carrier": {"isin": ["UA", "AA"], "str_length": {"min_value": 2, "max_value": 2}},
        "tail": {"str_matches": "^N[0-9]+$"},
    }
    return _schema({name: {"checks": given} for name, given in checks.items()})


def _newer() -> dict[str, Any]:
    def check(name: str, **arguments: Any) -> dict[str, Any]:
        return {**arguments, "options": {"check_name": name, "raise_warning": False, "ignore_na": True}}

    low, high = check("greater_than_or_equal_to", value=-40), check("less_than_or_equal_to", value=130.5)
    length = check("str_length", min_value=2, max_value=2)
    return _schema(
        {
            "temp": {"checks": [low, high]},
            "seats": {"checks": [check("in_range", min_value=1, max_value=853)]},
            "carrier": {"checks": [check("isin", value=["UA", "AA"]), length]},
            "tail": {"checks": [check("str_matches", value="^N[0-9]+$")]},
        }
    )


def _flat() -> dict[str, Any]:
    return _schema(
        {
            "temp": {"greater_than_or_equal_to": -40, "less_than_or_equal_to": 130.5},
            "seats": {"in_range": {"min_value": 1, "max_value": 853}},
            "carrier": {"isin": ["UA", "AA"], "str_length": {"min_value": 2, "max_value": 2}},
            "tail": {"str_matches": "^N[0-9]+$"},
        }
    )


def _schema(checks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    columns: dict[str, dict[str, Any]] = {
        "temp": {"dtype": "float64", "nullable": True},
        "seats": {"dtype": "int64", "required": False},
        "carrier": {"dtype": "object", "unique": True},
        "tail": {"dtype": "str", "nullable": True},
        "day": {"dtype": "datetime64[ns]", "nullable": True},
        "delay_.+": {"dtype": "float64", "regex": True},
    }
    merged = {name: {**about, **checks.get(name, {})} for name, about in columns.items()}
    return {"schema_type": "dataframe", "version": "0.24.0", "columns": merged, "strict": True, "index": None}


_EXPECTED = Contract(
    {
        "temp": {"kind": NUMERIC, "min": -40, "max": 130.5},
        "seats": {"kind": NUMERIC, "min": 1, "max": 853, "nullable": False, "required": False},
        "carrier": {"kind": CATEGORICAL, "values": ["UA", "AA"], "nullable": False},
        "tail": {"kind": CATEGORICAL, "pattern": "^N[0-9]+$"},
        "day": {},
    },
    notes=(
        "left out: carrier: unique (rows are not compared with each other)",
        "left out: carrier: check str_length",
        "left out: day: dtype datetime64[ns]",
        "left out: columns that match 'delay_.+' (a column has a name)",
        "left out: strict: true",
    ),
)
