"""The threat model names tests, and they exist."""

import ast
import re

import pytest

from tests.meta.project import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+\.py(?:::\w+)+)`", PAGE)))


def functions_of(tree: ast.Module | ast.ClassDef, before: str = "") -> set[str]:
    """Name the tests of a file, with their classes."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found.add(before + node.name)
        elif isinstance(node, ast.ClassDef):
            found |= functions_of(node, f"{before}{node.name}::")
    return found


@pytest.mark.parametrize("file", sorted({name.partition("::")[0] for name in NAMED}))
def test_every_test_that_the_threat_model_names_exists(file: str):
    there = functions_of(ast.parse((ROOT / file).read_text()))
    assert {name.partition("::")[2] for name in NAMED if name.startswith(f"{file}::")} - there == set()


def test_every_path_to_a_test_is_one_that_was_checked():
    assert len(NAMED) > 60
    assert len(re.findall(r"tests/[\w/]+\.py", PAGE)) == len(
        re.findall(r"`tests/[\w/.]+\.py(?:::\w+)+`", PAGE)
    )


def test_every_threat_is_answered_by_a_test_or_said_to_be_open():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 5]
    threats = [row for row in rows if not row.startswith("| threat |")]
    assert len(threats) > 40
    bare = [row for row in threats if "`tests/" not in row]
    assert [row for row in bare if "| nothing: " not in row] == []
