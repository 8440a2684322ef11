"""The project installs as it is meant to, and every module of it can be imported on its own."""

import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.meta.circles import modules_in_circles
from tests.meta.project import PACKAGES, ROOT, files, modules, pyproject


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build a wheel from a copy of the committed files, and list what is in it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for path in files():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--disable-pip-version-check", "--wheel-dir", target, source),
        ],
        check=True,
    )
    (wheel,) = target.glob("driftline-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_packages(wheel_names: set[str]):
    ours = {str(path.relative_to(ROOT)) for path in files() if path.relative_to(ROOT).parts[0] in PACKAGES}
    assert ours - wheel_names == set()


def test_the_wheel_holds_the_licence_and_nothing_else(wheel_names: set[str]):
    metadata = f"driftline-{pyproject()['project']['version']}.dist-info"
    assert {Path(name).parts[0] for name in wheel_names} == {*PACKAGES, metadata}
    assert f"{metadata}/licenses/LICENSE" in wheel_names


def test_the_command_leads_to_a_function():
    (command,) = entry_points(group="console_scripts", name="driftline")
    assert callable(command.load())


@pytest.mark.full
def test_modules_in_circles_can_be_imported_before_all_others():
    circles = modules_in_circles()
    assert {"detectors.psi", "monitor.config"} <= set(circles)
    assert len(circles) < len(modules()) / 2
    import_alone(circles[::8])


@pytest.mark.full
@pytest.mark.timeout(900)
def test_every_module_can_be_imported_before_all_others():
    import_alone(modules())


def import_alone(names: list[str]) -> None:
    """Import each of some modules as the first one of the project."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.meta.import_alone", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
