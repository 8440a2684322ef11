"""What docs/connections.md says: the rights in Kafka, the SQL, the examples. Tests do what it says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "connections.md"
HEADER = ["role", "resource", "name", "right", "without it"]


@dataclass(frozen=True)
class Right:
    """A row of the list of rights."""

    role: str
    resource: str
    name: str
    operation: str

    def grants(self, settings: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """Kind, name and operation of what is allowed, in one installation."""
        named, _, rest = self.name.removeprefix("`").partition("`")
        return [(self.resource, f"{name}{rest}", self.operation) for name in _values(settings, named)]


def rights() -> list[Right]:
    """The list of rights, as the page has it."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.read_text().splitlines()]
    start = lines.index(HEADER) + 2
    rows = []
    for cells in lines[start:]:
        if len(cells) != len(HEADER):
            break
        rows.append(Right(*cells[:4]))
    return rows


def blocks(language: str) -> list[str]:
    """Code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


def statements(block: str) -> list[str]:
    """Statements of a block of SQL."""
    return [statement.strip() for statement in block.split(";") if statement.strip()]


def _values(settings: Mapping[str, Any], name: str) -> list[str]:
    """What a name of the list stands for."""
    if name == "streams":
        return [stream["topic"] for stream in settings["streams"]]
    value: Any = settings
    for key in name.split("."):
        value = value[key]
    return (
        [value[key] for key in ("predictions", "labels") if key in value]
        if isinstance(value, dict)
        else [value]
    )
