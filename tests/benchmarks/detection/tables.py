"""Tunes thresholds to the same rate of false alarms and writes the tables; needs NumPy and SciPy alone."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tests.benchmarks.detection.results import WATCHED, Results, load_all
from tests.benchmarks.detection.streams import BACKGROUNDS, CHANGES, SHAPES, SIZES, World, known_worlds

RATE = 1 / 500  # false alarms of a stream in a window that all are tuned to
WEEK = 7  # windows
POISSON = 0.99
OWN = ("Driftline", "Driftline, tolerance 0.0009")
NOT_OFFERED = "not offered"

Array = NDArray[Any]
Group = tuple[str, int]  # background and rows of a window


class Cell(NamedTuple):
    """What is compared: one change on streams of one kind."""

    background: str
    rows: int
    change: str
    shape: str
    size: float


@dataclass(frozen=True)
class Delays:
    """Windows until a change was found in each stream; infinite where it was missed."""

    each: tuple[float, ...]

    @property
    def median(self) -> float:
        """Middle one, the later of two; infinite where half of them or more were missed."""
        return sorted(self.each)[len(self.each) // 2]

    @property
    def missed(self) -> float:
        """Share that was missed."""
        return sum(math.isinf(delay) for delay in self.each) / len(self.each)


def begun(alarms: Array) -> Array:
    """Alarms along the last axis that do not go on from the window before."""
    before = np.zeros_like(alarms)
    before[..., 1:] = alarms[..., :-1]
    return np.asarray(alarms & ~before)


def tuned_threshold(calm: Sequence[Array], allowed: int) -> float:
    """Lowest threshold with at most so many alarms, an alarm being a run of scores above it.

    Parameters
    ----------
    calm : sequence of float arrays [columns, windows]
        Scores of windows in which nothing happened.
    allowed : int
    """
    values = np.unique(np.concatenate([scores.ravel() for scores in calm]))[::-1]
    found = float(values[0])
    for value in values[1:]:
        if sum(int(begun(scores > value).sum()) for scores in calm) > allowed:
            break
        found = float(value)
    return found


def tuned_setting(calm: Sequence[Array], allowed: int) -> int:
    """Position of the most sensitive setting before the first one with more alarms; −1 if there is none.

    Parameters
    ----------
    calm : sequence of bool arrays [settings, columns, windows]
        From the least sensitive setting to the most.
    allowed : int
    """
    counts = np.sum([begun(alarms).sum(axis=(1, 2)) for alarms in calm], axis=0)
    over = np.flatnonzero(counts > allowed)
    return int(over[0]) - 1 if len(over) else len(counts) - 1


def delays(alarms: Array) -> Array:
    """Windows until the first alarm along the last axis, counted from 1; infinite where there is none."""
    return np.where(alarms.any(axis=-1), alarms.argmax(axis=-1) + 1.0, np.inf)


class Tuned(NamedTuple):
    """A tool at the common rate of false alarms: its delays in every cell, and how it was tuned."""

    cells: dict[Cell, Delays]
    rates: dict[tuple[Group, str], tuple[int, int, str]]  # alarms, windows, threshold or setting


def decision(results: Results, calm: Sequence[Array], allowed: int) -> tuple[Callable[[Array], Array], str]:
    """Tune a tool: what makes alarms of its findings, and the threshold or setting in words."""
    if not results.settings:
        cut = tuned_threshold(calm, allowed)
        return (lambda scores: scores > cut), f"{cut:.3g}"
    place = tuned_setting(calm, allowed)
    if place < 0:
        return (lambda alarms: np.zeros_like(alarms[0])), "none"
    return (lambda alarms: alarms[place]), results.settings[place]


def tune(results: Results, worlds: Mapping[str, World], rate: float = RATE) -> Tuned:
    """Tune a tool for each kind of stream and family of checks, and take its delays."""
    cells: dict[Cell, list[float]] = defaultdict(list)
    rates = {}
    groups = sorted({(world.background, world.rows) for world in worlds.values()})
    for group in groups:
        mine = [key for key, world in worlds.items() if (world.background, world.rows) == group]
        for family in sorted(set(results.families.values())):
            calm = [results.calm[family, key] for key in mine if (family, key) in results.calm]
            if not calm:
                continue
            windows = sum(found.shape[-1] * found.shape[-2] for found in calm)
            allowed = int(rate * windows)
            decide, how = decision(results, calm, allowed)
            rates[group, family] = (sum(int(begun(decide(found)).sum()) for found in calm), windows, how)
            for change in (change for change, its in results.families.items() if its == family):
                for key in mine:
                    late = delays(decide(results.planted[change, key]))
                    for i, shape in enumerate(SHAPES):
                        for j, size in enumerate(SIZES[change]):
                            cells[Cell(*group, change, shape, size)].append(float(late[i, j]))
    return Tuned({cell: Delays(tuple(each)) for cell, each in cells.items()}, rates)


# --- table 1: false alarms with defaults --------------------------------------------------------------------


def false_alarms(
    results: Results, worlds: Mapping[str, World], group: Group, families: Iterable[str]
) -> tuple[int, float]:
    """Alarms with the tool's defaults, and stream-weeks; over nothing where it watches nothing of this."""
    alarms, weeks = 0, 0.0
    for (family, key), found in results.default.items():
        world = worlds[key]
        if family in families and (world.background, world.rows) == group:
            alarms += int(begun(found).sum())
            weeks += found.shape[0] * found.shape[1] / WEEK
    return alarms, weeks


def table_of_false_alarms(found: Sequence[Results], worlds: Mapping[str, World]) -> list[str]:
    """False alarms per stream-week, by background and rows of a window."""
    groups = groups_of(worlds)
    lines = [
        "| tool | " + " | ".join(f"{background}, n = {rows:,}" for background, rows in groups) + " |",
        "|---" * (len(groups) + 1) + "|",
    ]
    for results in found:
        kinds = [("", WATCHED)] + [(f", {family} alone", (family,)) for family in ("nulls", "joint")]
        for name, families in kinds:
            counted = [false_alarms(results, worlds, group, families) for group in groups]
            if any(weeks for _, weeks in counted):
                rates = [f"{alarms / weeks:.3g}" if weeks else "–" for alarms, weeks in counted]
                lines.append(f"| {results.tool}{name} | " + " | ".join(rates) + " |")
    return lines


def table_of_budget(own: Results, worlds: Mapping[str, World]) -> list[str]:
    """Driftline's alarms against its budget and the bound that a Poisson variable keeps with 99 %."""
    lines = [
        "| background | n | streams | weeks | budget spent | alarms | 99 % bound | kept |",
        "|---|---|---|---|---|---|---|---|",
    ]
    total, total_spent = 0, 0.0
    for background, rows in groups_of(worlds):
        alarms, weeks = false_alarms(own, worlds, (background, rows), (*WATCHED, "nulls", "joint"))
        mine = [world for world in worlds.values() if (world.background, world.rows) == (background, rows)]
        span = mine[0].calm / WEEK
        spent = own.notes[f"spent {background} {rows}"]
        bound = int(stats.poisson.ppf(POISSON, spent))
        total, total_spent = total + alarms, total_spent + spent
        lines.append(
            f"| {background} | {rows:,} | {weeks / span:.0f} | {span:.0f} | {spent:.1f} | {alarms} | {bound} "
            f"| {'yes' if alarms <= bound else 'NO'} |"
        )
    bound = int(stats.poisson.ppf(POISSON, total_spent))
    kept = "yes" if total <= bound else "NO"
    lines.append(f"| all | | | | {total_spent:.1f} | {total} | {bound} | {kept} |")
    return lines


# --- table 2: delays at the same rate -----------------------------------------------------------------------


class Comparison(NamedTuple):
    """A cell: the own median delay, the best other's, and whose that is."""

    own: Delays | None
    best: float
    whose: str

    @property
    def is_no_worse(self) -> bool:
        """Whether nobody was faster; that includes cells in which nobody found anything."""
        return self.median <= self.best

    @property
    def is_found(self) -> bool:
        """Whether anybody found the change in half of the streams."""
        return math.isfinite(min(self.median, self.best))

    @property
    def median(self) -> float:
        """The own median; infinite where nothing is offered."""
        return self.own.median if self.own else math.inf


def compared(name: str, tuned: Mapping[str, Tuned]) -> dict[Cell, Comparison]:
    """Compare one tool with all that are not Driftline's."""
    others = {tool: mine.cells for tool, mine in tuned.items() if tool not in OWN}
    cells = sorted({cell for mine in tuned.values() for cell in mine.cells}, key=_order)
    found = {}
    for cell in cells:
        medians = {tool: mine[cell].median for tool, mine in others.items() if cell in mine}
        whose = min(medians, key=lambda tool: medians[tool], default="")
        found[cell] = Comparison(tuned[name].cells.get(cell), medians.get(whose, math.inf), whose)
    return found


def _order(cell: Cell) -> tuple[int, int, int, int, float]:
    places = (CHANGES.index(cell.change), BACKGROUNDS.index(cell.background), SHAPES.index(cell.shape))
    return (places[0], cell.rows, places[1], places[2], cell.size)


def groups_of(worlds: Mapping[str, World]) -> list[Group]:
    """Backgrounds and rows of windows that there are, in order."""
    found = {(world.background, world.rows) for world in worlds.values()}
    return sorted(found, key=lambda group: (group[1], BACKGROUNDS.index(group[0])))


def shown(delays: Delays | None) -> str:
    """Median and share missed, as in the tables."""
    if delays is None:
        return NOT_OFFERED
    median = f"{delays.median:g}" if math.isfinite(delays.median) else "–"
    return f"{median} ({delays.missed:.0%})"


def share(comparisons: Iterable[Comparison]) -> str:
    """Part of the cells in which nobody was faster."""
    each = list(comparisons)
    good = sum(comparison.is_no_worse for comparison in each)
    return f"{good} of {len(each)} ({good / len(each):.0%})" if each else "none"


def table_of_shares(tuned: Mapping[str, Tuned]) -> list[str]:
    """In how many cells Driftline was no slower than the best other, by change."""
    lines = [
        "| change | " + " | ".join(f"{own}: all cells | of those that anybody found" for own in OWN) + " |",
        "|---" * (1 + 2 * len(OWN)) + "|",
    ]
    found = {own: compared(own, tuned) for own in OWN}
    everything = ("all", CHANGES), ("all but correlation", tuple(c for c in CHANGES if c != "correlation"))
    for name, changes in (*((change, (change,)) for change in CHANGES), *everything):
        parts = []
        for own in OWN:
            mine = [comparison for cell, comparison in found[own].items() if cell.change in changes]
            parts += [share(mine), share(comparison for comparison in mine if comparison.is_found)]
        lines.append(f"| {name} | " + " | ".join(parts) + " |")
    return lines


def table_by(tuned: Mapping[str, Tuned], *fields: str) -> list[str]:
    """Median delay and share missed of every tool, pooled over all but the given fields of a cell."""
    pooled: dict[tuple[Any, ...], dict[str, list[float]]] = {}
    for cell in sorted({cell for mine in tuned.values() for cell in mine.cells}, key=_order):
        at = pooled.setdefault(tuple(getattr(cell, name) for name in fields), defaultdict(list))
        for tool, mine in tuned.items():
            if cell in mine.cells:
                at[tool] += mine.cells[cell].each
    names = {"rows": "n"}
    lines = [
        "| " + " | ".join([*(names.get(name, name) for name in fields), *tuned]) + " |",
        "|---" * (len(fields) + len(tuned)) + "|",
    ]
    for key, each in pooled.items():
        values = [f"{value:,}" if isinstance(value, int) else str(value) for value in key]
        values += [shown(Delays(tuple(each[tool])) if tool in each else None) for tool in tuned]
        lines.append("| " + " | ".join(values) + " |")
    return lines


def table_of_losses(own: str, tuned: Mapping[str, Tuned]) -> list[str]:
    """Where another tool was faster: by change, rows and background."""
    lost: dict[tuple[str, int, str], list[tuple[Cell, Comparison]]] = defaultdict(list)
    total: dict[tuple[str, int, str], int] = defaultdict(int)
    for cell, comparison in compared(own, tuned).items():
        key = (cell.change, cell.rows, cell.background)
        total[key] += 1
        if not comparison.is_no_worse:
            lost[key].append((cell, comparison))
    lines = [
        "| change | n | background | cells lost | own median against the best other |",
        "|---|---|---|---|---|",
    ]
    for (change, rows, background), each in lost.items():
        examples = [
            f"{cell.shape} {cell.size:g}: {_number(one.median)} / {_number(one.best)} {one.whose}"
            for cell, one in each[:4]
        ]
        more = f"; and {len(each) - 4} more" if len(each) > 4 else ""
        count = f"{len(each)} of {total[change, rows, background]}"
        lines.append(f"| {change} | {rows:,} | {background} | {count} | {'; '.join(examples)}{more} |")
    return lines


def _number(delay: float) -> str:
    return f"{delay:g}" if math.isfinite(delay) else "missed"


def table_of_rates(tuned: Mapping[str, Tuned]) -> list[str]:
    """Realised false alarms of each tool after tuning, over all kinds of streams."""
    lines = [
        "| tool | family | alarms | windows of streams | one in | thresholds or settings |",
        "|---|---|---|---|---|---|",
    ]
    for tool, mine in tuned.items():
        for family in sorted({family for _, family in mine.rates}):
            each = [found for (_, its), found in mine.rates.items() if its == family]
            alarms, windows = sum(found[0] for found in each), sum(found[1] for found in each)
            rate = f"{windows / alarms:,.0f}" if alarms else "none"
            how = ", ".join(found[2] for found in each)
            lines.append(f"| {tool} | {family} | {alarms} | {windows:,} | {rate} | {how} |")
    return lines


def write_cells(work: Path, tuned: Mapping[str, Tuned]) -> None:
    """Write every cell with every tool as CSV."""
    with (work / "cells.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*Cell._fields, "streams", "tool", "median_delay", "missed_share"])
        for tool, mine in tuned.items():
            for cell in sorted(mine.cells, key=_order):
                found = mine.cells[cell]
                writer.writerow([*cell, len(found.each), tool, found.median, found.missed])


def write(work: Path) -> str:
    """Write the tables as Markdown and all cells as CSV into the work folder; returns the Markdown."""
    worlds = {world.key: world for world in known_worlds(work)}
    found = sorted(load_all(work), key=lambda results: results.tool not in OWN)
    tuned = {results.tool: tune(results, worlds) for results in found if results.planted}
    write_cells(work, tuned)
    own = next(results for results in found if results.tool == OWN[0])
    versions = sorted({f"{results.tool.split(' ')[0].rstrip(',')} {results.version}" for results in found})
    parts = {
        "Versions": [", ".join(versions)],
        "False alarms per stream-week, defaults": table_of_false_alarms(found, worlds),
        "Driftline's alarms and budget": table_of_budget(own, worlds),
        "What Driftline learned": [", ".join(f"{name}: {value:g}" for name, value in own.notes.items())],
        f"Tuned to one false alarm in {1 / RATE:.0f} windows": table_of_rates(tuned),
        "Cells in which Driftline's median delay is no worse than the best other's": table_of_shares(tuned),
        "Median delay and share missed, by change and rows": table_by(tuned, "change", "rows"),
        "The same, by change, rows and background": table_by(tuned, "change", "rows", "background"),
        "The same, by change, rows and size, abrupt and gradual": table_by(tuned, "change", "rows", "size"),
        **{f"Where {name} loses": table_of_losses(name, tuned) for name in OWN},
    }
    text = "".join(f"## {title}\n\n" + "\n".join(lines) + "\n\n" for title, lines in parts.items())
    (work / "tables.md").write_text(text)
    return text
