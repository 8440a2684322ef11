"""What the Dockerfile and what belongs to it say, looked at without building anything."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.container_world import DOCKERFILE, FOLDER, let_through
from tests.kit.dockerfile import Instruction, filled_in, parse
from tests.meta.project import ROOT, distribution_names, pyproject

BUILD, FINAL = DOCKERFILE.stages
stamped = runpy.run_path(str(FOLDER / "stamp_version.py"))["stamped"]
COMMIT = "24b46c1f00000000000000000000000000000000"
LOCKED = re.compile(r"^([a-z0-9-]+)==([^ ;\\]+)", re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    """Versions in a lock, by distribution."""
    return dict(LOCKED.findall((ROOT / name).read_text()))


def test_the_linter_finds_nothing():
    linter = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([linter, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_has_a_tag_and_can_be_named_by_digest():
    (name,) = DOCKERFILE.arguments
    assert {BUILD.base, FINAL.base} == {f"${{{name}}}"}
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", DOCKERFILE.arguments[name])


def test_nobody_privileged_runs_it_without_a_shell_between():
    assert FINAL.last("USER").value == "10001:10001"
    assert FINAL.last("ENTRYPOINT").words() == ["driftline"]
    assert FINAL.last("CMD").words() == ["run", "-c", "/etc/driftline/driftline.yaml"]
    assert FINAL.last("STOPSIGNAL").value == "SIGTERM"
    assert 'CMD ["python", "-I", "/opt/driftline/alive.py"]' in FINAL.last("HEALTHCHECK").value


def test_the_last_stage_only_takes_over_what_was_built():
    assert not FINAL.all("RUN"), "whatever is installed is installed in the stage before"
    assert not BUILD.all("ADD")
    assert not FINAL.all("ADD")
    assert "://" not in "".join(one.value for stage in DOCKERFILE.stages for one in stage.instructions)


def test_it_is_labelled():
    labels = FINAL.last("LABEL").pairs()
    asked = {"title", "description", "licenses", "revision", "created", "base.name"}
    assert set(labels) == {f"org.opencontainers.image.{name}" for name in asked}
    project = pyproject()["project"]
    assert labels["org.opencontainers.image.description"] == project["description"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]


def test_the_context_has_what_is_copied_and_nothing_more():
    context = {str(path.relative_to(ROOT)) for path in let_through()}
    copied = [one for stage in DOCKERFILE.stages for one in stage.all("COPY") if "from" not in one.flags]
    names = {name for one in copied for name in one.value.split()[:-1]}
    unused = {
        path for path in context if not any(path == name or path.startswith(f"{name}/") for name in names)
    }
    missing = {
        name for name in names if not any(path == name or path.startswith(f"{name}/") for path in context)
    }
    assert (unused, missing) == (set(), set())


def test_the_image_has_the_versions_that_are_tested_and_no_others():
    runtime, tested = locked("requirements-runtime.lock"), locked("requirements.lock")
    assert {name: tested.get(name) for name in runtime} == runtime
    project = pyproject()["project"]
    assert distribution_names(project["dependencies"]) - set(runtime) == set()
    own = distribution_names(project["optional-dependencies"]["dev"])
    assert own & set(runtime) == set()


def test_the_lock_has_hashes_and_no_addresses():
    text = (ROOT / "requirements-runtime.lock").read_text()
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked("requirements-runtime.lock"))
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text


@pytest.mark.parametrize(
    ("revision", "version"),
    [
        ("", "1.2.3"),
        (COMMIT, "1.2.3+g24b46c1f0000"),
        ("24b46c1", "1.2.3+g24b46c1"),
        ("24b46c1-dirty", "1.2.3+g24b46c1.dirty"),
    ],
)
def test_the_version_names_the_revision(revision, version):
    text = '[project]\nname = "driftline"\nversion = "{}"\nrequires-python = ">=3.11"\n'
    assert stamped(text.format("1.2.3"), revision) == text.format(version)


@pytest.mark.parametrize("revision", ["main", "24b46c", "24b46c1; rm -r /", "24b46c1-dirt", COMMIT + "0"])
def test_a_revision_that_is_none_is_refused(revision):
    with pytest.raises(ValueError, match=r"is not a commit \(use 7 to 40 hexadecimal digits"):
        stamped('version = "1.2.3"\n', revision)


def test_a_project_without_a_version_is_refused():
    with pytest.raises(ValueError, match="0 lines are a version"):
        stamped('name = "driftline"\n', COMMIT)


def run_build(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``make image``'s script."""
    return subprocess.run(
        [FOLDER / "build.sh", *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_an_engine_the_script_says_so():
    done = run_build(ENGINE="no-such-engine")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no container engine answers here (tried: no-such-engine)" in done.stderr


def test_the_engine_is_told_the_revision_and_the_date(tmp_path):
    engine = tmp_path / "engine"
    engine.write_text('#!/bin/sh\n[ "$1" = info ] || printf "%s\\n" "$@"\n')
    engine.chmod(0o755)
    done = run_build("--pull", ENGINE=str(engine), SOURCE_DATE_EPOCH="86400")
    told = done.stdout.splitlines()
    assert told[0] == "build"
    assert told[told.index("--file") + 1] == "deploy/container/Dockerfile"
    assert "SOURCE_DATE_EPOCH=86400" in told
    assert "CREATED=1970-01-02T00:00:00Z" in told
    (revision,) = (one.removeprefix("REVISION=") for one in told if one.startswith("REVISION="))
    assert stamped('version = "1"\n', revision)
    assert told[-3:-1] == ["--pull", "."]
    accepted = {one.value.partition("=")[0] for stage in DOCKERFILE.stages for one in stage.all("ARG")}
    given = [told[i + 1].partition("=")[0] for i, one in enumerate(told) if one == "--build-arg"]
    assert set(given) <= accepted


def test_the_kit_reads_what_dockerfiles_may_say():
    text = "ARG A=1\n# note\nFROM b:${A} AS c\nRUN x \\\n  # note\n  && y\n\nCOPY --from=c --chown=1:2 p q/\n"
    (stage,) = parse(text).stages
    assert (parse(text).arguments, stage.base, stage.name) == ({"A": "1"}, "b:${A}", "c")
    assert stage.instructions == (
        Instruction("RUN", "x    && y"),
        Instruction("COPY", "p q/", {"from": "c", "chown": "1:2"}),
    )
    assert filled_in("$A ${B:-b} ${C}", {"A": "1"}) == "1 b "
    with pytest.raises(ValueError, match="not a list"):
        stage.last("RUN").words()
