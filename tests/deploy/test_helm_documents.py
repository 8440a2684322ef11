"""What the chart has from elsewhere in the repository is up to date, and what its README says works."""

import re
import runpy
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.deploy.helm.chart import CHART, ROOT, VALUES, helm, lint, render, render_with
from tests.deploy.helm.command_line import commands_in, parse

BUILDER = runpy.run_path(str(ROOT / "deploy" / "helm" / "build.py"))
README = (CHART / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
EXAMPLES = [text for kind, text in BLOCKS if kind == "yaml"]


def test_copies_and_the_table_are_what_the_builder_writes():
    copies = BUILDER["copies"]()
    assert {path for path in (CHART / "files").rglob("*") if path.is_file()} == set(copies)
    for path, text in copies.items():
        assert path.read_text() == text, "run: python deploy/helm/build.py"
    assert BUILDER["updated"](README) == README, "run: python deploy/helm/build.py"


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_values_in_the_readme_can_be_used(number, tmp_path):
    path = tmp_path / "values.yaml"
    path.write_text(EXAMPLES[number])
    assert "0 chart(s) failed" in lint(path)


def test_commands_in_the_readme_can_be_given():
    commands = commands_in(README)
    assert [parse(words)["config"] for words in commands] == ["/etc/driftline/driftline.yaml"]


def test_the_readme_leads_to_files_that_are_there():
    for target in re.findall(r"\]\((?!#)([^)#]+)[^)]*\)", README):
        assert (CHART / target).exists(), target


def test_the_chart_is_packed_with_all_that_it_needs(tmp_path):
    packed = helm("package", CHART, "--destination", tmp_path).strip().rpartition(" ")[2]
    assert render_with(VALUES / "everything.yaml", chart=Path(packed)) == render("everything")
    assert helm("show", "readme", packed).strip() == README.strip()


def test_the_chart_is_of_the_version_of_the_project():
    chart = YAML(typ="safe").load(CHART / "Chart.yaml")
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert chart["appVersion"] == version
