"""The JSON Schema of the configuration, and what it says of a place in a file."""

from __future__ import annotations

from functools import cache
from typing import Any

from monitor.config.configuration import Configuration
from monitor.config.problem import Path

JsonSchema = dict[str, Any]


@cache
def json_schema() -> JsonSchema:
    """Build the JSON Schema (2020-12) of ``driftline.yaml``, with a title and a description for every option.

    Durations, windows and budgets are strings with a pattern. Treat the result as read-only.
    """
    schema = Configuration.model_json_schema(by_alias=True, mode="validation")
    urls = ("database_url", "database_url_env", "database_url_file")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Driftline configuration",
        "oneOf": [{"required": [name]} for name in urls],
    }


def resolve(schema: JsonSchema) -> JsonSchema:
    """Follow a reference, and pick the branch of an optional value that is not null."""
    while True:
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/$defs/")
            schema = {**json_schema()["$defs"][name], **{k: v for k, v in schema.items() if k != "$ref"}}
            continue
        branches = [branch for branch in schema.get("anyOf", []) if branch.get("type") != "null"]
        if len(branches) != 1:
            return schema
        schema = {**branches[0], **{k: v for k, v in schema.items() if k != "anyOf"}}


def schema_at(path: Path, data: Any) -> JsonSchema:
    """Find what may stand at a place.

    Parameters
    ----------
    path : Path
        Keys and list positions from the top.
    data : Any
        The file's data, which tells of what type a receiver is.

    Returns
    -------
    JsonSchema
        With references resolved; empty where anything may stand or nothing is known.
    """
    schema = resolve(json_schema())
    for key in path:
        schema = resolve(_step(_variant(schema, data), key))
        data = _descend(data, key)
    return _variant(schema, data)


def _variant(schema: JsonSchema, data: Any) -> JsonSchema:
    """Of several types of receiver, pick the one that the data names."""
    mapping = schema.get("discriminator", {}).get("mapping", {})
    kind = data.get("type") if isinstance(data, dict) else None
    return resolve({"$ref": mapping[kind]}) if isinstance(kind, str) and kind in mapping else schema


def _step(schema: JsonSchema, key: str | int) -> JsonSchema:
    if isinstance(key, int):
        inner = schema.get("items", {})
    else:
        inner = schema.get("properties", {}).get(key, schema.get("additionalProperties", {}))
    return inner if isinstance(inner, dict) else {}


def _descend(data: Any, key: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(key)
    if isinstance(data, list) and isinstance(key, int) and key < len(data):
        return data[key]
    return None


def kinds(schema: JsonSchema) -> set[str]:
    """JSON types that a schema allows at its top, such as object or string."""
    found = {kind for branch in schema.get("anyOf", []) for kind in kinds(resolve(branch))}
    kind = schema.get("type", [])
    if "discriminator" in schema:
        found.add("object")
    return found | {kind} if isinstance(kind, str) else found | set(kind)
