"""Imports go one way: monitor, then detectors and alerting, then schemas (contracts: pyproject.toml)."""

import pytest
from importlinter import configuration
from importlinter.application import use_cases

from tests.meta.project import ROOT

configuration.configure()


def test_all_contracts_are_kept(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    are_kept = use_cases.lint_imports(config_filename="pyproject.toml", cache_dir=None)
    assert are_kept, capsys.readouterr().out
