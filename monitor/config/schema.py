"""The JSON Schema of the configuration, and what it says of a place in a file."""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import Any

from pydantic import BaseModel

from alerting.policy import AlertPolicy
from monitor.config.configuration import Configuration
from monitor.config.problem import Path
from monitor.config.receivers import receiver_options

JsonSchema = dict[str, Any]

_URL_KEYS = ("database_url", "database_url_env", "database_url_file")
_PARAMETER = re.compile(r"^(?P<names>\w+(?:, \w+)*) :.*\n(?P<text>(?:[ ]+.*\n|\n)+)", re.MULTILINE)


@cache
def json_schema() -> JsonSchema:
    """Build the JSON Schema (2020-12) of ``driftline.yaml``, with a title and a description for every option.

    Durations, windows and budgets are strings with a pattern. Treat the result as read-only.
    """
    schema = Configuration.model_json_schema(by_alias=True, mode="validation")
    documented: list[type[BaseModel]] = [*receiver_options().values(), AlertPolicy]
    for options in documented:
        described = schema["$defs"][options.__name__]
        bases = [base for base in options.__mro__ if issubclass(base, BaseModel) and base is not BaseModel]
        for base in bases:  # what a class does not describe itself, those that it inherits from do
            _describe(described, inspect.getdoc(base) or "")
        described["description"] = (inspect.getdoc(options) or "").split("\n\n")[0]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_tidied(schema),
        "title": "Driftline configuration",
        "oneOf": [{"required": [name]} for name in _URL_KEYS],
    }


def resolve(schema: JsonSchema) -> JsonSchema:
    """Follow references; what stands beside a reference wins."""
    while "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**json_schema()["$defs"][name], **beside}
    return schema


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
    schema = json_schema()
    for key in path:
        schema = resolve(_step(_variant(schema, data), key))
        data = _descend(data, key)
    return _variant(schema, data)


def kinds(schema: JsonSchema) -> set[str]:
    """JSON types that a schema allows at its top, such as object or string."""
    if "discriminator" in schema:
        return {"object"}
    found = {kind for branch in schema.get("anyOf", []) for kind in kinds(resolve(branch))}
    kind = schema.get("type", [])
    return found | ({kind} if isinstance(kind, str) else set(kind))


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


def _tidied(node: Any) -> Any:
    """Drop null, because a blank value is refused, and defaults of sections, which their options say."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _tidied(value) for key, value in node.items()}
    if "default" in result and (result["default"] is None or isinstance(result["default"], dict)):
        del result["default"]
    branches = [branch for branch in result.get("anyOf", []) if branch != {"type": "null"}]
    if "anyOf" in result and len(branches) == 1:
        del result["anyOf"]
        return {**branches[0], **result}
    return {**result, "anyOf": branches} if "anyOf" in result else result


def _describe(schema: JsonSchema, docstring: str) -> None:
    """Take the descriptions of options from the Parameters of a docstring."""
    schema["description"] = docstring.split("\n\n")[0]
    for match in _PARAMETER.finditer(f"{docstring}\n"):
        for name in match["names"].split(", "):
            if name in schema["properties"]:
                schema["properties"][name].setdefault("description", " ".join(match["text"].split()))
