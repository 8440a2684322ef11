"""A picture of a soak: memory of every process and time of commits, with the restarts."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from tests.soak.readings import Readings
from tests.soak.verdict import held


def draw(readings: Readings, path: Path) -> None:
    """Write a PNG."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    memory, commits = figure.subplots(2, 1, sharex=True)
    colours = {name: f"C{number}" for number, name in enumerate(readings.names)}
    for name in readings.names:
        looks = readings.of(name)
        memory.plot(
            [one.at_s / 60 for one in looks],
            [one.resident_mib for one in looks],
            color=colours[name],
            linewidth=0.8,
            alpha=0.4,
        )
        least = held(looks)
        memory.plot(
            [one.at_s / 60 for one in least],
            [one.resident_mib for one in least],
            color=colours[name],
            label=name,
        )
    for name in ("ingest", "ingest, restarted"):
        timed = [(one.at_s / 60, one.commit_s * 1e3) for one in readings.of(name) if one.commit_s is not None]
        commits.plot([at for at, _ in timed], [took for _, took in timed], color=colours[name], label=name)
    for axes, title in (
        (memory, "Memory in use, MiB; bold: the least of each minute"),
        (commits, "Mean commit, ms"),
    ):
        for at_s in readings.restarts_s:
            axes.axvline(at_s / 60, color="0.85", zorder=0)
        axes.set_title(title, loc="left")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right", frameon=False, fontsize=8)
    commits.set_xlabel("minutes; lines are restarts of one ingest process")
    figure.savefig(path, dpi=110)
