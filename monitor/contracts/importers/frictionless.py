"""Frictionless: a Table Schema, or a resource or package that holds one."""

from __future__ import annotations

from typing import Any, ClassVar

from monitor.contracts.catalog import Example
from monitor.contracts.contract import CATEGORICAL, NUMERIC, Contract
from monitor.contracts.document import Node
from monitor.contracts.draft import ColumnDraft, Draft
from monitor.contracts.patterns import WHOLE

KINDS = {
    "string": CATEGORICAL,
    "boolean": CATEGORICAL,
    "number": NUMERIC,
    "integer": NUMERIC,
    "year": NUMERIC,
}
_INTEGERS = {"integer", "year"}
_CONSTRAINTS = {
    "required", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern", "unique",
}  # fmt: skip
_FORMATS = {None, "default"}


class Frictionless:
    """Reads table schemas; of a package, the only resource that has one."""

    name: ClassVar[str] = "frictionless"

    def matches(self, document: Node) -> bool:
        """Whether it lists fields, or resources."""
        return any(
            isinstance(place.value, list) for place in (document["fields"], document["resources"])
        ) or (isinstance(document["schema"]["fields"].value, list))

    def read(self, document: Node) -> Contract:
        """Turn a descriptor into a contract; see `monitor.contracts.catalog.Importer`."""
        draft = Draft()
        resource = _resource(document)
        schema = resource if resource["schema"].value is None else resource["schema"]
        if isinstance(schema.value, str):
            msg = "names another file (give that file, or put the schema here)"
            raise schema.wrong(msg)
        for entry in schema["fields"]:
            _field(draft, entry)
        marks = [mark for mark in schema["missingValues"].values() if mark != ""]
        if marks:
            draft.left_out(f"that {', '.join(map(repr, marks))} mean missing")
        for key in ("primaryKey", "foreignKeys", "uniqueKeys"):
            if schema[key].value:
                draft.left_out(f"{key} (rows are not compared with each other)")
        name, version = resource["name"].value, document["version"].value
        return draft.finished(
            model=name if isinstance(name, str) else None,
            version=version if isinstance(version, str) else None,
        )

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """A schema, and a package that holds it."""
        resource = {"name": "flights", "path": "flights.csv", "schema": _SCHEMA}
        package = {"name": "travel", "version": "2.0.0", "resources": [resource]}
        return tuple(Example(document, _EXPECTED) for document in (_SCHEMA, resource, package))


def _resource(document: Node) -> Node:
    if "resources" not in document:
        return document
    found = [resource for resource in document["resources"] if resource["schema"].value]
    if len(found) != 1:
        names = ", ".join(str(resource["name"].value) for resource in found) or "none"
        message = f"has {len(found)} resources with a schema, {names} (leave the one of the model)"
        raise document["resources"].wrong(message)
    return found[0]


def _field(draft: Draft, entry: Node) -> None:
    kind = entry["type"].word()
    column = draft.column(entry["name"].text(), entry)
    if kind in KINDS:
        column.of_kind(KINDS[kind], is_integer=kind in _INTEGERS)
    elif kind not in (None, "any"):
        column.left_out(f"type {kind}")
    if entry["format"].word() not in _FORMATS:
        column.left_out(f"format {entry['format'].value}")
    if entry["missingValues"].value:
        column.left_out("its missingValues")
    if entry["categories"].value:
        column.one_of([_category(item) for item in entry["categories"]])
    _constraints(column, entry["constraints"])


def _category(item: Node) -> Any:
    return item["value"].value if isinstance(item.value, dict) else item.value


def _constraints(column: ColumnDraft, constraints: Node) -> None:
    if constraints["required"].truth(default=False):
        column.not_null()
    column.at_least(constraints["minimum"].value)
    column.at_most(constraints["maximum"].value)
    column.at_least(constraints["exclusiveMinimum"].value, is_exclusive=True)
    column.at_most(constraints["exclusiveMaximum"].value, is_exclusive=True)
    if constraints["enum"].value is not None:
        column.one_of(constraints["enum"].value)
    if constraints["pattern"].value is not None:
        column.matching(constraints["pattern"].value, extent=WHOLE)
    if constraints["unique"].truth(default=False):
        column.unique()
    for name, below in constraints.entries().items():
        if name not in _CONSTRAINTS:
            column.left_out(f"constraint {name} {below.value}")


_SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "temp", "type": "number", "constraints": {"minimum": -40, "maximum": 130.5}},
        {"name": "seats", "type": "integer", "constraints": {"required": True, "exclusiveMinimum": 0}},
        {"name": "carrier", "type": "string", "constraints": {"enum": ["UA", "AA"], "minLength": 2}},
        {"name": "tail", "type": "string", "constraints": {"pattern": "N[0-9]+", "unique": True}},
        {"name": "day", "type": "date", "format": "%d.%m.%Y"},
        {"name": "class", "type": "string", "categories": ["first", "second"]},
    ],
    "missingValues": ["", "NA"],
    "primaryKey": ["tail", "day"],
}
_EXPECTED = Contract(
    {
        "temp": {"kind": NUMERIC, "min": -40, "max": 130.5},
        "seats": {"kind": NUMERIC, "min": 1, "nullable": False},
        "carrier": {"kind": CATEGORICAL, "values": ["UA", "AA"]},
        "tail": {"kind": CATEGORICAL, "pattern": "^(?:N[0-9]+)$", "unique": True},
        "day": {},
        "class": {"kind": CATEGORICAL, "values": ["first", "second"]},
    },
    notes=(
        "left out: carrier: constraint minLength 2",
        "left out: day: type date",
        "left out: day: format %d.%m.%Y",
        "left out: that 'NA' mean missing",
        "left out: primaryKey (rows are not compared with each other)",
    ),
)
