"""Tables of all options for docs/configuration.md, written from the JSON Schema.

``python -m monitor.config.options_table docs/configuration.md`` puts them between the page's markers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monitor.config.schema import JsonSchema, json_schema, resolve
from monitor.config.values import DURATION_PATTERN, WINDOW_PATTERN

_NAMED = {DURATION_PATTERN: "duration", WINDOW_PATTERN: "window"}
BEGIN, END = "<!-- options: begin -->", "<!-- options: end -->"


def tables() -> str:
    """Write one table a part of the file, in Markdown."""
    parts = [_table("Top level", json_schema())]
    parts += [_table(f"`{path}`", schema) for path, schema in sections()]
    return "\n".join(parts)


def updated(page: str) -> str:
    """Put the current tables into a page.

    Raises
    ------
    ValueError
        If the page has no markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        msg = f"the page has no place for the tables (use {BEGIN} and {END})"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


def sections() -> Iterator[tuple[str, JsonSchema]]:
    """Walk the mappings of the file below its top level, outer before inner: their place and their schema.

    Places are such as ``http.sign_in``, ``streams[]``, ``defaults.features.<name>`` and ``receivers.<name>
    (type: slack)``. ``models.<name>`` is like ``defaults`` and not repeated.
    """
    yield from _sections("", json_schema())


def _sections(path: str, schema: JsonSchema) -> Iterator[tuple[str, JsonSchema]]:
    for key, option in schema.get("properties", {}).items():
        if key == "models":
            continue
        place = f"{path}.{key}" if path else key
        yield from _below(place, resolve(option))


def _below(place: str, option: JsonSchema) -> Iterator[tuple[str, JsonSchema]]:
    if "properties" in option:
        yield place, option
        yield from _sections(place, option)
    elif isinstance(option.get("items"), dict):
        yield from _below(f"{place}[]", resolve(option["items"]))
    elif isinstance(option.get("additionalProperties"), dict):
        yield from _below(f"{place}.<name>", resolve(option["additionalProperties"]))
    for kind, reference in option.get("discriminator", {}).get("mapping", {}).items():
        yield f"{place} (type: {kind})", resolve({"$ref": reference})


def _table(title: str, schema: JsonSchema) -> str:
    lines = [f"### {title}", "", "| option | type | default | meaning |", "|---|---|---|---|"]
    required = schema.get("required", [])
    for key, option in schema["properties"].items():
        resolved = resolve(option)
        default = "required" if key in required else _default(resolved)
        meaning = resolved.get("description", "").replace("``", "`").replace("\n", " ")
        lines.append(f"| `{key}` | {_cell(_type(resolved))} | {default} | {_cell(meaning)} |")
    return "\n".join([*lines, ""])


def _default(schema: JsonSchema) -> str:
    default = schema.get("default")
    if default is None or default == []:
        return "–"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _type(schema: JsonSchema) -> str:
    """Name a type in a few words, with its range."""
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return f"one or several of: {_type(resolve(schema['anyOf'][0]))}"
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        return ", ".join("text" if name == "string" else name for name in kind)
    if kind == "array":
        return f"list of: {_type(resolve(schema['items']))}"
    if kind == "object":
        return "mapping"
    return f"{_text_type(schema) if kind == 'string' else kind}{_range(schema)}"


def _text_type(schema: JsonSchema) -> str:
    if schema.get("pattern") in _NAMED:
        return _NAMED[schema["pattern"]]
    examples = schema.get("examples", [])
    return f"text such as {', '.join(f'`{value}`' for value in examples[:2])}" if examples else "text"


def _range(schema: JsonSchema) -> str:
    low: Any = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum")
    opening = "above " if "exclusiveMinimum" in schema else ""
    if low is None and high is None:
        return ""
    return f", {opening}{low}" if high is None else f", {opening}{low} to {high}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        file = Path(name)
        file.write_text(updated(file.read_text(encoding="utf-8")), encoding="utf-8")
