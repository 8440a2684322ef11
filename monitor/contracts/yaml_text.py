"""Writes YAML that every reader takes as it is meant: texts that look like something else are in quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
# What YAML 1.1, which other tools read, takes for truth values, nothing and numbers.
_TAKEN = re.compile(r"(y|n|yes|no|on|off|true|false|null|nan|inf)", re.IGNORECASE)


def scalar(value: Any) -> str:
    r"""Write a single value on one line.

    Examples
    --------
    >>> print(scalar("UA"), scalar("NO"), scalar("a\n#b"), scalar(True), scalar(1e16), scalar("é"))
    UA "NO" "a\n#b" true 1.0e+16 "é"
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value) and not _TAKEN.fullmatch(value):
        return str(value)
    return "".join(map(_sign, json.dumps(value, ensure_ascii=False)))


def flow(value: Any) -> str:
    """Write a value on one line: ``{min: 1, values: [a, b]}``."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def block(value: Mapping[str, Any], indent: int = 0) -> list[str]:
    """Write a mapping, one entry a line; lists of mappings item by item, other lists on a line."""
    lines: list[str] = []
    before = " " * indent
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            lines += [f"{before}{scalar(key)}:", *block(item, indent + 2)]
        elif isinstance(item, list) and item and all(isinstance(one, Mapping) and one for one in item):
            lines.append(f"{before}{scalar(key)}:")
            for one in item:
                first, *others = block(one, indent + 4)
                lines += [f"{before}  - {first.lstrip()}", *others]
        else:
            lines.append(f"{before}{scalar(key)}: {flow(item)}")
    return lines


def _sign(sign: str) -> str:
    if sign.isprintable():
        return sign
    return f"\\u{ord(sign):04x}" if ord(sign) <= 0xFFFF else f"\\U{ord(sign):08x}"
