"""What the servers have in common: an environment, a home that goes away, and an end by process id."""

import os
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import httpx

from tests.integrations.servers.family import end
from tests.kit.ports import LOOPBACK, free_port
from tests.kit.process import ServerProcess

ROOT = Path(__file__).parents[3]
PIPELINES = ROOT / "tests" / "integrations" / "pipelines"
START_TIMEOUT_S = 240.0


class Tool(ABC):
    """A tool from `.venv-integrations`, with a home of its own; a context manager.

    Nothing of the test run's environment reaches it but the PATH, and it reports to nobody.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix=f"driftline-{self.name}-")
        self.folder = Path(self._temporary.name)
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._bin = ROOT / ".venv-integrations" / self.name / "bin"
        self._processes: list[ServerProcess] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Start everything and wait until it answers."""

    @abstractmethod
    def settings(self) -> Mapping[str, str]:
        """Environment variables of its processes."""

    def stop(self) -> None:
        """End all processes, the latest first, and remove the home."""
        while self._processes:
            end(self._processes.pop())
        self._temporary.cleanup()

    def log_tail(self) -> str:
        """Return the ends of the logs."""
        return "\n".join(f"{one.log_path.name}:\n{one.log_tail()}" for one in self._processes)

    def run(self, *command: str) -> None:
        """Run a command of the tool to its end.

        Raises
        ------
        RuntimeError
            If it fails; the message holds what it wrote.
        """
        done = subprocess.run(
            [self._program(command[0]), *command[1:]],
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            msg = f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"
            raise RuntimeError(msg)

    def launch(self, log: str, command: Sequence[str]) -> ServerProcess:
        """Start a process that stays until `stop`."""
        process = ServerProcess(
            [self._program(command[0]), *command[1:]],
            self.folder / f"{log}.log",
            environment=self._environment(),
        )
        self._processes.append(process)
        return process

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response | None:
        """Ask for something; None while nothing listens."""
        try:
            return httpx.get(self.url + path, headers=headers, timeout=10)
        except httpx.TransportError:
            return None

    def _environment(self) -> dict[str, str]:
        path = f"{self._bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        home = {"HOME": str(self.folder), "TMPDIR": str(self.folder), "LC_ALL": "C.UTF-8"}
        quiet = {"DO_NOT_TRACK": "1", "NO_PROXY": "*", "PYTHONDONTWRITEBYTECODE": "1"}
        return {"PATH": path, **home, **quiet, **self.settings()}

    def _program(self, name: str) -> str:
        found = self._bin / name
        if not found.is_file():
            msg = f"{found} is not there: run `make test-integrations`, which makes the environments"
            raise FileNotFoundError(msg)
        return str(found)


@dataclass(frozen=True)
class Seen:
    """A run as the tool itself tells of it.

    Parameters
    ----------
    id : str
        The tool's.
    state : str
        In the tool's words.
    request_id, model : str
        What the pipeline was told.
    """

    id: str
    state: str
    request_id: str
    model: str


class Trainer(Tool):
    """A tool that runs the pipeline of `pipelines`."""

    success: ClassVar[str]
    """Its word for a run that went well."""
    starts_sent: ClassVar[int] = 2
    """How often it is told to start a run whose first answer was lost: it knows itself what it has seen."""
    secrets: ClassVar[Mapping[str, str]] = {}
    """Environment variables that the receiver's options name."""

    @abstractmethod
    def receiver(self, address: str) -> dict[str, object]:
        """Return the options of a receiver that reaches the tool at an address, and links to its own."""

    @abstractmethod
    def is_start(self, method: str, path: str, body: bytes) -> bool:
        """Whether a request is the one that starts a run."""

    @abstractmethod
    def runs(self) -> list[Seen]:
        """List all runs that the tool knows, by its own API."""
