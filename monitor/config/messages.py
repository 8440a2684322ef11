"""Turns what pydantic reports into messages for people: what is wrong, and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from monitor.config.problem import Path, choices, is_secret_name, nearest, show
from monitor.config.schema import JsonSchema, schema_at
from monitor.config.section import FINDINGS, Finding
from monitor.config.values import FORMS

_KINDS = {
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "dict_type": "must be a mapping (key: value)",
    "tuple_type": "must be a list ([a, b])",
    "list_type": "must be a list ([a, b])",
    "missing": "is required",
    "finite_number": "must be a finite number",
}
_WANTED = {
    "string_type": "is not text (put it in quotes)",
    "int_type": "is not a whole number",
    "float_type": "is not a number",
    "bool_type": "is not a truth value (use true or false)",
}


def findings_of(error: ValidationError, data: Any) -> Iterator[Finding]:
    """Write every error for people.

    Parameters
    ----------
    error : ValidationError
        From validating `data`.
    data : Any
        The file's data.

    Yields
    ------
    (path, message)
        Paths from the top of the file.
    """
    located = [(_path_in(data, detail), detail) for detail in error.errors(include_url=False)]
    for path, detail in located:
        if detail["type"] == "too_short" and any(_lies_in(path, *other) for other in located):
            continue  # wrong items are missing from the list, which is then said to be too short
        if detail["type"] == FINDINGS:
            for below, message in detail["ctx"][FINDINGS]:
                yield (*path, *below), message
        else:
            yield path, _message(detail, path, data)


def _path_in(data: Any, detail: ErrorDetails) -> Path:
    """Drop from pydantic's location what is not in the file: names of union branches, "[key]"."""
    path: list[str | int] = []
    location = detail["loc"]
    for position, key in enumerate(location):
        last = position == len(location) - 1
        if _holds(data, key):
            data = data[key]
            path.append(key)
        elif last and detail["type"] == "missing":
            path.append(key)
    return tuple(path)


def _lies_in(path: Path, other: Path, detail: ErrorDetails) -> bool:
    """Whether another error is about the list at a path or something in it."""
    return other[: len(path)] == path and detail["type"] != "too_short"


def _holds(data: Any, key: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(key, int) and key < len(data)
    return isinstance(data, dict) and key in data


def _message(detail: ErrorDetails, path: Path, data: Any) -> str:
    kind, value = detail["type"], detail["input"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(path, data)
    if kind == "value_error":
        return str(context["error"])
    if kind in _KINDS:
        return _KINDS[kind]
    schema = schema_at(path, data)
    if kind in ("literal_error", "enum"):
        return _not_allowed(value, path, re.findall("'([^']*)'", context["expected"]))
    if kind.startswith("union_tag"):
        return _no_such_type(value, path, schema)
    if kind in _WANTED:
        return f"{show(value, path)} {_WANTED[kind]}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"{show(value, path)} is out of range ({allowed_range(schema)})"
    if kind in ("too_long", "too_short", "string_too_short", "string_too_long"):
        return _wrong_length(kind, context)
    if kind == "string_pattern_mismatch":
        wrong_form = FORMS.get(context["pattern"], f"does not have the right form (use {context['pattern']})")
        return f"{show(value, path)} {wrong_form}"
    return f"{show(value, path)} is not allowed: {detail['msg']}"


def unknown_key(path: Path, data: Any) -> str:
    """Say what a key that nobody knows should have been.

    Parameters
    ----------
    path : Path
        Ends with the key.
    data : Any
        The file's data.
    """
    key = str(path[-1])
    allowed = list(schema_at(path[:-1], data).get("properties", {}))
    pointers = [name for name in (f"{key}_env", f"{key}_file") if name in allowed]
    if pointers or is_secret_name(key):
        pointers = pointers or [name for name in allowed if name.endswith(("_env", "_file"))]
        instead = f"(use {' or '.join(pointers)})" if pointers else choices(allowed)
        return f"secrets are not written here {instead}"
    hint = nearest(key, allowed)
    meant = f"; did you mean {hint}?" if hint else ""
    return f"is an unknown key{meant} {choices(allowed)}"


def _not_allowed(value: Any, path: Path, allowed: Sequence[str]) -> str:
    hint = nearest(value, allowed) if isinstance(value, str) else None
    meant = f"; did you mean {hint}?" if hint else ""
    return f"{show(value, path)} is not allowed{meant} {choices(allowed)}"


def _no_such_type(value: Any, path: Path, schema: JsonSchema) -> str:
    types = list(schema.get("discriminator", {}).get("mapping", {}))
    given = value.get("type") if isinstance(value, dict) else None
    if given is None:
        return f"type is required {choices(types)}"
    return f"type {_not_allowed(given, (*path, 'type'), types)}"


def allowed_range(schema: JsonSchema) -> str:
    """Write the range of a number.

    Examples
    --------
    >>> allowed_range({"minimum": 0, "maximum": 65535}), allowed_range({"exclusiveMinimum": 0})
    ('use 0 to 65535', 'use more than 0')
    """
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"use {low} to {high}"
    above = schema.get("exclusiveMinimum")
    parts = [f"more than {above}" if above is not None else "", f"at least {low}" if low is not None else ""]
    parts.append(f"at most {high}" if high is not None else "")
    return "use " + " and ".join(part for part in parts if part)


def _wrong_length(kind: str, context: dict[str, Any]) -> str:
    text = kind.startswith("string")
    bound = context["min_length" if kind.endswith("short") else "max_length"]
    if kind.endswith("short"):
        return "must not be empty" if bound == 1 else f"is too short (use at least {bound})"
    return f"is too long (use at most {bound}{' characters' if text else ''})"
