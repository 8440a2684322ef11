"""Writes what the chart has from elsewhere: ``python deploy/helm/build.py`` after a change, and commit it.

A packaged chart holds nothing from outside its folder, so the rules for Prometheus and the dashboards for
Grafana are copied into it. The table of values in its README.md is made of values.yaml and its schema.
A test says when something is not what this file writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

DEPLOY = Path(__file__).parents[1]
CHART = DEPLOY / "helm" / "driftline"
README = CHART / "README.md"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"


def copies() -> dict[Path, str]:
    """Files of the chart that are copies, with the text that they should have."""
    sources = {Path("driftline.rules.yml"): DEPLOY / "prometheus" / "driftline.rules.yml"}
    for board in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        sources[Path("dashboards") / board.name] = board
    return {CHART / "files" / name: source.read_text() for name, source in sources.items()}


def rows(
    schema: Mapping[str, Any], values: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Each value with its default and its meaning, in the order of values.yaml."""
    for name, default in values.items():
        place, told = f"{path}{name}", schema["properties"][name]
        if isinstance(default, Mapping) and "properties" in told:
            yield from rows(told, default, f"{place}.")
        else:
            yield place, json.dumps(default), told["description"]


def table() -> str:
    """All values as tables, one for each mapping at the top of values.yaml."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = YAML(typ="safe").load(CHART / "values.yaml")
    single = {name: value for name, value in values.items() if "properties" not in schema["properties"][name]}
    parts = [_part("General", "", rows(schema, single))]
    for name, value in values.items():
        if name not in single:
            told = schema["properties"][name]
            parts.append(_part(f"`{name}`", told["description"], rows(told, value, f"{name}.")))
    return "\n".join(parts)


def _part(title: str, introduction: str, listed: Iterator[tuple[str, str, str]]) -> str:
    lines = [f"### {title}", "", *([introduction, ""] if introduction else [])]
    lines += ["| value | default | meaning |", "|---|---|---|"]
    lines += [f"| `{place}` | `{default}` | {meaning} |" for place, default, meaning in listed]
    return "\n".join([*lines, ""])


def updated(page: str) -> str:
    """Return the page with the table anew."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write all of it."""
    for path, text in copies().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    README.write_text(updated(README.read_text()))


if __name__ == "__main__":
    main()
