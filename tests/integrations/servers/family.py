"""Processes that a server has started, and theirs."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from tests.kit.process import ServerProcess

ENDED = "Z"  # and nobody has asked for its exit code yet
Started = tuple[int, int]
"""A process id and when it began, so that a later process of that id is not taken for it."""


def end(process: ServerProcess) -> None:
    """End a server and everything that it has started, by process id; also what left its process group.

    All of them are held first, so that nobody starts another while the rest is being ended.
    """
    held: list[Started] = []
    while new := [one for one in descendants(process.pid) if one not in held]:
        held += new
        process.send(signal.SIGSTOP)
        send(signal.SIGSTOP, new)
    send(signal.SIGKILL, held)
    process.kill()


def send(signum: signal.Signals, processes: list[Started]) -> None:
    """Send a signal to processes, unless they are gone."""
    for pid, at in processes:
        if began(pid) == at:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)


def descendants(pid: int) -> list[Started]:
    """List the children of a process, their children and so on."""
    parents = {one: parent for one in running() if (parent := parent_of(one)) is not None}
    found, new = [], {pid}
    while new := {child for child, parent in parents.items() if parent in new}:
        found += [(child, at) for child in sorted(new) if (at := began(child)) is not None]
    return found


def running() -> list[int]:
    """List the ids of all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def parent_of(pid: int) -> int | None:
    """Return the id of a process's parent; None if it is gone."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def began(pid: int) -> int | None:
    """Return when a process began, in the kernel's ticks; None if it has ended."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] != ENDED else None


def _stat(pid: int) -> list[str]:
    """Fields of ``/proc/PID/stat`` from the state on: the name before it may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
