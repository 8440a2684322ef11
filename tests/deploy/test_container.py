"""The image: nobody privileged, nothing to write to but /tmp, alive and dead as the engine expects."""

import os
import shutil
import signal
import sys
from pathlib import Path

import httpx
import pytest

from tests.deploy.container_world import DOCKERFILE, Container, let_through, said, status_of
from tests.kit.image import build, with_installed
from tests.kit.waiting import PATIENCE_S
from tests.meta.project import ROOT

pytestmark = pytest.mark.acceptance
REVISION = "0123456789abcdef0123456789abcdef01234567"


def lives_and_dies(container: Container, database_url: str) -> None:
    """Go through the life of a container, and see that each step is as it should be."""
    assert container.health().returncode == 1
    with container.running(database_url) as process:
        assert (health := container.health()).returncode == 0, health.stderr
        status = status_of(process.pid)
        # Of whoever runs the tests without being root, the account is another name.
        account = str(10_001 if os.geteuid() == 0 else os.geteuid())
        assert status["Uid"] == [account] * 4
        assert (status["CapEff"], status["NoNewPrivs"]) == (["0" * 16], ["1"])
        container.counts_an_event()
        assert httpx.get(f"{container.url}/").is_success
        process.send(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert "SIGTERM: leaving" in container.log
    for trouble in ("Traceback", "Read-only", "Permission denied"):
        assert trouble not in container.log
    down = container.health()
    assert down.returncode == 1
    assert "/livez does not answer" in down.stderr


def test_the_installed_service_runs_as_it_does_in_the_image(kafka, bare_postgres_url, tmp_path):
    image = with_installed(DOCKERFILE, ROOT, tmp_path / "image", Path(sys.executable).parent)
    lives_and_dies(Container(image, kafka, "container.short", tmp_path), bare_postgres_url)


@pytest.mark.full
@pytest.mark.timeout(1_200)
def test_what_the_dockerfile_builds_runs(kafka, bare_postgres_url, tmp_path):
    context = tmp_path / "context"
    for path in let_through():
        copy = context / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    image = build(
        DOCKERFILE, context, tmp_path / "image", {"REVISION": REVISION, "SOURCE_DATE_EPOCH": "1700000000"}
    )
    version = said(image, "driftline", "--version")
    assert "+g0123456789ab" in version.stdout, version.stderr
    assert image.labels["org.opencontainers.image.revision"] == REVISION
    assert said(image, "driftline", "run").returncode == 2
    charts = said(image, "python", "-W", "error", "-c", "import matplotlib.pyplot")
    assert charts.returncode == 0, charts.stderr
    for place in ("/opt/driftline/x", "/var/lib/driftline/x", "/etc/x"):
        written = said(image, "python", "-c", f"open({place!r}, 'w')")
        assert "Read-only file system" in written.stderr
    prefix = image.sandbox.folder / "opt" / "driftline"
    assert not list(prefix.glob("bin/pip*")), "what runs needs no installer"
    assert max(path.lstat().st_mtime for path in prefix.glob("lib/**/*.pyc")) <= 1_700_000_000
    lives_and_dies(Container(image, kafka, "container.full", tmp_path), bare_postgres_url)
