"""Driftline itself as a process: ``driftline run``, started, killed and stopped as an operator would."""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.kit.process import ServerProcess
from tests.kit.waiting import PATIENCE_S


class Service:
    """``driftline run -c CONFIG ARGS…`` of the environment that runs the tests.

    Parameters
    ----------
    config_path
        The configuration file. The log is written beside it, one file over all starts.
    arguments
        Further arguments, such as ``"--role", "ingest"``.
    http_url
        Address of the HTTP door, for `wait_until_ready`.
    environment
        Environment variables; default: those of the test run.
    """

    def __init__(
        self,
        config_path: Path,
        *arguments: str,
        http_url: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [str(command_path()), "run", "-c", str(config_path), *arguments]
        self._log_path = config_path.with_suffix(".log")
        self._http_url = http_url
        self._environment = environment
        self._process: ServerProcess | None = None

    def __enter__(self) -> "Service":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.is_running

    @property
    def exit_code(self) -> int | None:
        """Code it ended with by itself, negative for a signal; None while it runs."""
        return None if self.is_running else self._started().wait(0)

    @property
    def pid(self) -> int:
        """Process id of the running service."""
        return self._started().pid

    @property
    def log(self) -> str:
        """All it has written so far, over all starts."""
        return self._log_path.read_text(errors="replace")

    def start(self) -> None:
        """Start it; returns at once."""
        if self.is_running:
            msg = "the service already runs"
            raise RuntimeError(msg)
        self._process = ServerProcess(self._command, self._log_path, environment=self._environment)

    def wait_until_ready(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until ``/readyz`` answers with success."""
        self._started().wait_until(self._is_ready, what="driftline is not ready", timeout_s=timeout_s)

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        self._started().kill()
        self._process = None

    def terminate(self, timeout_s: float = PATIENCE_S) -> int:
        """Ask it to leave (SIGTERM), and return its exit code.

        Raises
        ------
        subprocess.TimeoutExpired
            It is still there after ``timeout_s``.
        """
        process = self._started()
        process.send(signal.SIGTERM)
        code = process.wait(timeout_s)
        self._process = None
        return code

    def restart_after_kill(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def _started(self) -> ServerProcess:
        if self._process is None:
            msg = "the service does not run"
            raise RuntimeError(msg)
        return self._process

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self._http_url}/readyz", timeout=10).is_success
        except httpx.TransportError:
            return False


def command_path() -> Path:
    """Return the path of the ``driftline`` command of the environment that runs the tests.

    Raises
    ------
    FileNotFoundError
        The project is not installed there.
    """
    path = Path(sys.executable).parent / "driftline"
    if not path.is_file():
        msg = f"{path} is not there: run `make setup`"
        raise FileNotFoundError(msg)
    return path
