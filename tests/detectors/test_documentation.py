"""The examples in the pages about detectors run as they are written."""

import doctest
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_examples_of_the_page_about_effects():
    result = doctest.testfile(str(DOCS / "effects.md"), module_relative=False, encoding="utf-8")
    assert result.attempted > 8
    assert result.failed == 0
