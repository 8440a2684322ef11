"""JSON Schema, drafts 7 and 2020-12: properties of an object, those inside others with dotted names."""

from __future__ import annotations

from typing import Any, ClassVar

from monitor.contracts.catalog import Example
from monitor.contracts.contract import CATEGORICAL, NUMERIC, Contract
from monitor.contracts.document import Node
from monitor.contracts.draft import ColumnDraft, Draft
from monitor.contracts.patterns import PART

KINDS = {"string": CATEGORICAL, "boolean": CATEGORICAL, "number": NUMERIC, "integer": NUMERIC}
_DEEPEST = 32  # references and objects inside each other
_MOST_PLACES = 50_000
_ABOUT = {
    "$schema", "$id", "$ref", "$defs", "definitions", "$comment", "$anchor", "$vocabulary", "title",
    "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "allOf",
}  # fmt: skip
_OBJECT = {"type", "properties", "required"}
_VALUE = {
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern",
    "nullable",
}  # fmt: skip


class JsonSchema:
    """Reads the schema of one event's features; ``$ref`` goes to other places of the same file."""

    name: ClassVar[str] = "json_schema"

    def matches(self, document: Node) -> bool:
        """Whether it describes an object."""
        kinds = (document["properties"].value, document["allOf"].value)
        return isinstance(kinds[0], dict) or (
            "$schema" in document and (bool(kinds[1]) or "$ref" in document)
        )

    def read(self, document: Node) -> Contract:
        """Turn a schema into a contract; see `monitor.contracts.catalog.Importer`."""
        reading = _Reading(document)
        reading.object([document, *reading.parts(document)], "", is_required=True, depth=0)
        title = document["title"].value
        return reading.draft.finished(model=title if isinstance(title, str) and title else None)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Schemas of both drafts."""
        return (
            Example(_example("$defs", "https://json-schema.org/draft/2020-12/schema"), _EXPECTED),
            Example(_example("definitions", "http://json-schema.org/draft-07/schema#"), _EXPECTED),
        )


class _Reading:
    def __init__(self, document: Node) -> None:
        self._document = document
        self._places = 0
        self.draft = Draft()

    def parts(self, schema: Node, depth: int = 0) -> list[Node]:
        """What holds beside a schema: the one that it refers to, and those of ``allOf``, and theirs."""
        self._places += 1
        if depth > _DEEPEST or self._places > _MOST_PLACES:
            msg = "refers to itself, or is nested too deeply"
            raise schema.wrong(msg)
        beside = [self._referred(schema)] if "$ref" in schema else []
        beside += list(schema["allOf"])
        return [place for one in beside for place in (one, *self.parts(one, depth + 1))]

    def _referred(self, schema: Node) -> Node:
        target = schema["$ref"].text()
        if not target.startswith("#"):
            msg = f"{target!r} is another file (use #/$defs/… in the same file)"
            raise schema["$ref"].wrong(msg)
        found = self._document
        for key in target.removeprefix("#").split("/")[1:]:
            plain = key.replace("~1", "/").replace("~0", "~")
            found = found[int(plain)] if plain.isdigit() and isinstance(found.value, list) else found[plain]
        if not isinstance(found.value, dict):
            msg = f"{target!r} is not in this file"
            raise schema["$ref"].wrong(msg)
        return found

    def object(self, schemas: list[Node], prefix: str, *, is_required: bool, depth: int) -> None:
        """Read the properties of an object, which may be spread over several schemas."""
        required = {name for schema in schemas for name in map(str, schema["required"].values())}
        properties: dict[str, list[Node]] = {}
        for schema in schemas:
            for name, below in schema["properties"].entries().items():
                properties.setdefault(name, []).extend([below, *self.parts(below, depth + 1)])
            self._leave_out(schema, _OBJECT, prefix.rstrip("."))
        for name, below_all in properties.items():
            is_needed = is_required and name in required
            if any(_describes_object(below) for below in below_all):
                is_needed = is_needed and not any(_is_nullable(below) for below in below_all)
                self.object(below_all, f"{prefix}{name}.", is_required=is_needed, depth=depth + 1)
                continue
            column = self.draft.column(f"{prefix}{name}", below_all[0])
            if not is_needed:
                column.optional()
            self._column(column, below_all)

    def _column(self, column: ColumnDraft, schemas: list[Node]) -> None:
        types = [set(_types(schema)) for schema in schemas if _types(schema)]
        allowed = set.intersection(*types) if types else set()
        kinds = {KINDS.get(name) for name in allowed - {"null"}}
        if len(kinds) == 1 and None not in kinds:
            column.of_kind(kinds.pop(), is_integer=allowed - {"null"} == {"integer"})
        elif kinds:
            column.left_out(f"type {', '.join(sorted(allowed))}")
        if types and "null" not in allowed and not any(schema["nullable"].value for schema in schemas):
            column.not_null()
        for schema in schemas:
            _rules(column, schema)
            self._leave_out(schema, _VALUE, column.name)

    def _leave_out(self, schema: Node, known: set[str], name: str) -> None:
        for key, below in schema.entries().items():
            if key not in known | _ABOUT and not (key == "additionalProperties" and below.value is True):
                where = f"{name}: " if name else ""
                self.draft.left_out(f"{where}{key}")


def _describes_object(schema: Node) -> bool:
    return "properties" in schema


def _types(schema: Node) -> list[str]:
    """Names of types; a union is a list of them. Whole numbers are numbers."""
    place = schema["type"]
    names = [place.text()] if isinstance(place.value, str) else [str(name) for name in place.values()]
    return [*names, "integer"] if "number" in names and "integer" not in names else names


def _is_nullable(schema: Node) -> bool:
    return "null" in _types(schema)


def _rules(column: ColumnDraft, schema: Node) -> None:
    if "enum" in schema:
        column.one_of(schema["enum"].value)
    if schema["const"].value is not None:
        column.one_of([schema["const"].value])
    column.at_least(schema["minimum"].value)
    column.at_most(schema["maximum"].value)
    column.at_least(schema["exclusiveMinimum"].value, is_exclusive=True)
    column.at_most(schema["exclusiveMaximum"].value, is_exclusive=True)
    if "pattern" in schema:
        column.matching(schema["pattern"].value, extent=PART)


def _example(definitions: str, draft: str) -> dict[str, Any]:
    return {
        "$schema": draft,
        "title": "flight-delay",
        "type": "object",
        "required": ["temp", "seats", "plane"],
        "additionalProperties": False,
        "properties": {
            "temp": {"type": ["number", "null"], "minimum": -40, "maximum": 130.5},
            "seats": {"type": "integer", "exclusiveMinimum": 0, "multipleOf": 1},
            "carrier": {"enum": ["UA", "AA", None], "type": ["string", "null"]},
            "plane": {"$ref": f"#/{definitions}/plane"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        definitions: {
            "plane": {
                "type": "object",
                "required": ["tail"],
                "properties": {
                    "tail": {"allOf": [{"type": "string"}, {"pattern": "^N[0-9]+$"}]},
                    "new": {"const": True},
                },
            }
        },
    }


_EXPECTED = Contract(
    {
        "temp": {"kind": NUMERIC, "min": -40, "max": 130.5},
        "seats": {"kind": NUMERIC, "min": 1, "nullable": False},
        "carrier": {"kind": CATEGORICAL, "values": ["UA", "AA"], "required": False},
        "plane.tail": {"kind": CATEGORICAL, "pattern": "^N[0-9]+$", "nullable": False},
        "plane.new": {"kind": CATEGORICAL, "values": [True], "required": False},
        "tags": {"nullable": False, "required": False},
    },
    model="flight-delay",
    notes=(
        "left out: additionalProperties",
        "left out: seats: multipleOf",
        "left out: tags: type array",
        "left out: tags: items",
    ),
)
