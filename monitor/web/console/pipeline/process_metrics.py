"""What this process has measured of itself since it was started: times of commits, lag of its partitions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import inf

from monitor.telemetry import Telemetry
from monitor.web.charting.chart import Chart, Look, Series

COMMITS, LAG = "driftline_commit_seconds", "driftline_consumer_lag_events"


@dataclass(frozen=True)
class Commits:
    """Times of commits.

    Parameters
    ----------
    bounds : tuple of float
        Upper ends of the classes, in seconds; the last is infinite.
    numbers : tuple of int
        Commits in each class.
    total_s : float
        All of them together.
    """

    bounds: tuple[float, ...]
    numbers: tuple[int, ...]
    total_s: float

    @property
    def number(self) -> int:
        """How many there were."""
        return sum(self.numbers)

    @property
    def mean_s(self) -> float | None:
        """Mean time; None without commits."""
        return self.total_s / self.number if self.number else None

    def within(self, share: float) -> float | None:
        """Time within which at least a share of the commits was done: an end of a class; None without any."""
        done = 0
        for bound, number in zip(self.bounds, self.numbers, strict=True):
            done += number
            if self.number and done >= share * self.number:
                return bound
        return None

    def chart(self) -> Chart:
        """Draw how many commits took how long."""
        some = [at for at, number in enumerate(self.numbers) if number]
        shown = range(min(some, default=0), max(some, default=-1) + 1)
        names = [f"≤ {self.bounds[at]:g} s" if self.bounds[at] != inf else "longer" for at in shown]
        words = f"{self.number:,} commits of this process since it was started."
        numbers = [float(self.numbers[at]) for at in shown]
        return Chart("Time of commits", words, names, [Series("commits", numbers, Look.BARS)])


def commits(telemetry: Telemetry) -> Commits:
    """Read the times of this process's commits.

    Examples
    --------
    >>> from monitor.telemetry import Committed
    >>> telemetry = Telemetry()
    >>> telemetry.emit(Committed(0.02, {}))
    >>> found = commits(telemetry)
    >>> found.number, found.within(0.95), found.mean_s
    (1, 0.025, 0.02)
    """
    bounds, sums, total = [], [0], 0.0
    for metric in telemetry.registry.collect():
        if metric.name == COMMITS:
            for sample in metric.samples:
                if sample.name.endswith("_bucket"):
                    bounds.append(float(sample.labels["le"]))
                    sums.append(int(sample.value))
                elif sample.name.endswith("_sum"):
                    total = sample.value
    return Commits(tuple(bounds), tuple(after - before for before, after in pairwise(sums)), total)


def lags(telemetry: Telemetry) -> dict[tuple[str, int], int]:
    """Messages that wait in Kafka, of the partitions that this process reads."""
    return {
        (sample.labels["topic"], int(sample.labels["partition"])): int(sample.value)
        for metric in telemetry.registry.collect()
        if metric.name == LAG
        for sample in metric.samples
    }
