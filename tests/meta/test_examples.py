"""Every configuration that the project shows can be used as it stands."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from monitor.config.loader import examine, examine_text
from tests.meta.project import ROOT

FENCE = re.compile(r"^```yaml\n(# (?:part of )?driftline\.yaml\n.*?)^```", re.MULTILINE | re.DOTALL)
BASE = """
kafka: {bootstrap_servers: "127.0.0.1:9092"}
database_url: sqlite:///driftline.db
streams: [{topic: p, kind: predictions}]
"""


def pages():
    """List the pages that may show configurations."""
    return [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if path.exists()]


def blocks():
    """List what the pages mark as ``# driftline.yaml`` or ``# part of driftline.yaml``."""
    return [
        pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}")
        for page in pages()
        for text in [page.read_text(encoding="utf-8")]
        for match in FENCE.finditer(text)
    ]


def complete(block):
    """Add to a part of a configuration what it leaves out."""
    if not block.startswith("# part of"):
        return block
    given = YAML(typ="safe", pure=True).load(block)
    return block + "".join(f"{line}\n" for line in BASE.split("\n") if line.partition(":")[0] not in given)


@pytest.mark.parametrize("block", blocks())
def test_block_of_a_page(block):
    assert [str(problem) for problem in examine_text(complete(block), "block")[1]] == []


@pytest.mark.parametrize("file", sorted((ROOT / "deploy" / "examples").iterdir()), ids=lambda file: file.name)
def test_example(file: Path):
    assert [str(problem) for problem in examine(str(file))[1]] == []


def test_pages_show_configurations():
    assert blocks()
