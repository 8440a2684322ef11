"""What the files of the project may not contain."""

import re
from pathlib import Path

import pytest

from tests.meta.project import ROOT, files

# Where a checkout or a home lies on somebody's machine.
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:work|root|Users|home)/[\w.]")

MERGE_MARKER = re.compile(r"^(?:<{7}|>{7}) ", flags=re.MULTILINE)


def text_files() -> list[Path]:
    """List the files that are text."""
    return [path for path in files() if b"\0" not in path.read_bytes()[:8192]]


@pytest.mark.parametrize("pattern", [MACHINE_PATH, MERGE_MARKER], ids=["machine path", "merge marker"])
def test_no_file_contains(pattern: re.Pattern[str]):
    texts = ((path, path.read_text(errors="replace")) for path in text_files())
    found = {str(path.relative_to(ROOT)): match[0] for path, text in texts if (match := pattern.search(text))}
    assert found == {}


def test_scripts_stop_at_the_first_error():
    scripts = [
        path for path in text_files() if path.read_text(errors="replace").startswith("#!/usr/bin/env bash")
    ]
    assert scripts
    assert [str(path) for path in scripts if "\nset -euo pipefail\n" not in path.read_text()] == []
