"""Open Data Contract Standard 3: ``schema[].properties[]`` with types, options and rules of quality."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ValidationError

from monitor.config.problem import choices
from monitor.config.rules import CrossRule
from monitor.config.settings import TASKS
from monitor.config.values import read_duration
from monitor.contracts import odcs_quality as quality
from monitor.contracts.catalog import Example
from monitor.contracts.contract import CATEGORICAL, NUMERIC, OPTIONS, Contract, is_finite_number, problem_of
from monitor.contracts.document import Node
from monitor.contracts.draft import ColumnDraft, Draft
from monitor.contracts.patterns import PART
from schemas.duration import format_duration

KINDS = {"string": CATEGORICAL, "boolean": CATEGORICAL, "number": NUMERIC, "integer": NUMERIC}
OWN = "driftline."
"""What the names of our own properties begin with: what the standard has no word for."""

_RULES = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern", "enum"}
_ABOUT = {
    "id", "name", "businessName", "description", "physicalName", "physicalType", "examples", "tags",
    "classification", "authoritativeDefinitions", "customProperties", "partitioned", "partitionKeyPosition",
    "criticalDataElement", "encryptedName", "transformLogic", "transformDescription", "semanticType",
    "transformSourceObjects", "primaryKeyPosition",
}  # fmt: skip
_READ = {"logicalType", "logicalTypeOptions", "required", "quality", "properties", "enum"}


class Odcs:
    """Reads data contracts of version 3; the schema is one table, or the only one of several with columns."""

    name: ClassVar[str] = "odcs"

    def matches(self, document: Node) -> bool:
        """Whether it says that it is a data contract."""
        return bool(document["kind"].value == "DataContract")

    def read(self, document: Node) -> Contract:
        """Turn a data contract into ours; see `monitor.contracts.catalog.Importer`."""
        version = document["apiVersion"].value
        if version is not None and not str(version).startswith("v3"):
            msg = f"{version!r} cannot be read (use v3.0.0 to v3.1.0)"
            raise document["apiVersion"].wrong(msg)
        draft = Draft()
        table = _table(document, draft)
        own = _own(document)
        if own.get("task") not in (None, *TASKS):
            msg = f"{OWN}task: is no task {choices(TASKS)}"
            raise document["customProperties"].wrong(msg)
        for entry in table["properties"]:
            _property(draft, entry, "")
        _table_rules(draft, table)
        return draft.finished(
            model=_text(document["name"]) or _text(table["name"]),
            version=_text(document["version"]),
            task=own.get("task"),
            positive_label=_label(document, own.get("positive_label")),
            segments=_names(document, own.get("segments")),
            rules=_rules(document, own.get("rules")),
            freshness=_freshness(document, own.get("freshness")),
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Contracts written from the standard."""
        return (Example(_EXAMPLE, _EXPECTED), Example(_BARE, Contract({})))


def _table(document: Node, draft: Draft) -> Node:
    tables = list(document["schema"])
    with_columns = [table for table in tables if table["properties"].value]
    if len(with_columns) > 1:
        names = ", ".join(str(table["name"].value) for table in with_columns)
        msg = f"has {len(with_columns)} tables, {names} (leave the one of the model)"
        raise document["schema"].wrong(msg)
    for table in tables:
        draft.left_out_keys(
            table, {"properties", "quality"}, {*_ABOUT, "logicalType", "dataGranularityDescription"}
        )
    return with_columns[0] if with_columns else document["schema"][0]


def _property(draft: Draft, entry: Node, prefix: str) -> None:
    name = prefix + entry["name"].text()
    kind = entry["logicalType"].word()
    if kind == "object" and entry["properties"].value:
        for below in entry["properties"]:
            _property(draft, below, f"{name}.")
        return
    column = draft.column(name, entry)
    if kind in KINDS:
        column.of_kind(KINDS[kind], is_integer=kind == "integer")
    elif kind is not None:
        column.left_out(f"logicalType {kind}")
    _type_options(column, entry["logicalTypeOptions"])
    if entry["enum"].value is not None:
        column.one_of(entry["enum"].value)
    if entry["required"].truth(False):
        column.not_null()
    if entry["unique"].truth(False):
        column.unique()
    if entry["primaryKey"].truth(False):
        column.left_out("primaryKey (rows are not compared with each other)")
    for rule in entry["quality"]:
        quality.take_in(column, rule)
    draft.left_out_keys(entry, _READ, {*_ABOUT, "unique", "primaryKey"})
    own = {option: value for option, value in _own(entry).items() if option in OPTIONS}
    problem = problem_of(own)
    if problem is not None:
        raise entry["customProperties"].wrong(problem)
    column.options.update(own)


def _type_options(column: ColumnDraft, options: Node) -> None:
    for name, below in options.entries().items():
        if name not in _RULES:
            column.left_out(f"logicalTypeOptions.{name} {below.value}")
    column.at_least(options["minimum"].value)
    column.at_most(options["maximum"].value)
    for name, bound in (("exclusiveMinimum", column.at_least), ("exclusiveMaximum", column.at_most)):
        if not isinstance(options[name].value, bool):
            bound(options[name].value, is_exclusive=True)
        elif options[name].value:
            bound(options[name.replace("exclusiveM", "m")].value, is_exclusive=True)
    if options["pattern"].value is not None:
        column.matching(options["pattern"].value, extent=PART)
    if options["enum"].value is not None:
        column.one_of(options["enum"].value)


def _table_rules(draft: Draft, table: Node) -> None:
    for rule in table["quality"]:
        draft.left_out(f"the table: {quality.words(rule)}")


def _own(node: Node) -> dict[str, Any]:
    """Properties of our own."""
    found: dict[str, Any] = {}
    for entry in node["customProperties"]:
        name = entry["property"].value
        if isinstance(name, str) and name.startswith(OWN):
            found[name.removeprefix(OWN)] = entry["value"].value
    return found


def _label(document: Node, value: Any) -> Any:
    if value is None or isinstance(value, str | bool) or is_finite_number(value):
        return value
    msg = f"{OWN}positive_label: must be a single value"
    raise document["customProperties"].wrong(msg)


def _names(document: Node, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(value)
    msg = f"{OWN}segments: must be a list of names of columns"
    raise document["customProperties"].wrong(msg)


def _rules(document: Node, value: Any) -> dict[str, Any]:
    """Conditions about several columns."""
    if value is None:
        return {}
    try:
        rules = {name: CrossRule.model_validate(said) for name, said in value.items()}
    except (AttributeError, ValidationError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "must be a mapping"
        msg = f"{OWN}rules: {why}"
        raise document["customProperties"].wrong(msg) from None
    return {name: rule.model_dump(exclude_none=True) for name, rule in rules.items()}


def _freshness(document: Node, value: Any) -> str | None:
    if value is None:
        return None
    try:
        return format_duration(read_duration(value))
    except ValueError as error:
        msg = f"{OWN}freshness: {error}"
        raise document["customProperties"].wrong(msg) from None


def _text(node: Node) -> str | None:
    return node.value if isinstance(node.value, str) and node.value else None


_BARE = {"kind": "DataContract", "apiVersion": "v3.1.0", "id": "empty", "version": "1.0.0", "status": "draft"}
_EXAMPLE: dict[str, Any] = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "53581432-6c55-4ba2-a65f-72344a91553a",
    "version": "1.1.0",
    "status": "active",
    "name": "flight-delay",
    "customProperties": [{"property": "driftline.task", "value": "binary_classification"}],
    "schema": [
        {
            "name": "flights",
            "logicalType": "object",
            "quality": [{"metric": "rowCount", "mustBeGreaterThan": 100}],
            "properties": [
                {
                    "name": "temp",
                    "logicalType": "number",
                    "physicalType": "DOUBLE",
                    "logicalTypeOptions": {"minimum": -40, "maximum": 130.5},
                    "quality": [{"metric": "nullValues", "mustBeLessOrEqualTo": 2, "unit": "percent"}],
                },
                {
                    "name": "seats",
                    "logicalType": "integer",
                    "required": True,
                    "logicalTypeOptions": {"exclusiveMinimum": 0, "multipleOf": 1},
                },
                {
                    "name": "carrier",
                    "logicalType": "string",
                    "unique": True,
                    "quality": [
                        {
                            "type": "library",
                            "metric": "invalidValues",
                            "arguments": {"validValues": ["UA", "AA"]},
                            "mustBeLessOrEqualTo": 5,
                            "unit": "percent",
                        },
                        {"metric": "missingValues", "mustBeLessThan": 100, "unit": "rows"},
                    ],
                },
                {
                    "name": "plane",
                    "logicalType": "object",
                    "properties": [
                        {
                            "name": "code",
                            "logicalType": "string",
                            "logicalTypeOptions": {"pattern": "^N[0-9]+$"},
                        }
                    ],
                },
                {
                    "name": "day",
                    "logicalType": "date",
                    "customProperties": [{"property": "driftline.required", "value": False}],
                },
            ],
        }
    ],
}
_EXPECTED = Contract(
    {
        "temp": {"kind": NUMERIC, "min": -40, "max": 130.5, "max_missing": 0.02},
        "seats": {"kind": NUMERIC, "min": 1, "nullable": False},
        "carrier": {"kind": CATEGORICAL, "values": ["UA", "AA"], "unique": True, "limit": 0.05},
        "plane.code": {"kind": CATEGORICAL, "pattern": "^N[0-9]+$"},
        "day": {"required": False},
    },
    task="binary_classification",
    model="flight-delay",
    version="1.1.0",
    notes=(
        "left out: seats: logicalTypeOptions.multipleOf 1",
        "left out: carrier: quality missingValues mustBeLessThan 100 rows",
        "left out: day: logicalType date",
        "left out: the table: quality rowCount mustBeGreaterThan 100",
    ),
)
