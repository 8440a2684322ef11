"""The scripts that set a machine up say what they miss and leave alone what is there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.kit import kafka
from tests.meta.project import ROOT

PACKAGES_SCRIPT = ROOT / "deploy" / "setup" / "packages.sh"


def run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, with further environment variables."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_done_or_said_when_all_programs_are_there():
    done = run(PACKAGES_SCRIPT, "bash=bash", "/usr=base-files")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_apt_the_missing_packages_are_named(tmp_path: Path):
    for name in ("bash", "env"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = run(
        PACKAGES_SCRIPT, "env=coreutils", "no-such-program=first", "/no/such/file=second", PATH=str(tmp_path)
    )
    assert done.returncode == 1
    assert "no apt-get" in done.stderr
    assert done.stderr.rstrip().endswith("first second")


def test_an_interpreter_that_is_too_old_or_missing_is_refused(tmp_path: Path):
    done = run(
        ROOT / "deploy/setup/python.sh", tmp_path / "env", "requirements.lock", PYTHON="no-such-python"
    )
    assert done.returncode == 1
    assert "Python 3.11 or later is needed" in done.stderr


def test_the_kit_starts_the_kafka_that_is_fetched():
    pom = (ROOT / "deploy/setup/kafka-pom.xml").read_text()
    assert f"<kafka.version>{kafka.VERSION}</kafka.version>" in pom


def test_every_make_target_is_described():
    done = run("make", "--no-print-directory", "help")
    targets = {line.split()[1] for line in done.stdout.splitlines()}
    promised = {"setup", "demo", "test", "test-full", "check", "bench", "lock", "format", "clean", "help"}
    assert promised - targets == set()


def test_tests_of_one_group_run_on_one_worker(tmp_path: Path):
    """What a group shares is slow to start; that a runner scatters it would only be felt."""
    (tmp_path / "test_grouped.py").write_text(
        "import os, pytest\n"
        "@pytest.mark.parametrize('number', range(12))\n"
        "@pytest.mark.xdist_group('together')\n"
        "def test_one(number):\n"
        f"    with open({str(tmp_path / 'workers')!r}, 'a') as seen:\n"
        "        print(os.environ['PYTEST_XDIST_WORKER'], file=seen)\n"
    )
    done = run(
        sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider",
        "--rootdir", tmp_path, "-c", "/dev/null", tmp_path / "test_grouped.py",
        PYTEST_ADDOPTS="",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    workers = (tmp_path / "workers").read_text().split()
    assert (len(workers), len(set(workers))) == (12, 1)
