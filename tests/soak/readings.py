"""What is seen of processes under load: memory and commits over time, and the books at the end."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, select

from monitor.store.engine import reading
from monitor.store.tables import partition_state
from tests.kit.service import Service

COMMITS_S = 10.0


@dataclass
class Watched:
    """A process, its address, and how many commits it had made when it was asked last; when to ask again."""

    service: Service
    address: str
    ask_at_s: float = 0.0
    commits: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Reading:
    """One look at one process; `commit_s` is the mean of its commits since it was asked before.

    None: there were none, or it was not asked.
    """

    at_s: float
    name: str
    resident_mib: float
    commit_s: float | None


@dataclass
class Readings:
    """All looks, in order of time."""

    looks: list[Reading] = field(default_factory=list)
    restarts_s: list[float] = field(default_factory=list)
    sent: int = 0
    books: dict[str, int] = field(default_factory=dict)

    def take(self, name: str, watched: Watched, at_s: float) -> None:
        """Look at a process, and ask for its commits now and then.

        One that has ended is not seen, nor is one that does not answer when it is asked for its commits.
        """
        mean = None
        try:
            if at_s >= watched.ask_at_s:
                mean = _mean_commit_s(watched)
                watched.ask_at_s = at_s + COMMITS_S
            resident = _resident_mib(watched.service.pid)
        except (httpx.TransportError, FileNotFoundError):
            return
        self.looks.append(Reading(at_s, name, resident, mean))

    @property
    def names(self) -> list[str]:
        """Of the processes, in the order in which they were seen first."""
        return list(dict.fromkeys(look.name for look in self.looks))

    def of(self, name: str, from_s: float = 0.0) -> list[Reading]:
        """Looks at one process from a time on."""
        return [look for look in self.looks if look.name == name and look.at_s >= from_s]

    def write(self, path: Path) -> None:
        """Write all looks as CSV."""
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["at_s", "process", "resident_mib", "commit_s"])
            for look in self.looks:
                mean = "" if look.commit_s is None else f"{look.commit_s:.4f}"
                writer.writerow([f"{look.at_s:.1f}", look.name, f"{look.resident_mib:.1f}", mean])


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_024
    raise FileNotFoundError(pid)  # it has ended


def _mean_commit_s(watched: Watched) -> float | None:
    """Mean time of the commits since the process was asked last."""
    commits, seconds = _commits(httpx.get(f"{watched.address}/metrics", timeout=30).text)
    if commits < watched.commits:  # it was started anew
        watched.commits = watched.seconds = 0.0
    made = commits - watched.commits
    mean = (seconds - watched.seconds) / made if made else None
    watched.commits, watched.seconds = commits, seconds
    return mean


def _commits(metrics: str) -> tuple[float, float]:
    """Number of commits so far, and the time that they took together."""
    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(metrics)
        if family.name == "driftline_commit_seconds"
        for sample in family.samples
    }
    return found.get("driftline_commit_seconds_count", 0.0), found.get("driftline_commit_seconds_sum", 0.0)


def books(engine: Engine) -> dict[str, int]:
    """What became of all events, over all partitions."""
    names = ("fetched", "counted", "late", "future", "dead_lettered", "duplicates", "next_offset")
    with reading(engine) as connection:
        rows = connection.execute(select(*(partition_state.c[name] for name in names))).all()
    return {name: sum(int(getattr(row, name)) for row in rows) for name in names}


def backlog(engine: Engine) -> int:
    """How many events have been read."""
    return books(engine)["fetched"]
