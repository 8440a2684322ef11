"""Builds what a Dockerfile says, and runs it, without a container engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit.dockerfile import Dockerfile, Instruction, Stage, filled_in
from tests.kit.sandbox import Sandbox

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# How pip reaches packages is a matter of the machine, as it is with an engine.
_OF_THE_MACHINE = ("PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_", "REQUESTS_CA_BUNDLE")
# Instructions that say how the image runs rather than what is in it.
_SETTINGS = frozenset({"LABEL", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"})


@dataclass
class Image:
    """One stage, built.

    Parameters
    ----------
    stage
        What it was built from.
    sandbox
        Its files.
    environment
        Its variables.
    directory
        Its working directory.
    arguments
        Values of its ``ARG``.
    """

    stage: Stage
    sandbox: Sandbox
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": SYSTEM_PATH})
    directory: str = "/"
    arguments: dict[str, str] = field(default_factory=dict)

    @property
    def account(self) -> int:
        """Number of the user that it runs as."""
        return int(self.stage.last("USER").value.partition(":")[0])

    @property
    def labels(self) -> dict[str, str]:
        """What is noted on the image."""
        pairs = self.stage.last("LABEL").pairs()
        return {name: filled_in(value, self.arguments) for name, value in pairs.items()}

    @property
    def health_check(self) -> list[str]:
        """Command that tells the engine whether the service is alive."""
        return Instruction("CMD", self.stage.last("HEALTHCHECK").value.partition("CMD ")[2]).words()

    def service(
        self, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> list[str]:
        """Build the command that the engine would run for ``run IMAGE ARGUMENTS…``."""
        given = list(arguments) or self.stage.last("CMD").words()
        return self.program([*self.stage.last("ENTRYPOINT").words(), *given], environment)

    def program(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """Build the command that the engine would run for another entry point, or in a running container."""
        variables = {**self.environment, **(environment or {})}
        return self.sandbox.command(arguments, variables, directory=self.directory, account=self.account)


def build(dockerfile: Dockerfile, context: Path, folder: Path, arguments: Mapping[str, str]) -> Image:
    """Do what all stages say, as an engine would.

    Parameters
    ----------
    dockerfile
    context
        Folder that ``COPY`` copies from.
    folder
        Where the stages get their files.
    arguments
        Values for ``ARG``.

    Returns
    -------
    Image
        That of the last stage. The base image is this machine: its ``/usr``, with the interpreter of the test
        run as ``python``.

    Raises
    ------
    AssertionError
        A command failed; the message has the end of what it said.
    """
    given = {**dockerfile.arguments, **arguments}
    stages: dict[str, Path] = {}
    for number, stage in enumerate(dockerfile.stages):
        image = Image(stage, Sandbox(folder / f"stage-{number}"))
        _follow(image, given, context, stages)
        stages[stage.name] = image.sandbox.folder
    return image


def with_installed(dockerfile: Dockerfile, context: Path, folder: Path, programs: Path) -> Image:
    """Make the last stage of programs that are installed already, rather than of those of the stage before.

    Parameters
    ----------
    dockerfile, context, folder
        As of `build`.
    programs
        Folder ``bin`` of the environment of this test run, which stands for ``/opt/driftline/bin``.
    """
    before = folder / "before"
    (before / "opt" / "driftline").mkdir(parents=True)
    (before / "opt" / "driftline" / "bin").symlink_to(programs)
    (before / "build" / "data").mkdir(parents=True)
    stage = dockerfile.stages[-1]
    image = Image(stage, Sandbox(folder / "stage", {str(context): context}))
    _follow(image, dockerfile.arguments, context, {"build": before})
    return image


def _follow(image: Image, given: Mapping[str, str], context: Path, stages: Mapping[str, Path]) -> None:
    for one in image.stage.instructions:
        variables = {**image.arguments, **image.environment}
        if one.name == "ARG":
            name, _, default = one.value.partition("=")
            image.arguments[name] = given.get(name, default)
        elif one.name == "ENV":
            image.environment |= {name: filled_in(value, variables) for name, value in one.pairs().items()}
        elif one.name == "WORKDIR":
            image.directory = one.value
            (image.sandbox.folder / one.value.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif one.name == "COPY":
            _copy(image, one, stages[one.flags["from"]] if "from" in one.flags else context)
        elif one.name == "RUN":
            _run(image, one.value)
        else:
            assert one.name in _SETTINGS, f"{one.name}: the tests do not know how to do this"


def _copy(image: Image, one: Instruction, source: Path) -> None:
    *names, target = one.value.split()
    place = image.sandbox.folder / os.path.join(image.directory, target).lstrip("/")  # noqa: PTH118 - as the engine joins
    for name in names:
        path = source / name.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True)
            copied = place
        else:
            copied = place / path.name if target.endswith("/") else place
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copied)
        if "chown" in one.flags and os.geteuid() == 0:
            user, _, group = one.flags["chown"].partition(":")
            os.chown(copied, int(user), int(group))


def _run(image: Image, command: str) -> None:
    machine = {name: value for name, value in os.environ.items() if name.upper().startswith(_OF_THE_MACHINE)}
    variables = {**machine, **image.environment, **image.arguments}
    done = subprocess.run(
        image.sandbox.command(["sh", "-c", command], variables, directory=image.directory),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"RUN {command}\n{(done.stdout + done.stderr)[-4_000:]}"
