"""A server process that never outlives the test run."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.kit.waiting import PATIENCE_S, wait_for


class ServerDiedError(RuntimeError):
    """The process ended although nobody stopped it."""


class ServerProcess:
    """A program started in a session of its own, with its output in a file.

    The kernel kills it when the test run dies for any reason (parent-death signal), so an interrupted run
    leaves no servers behind. A Ctrl-C in the terminal does not reach it: fixtures stop it in their own order.
    To the kernel the parent is the thread that started it, so start it from one that stays.

    Parameters
    ----------
    command
        Program and arguments.
    log_path
        File to which standard output and error are appended.
    user
        Name of the account to run as; needs root. Default: the account of the test run.
    environment
        Environment variables; default: those of the test run.
    """

    def __init__(
        self,
        command: Sequence[str],
        log_path: Path,
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        setpriv = program("setpriv", "util-linux")
        as_user = ["--reuid", user, "--regid", user, "--init-groups"] if user else []
        self.log_path = log_path
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [setpriv, "--pdeathsig", "KILL", *as_user, "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id, which is that of its session and process group as well."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def wait_until(self, is_ready: Callable[[], object], *, what: str, timeout_s: float = PATIENCE_S) -> None:
        """Wait for a server to answer.

        Raises
        ------
        ServerDiedError
            The process ended first; the message holds the end of its log.
        TimeoutError
            It runs but does not answer.
        """

        def is_ready_or_dead() -> bool:
            if not self.is_running:
                msg = f"{what}: exit code {self._process.returncode}; the end of its log:\n{self.log_tail()}"
                raise ServerDiedError(msg)
            return bool(is_ready())

        wait_for(is_ready_or_dead, what=what, timeout_s=timeout_s)

    def wait(self, timeout_s: float) -> int:
        """Wait for the process to end by itself, and return its exit code."""
        return self._process.wait(timeout_s)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to the process, if it still runs."""
        if self.is_running:
            self._process.send_signal(signum)

    def kill(self) -> None:
        """End the process and its children at once, as ``kill -9`` does."""
        if self.is_running:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self, signum: signal.Signals = signal.SIGTERM, timeout_s: float = 60.0) -> int:
        """Ask the process to end, kill it when it does not in time, and return its exit code."""
        self.send(signum)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def program(name: str, package: str, *, also_in: Sequence[Path] = ()) -> str:
    """Find a program that the tests need.

    Raises
    ------
    FileNotFoundError
        It is not installed; the message says what installs it.
    """
    for folder in also_in:
        if (folder / name).is_file():
            return str(folder / name)
    found = shutil.which(name)
    if found is None:
        msg = f"the tests need {name} (Debian package {package}): run `make servers`"
        raise FileNotFoundError(msg)
    return found
