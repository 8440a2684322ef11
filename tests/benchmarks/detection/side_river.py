"""Measured side: river's ADWIN, Page-Hinkley and KSWIN on values, DDM and HDDM on wrong predictions.

``python -m tests.benchmarks.detection.side_river WORK PART PARTS``, in river's environment. Detectors
take the values of a column one after the other, without missing ones, a hundred a window: with more rows,
means of ten or of a hundred values, which loses little for detectors of a mean. They are in standard
deviations of the reference's. DDM and HDDM need single predictions, which takes too long beyond 100 rows
a window. Detectors see the whole reference first. A window has an alarm if a change was detected in it.
Only numbers and wrong predictions can be watched in this way; categories cannot.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.detection.results import Results
from tests.benchmarks.detection.streams import HORIZON, SHAPES, SIZES, Planted, Streams, read

NUMERIC = {"mean": "numeric", "scale": "numeric", "tail": "numeric"}
ERROR = {"label flip": "error"}
VALUES = 100  # of a window
MOST_PREDICTIONS = 100  # of a window, one by one
KSWIN_ROWS, KSWIN_EVERY = 100, 4  # it takes a quarter of a millisecond for each value


@dataclass(frozen=True)
class Tool:
    """A detector with settings from the least to the most sensitive, its own default last.

    Parameters
    ----------
    name : str
    make : callable
        Makes a detector of a setting.
    settings : tuple of float
    default : float
    sees : dict of str to str
        Changes that it can see, and by which family.
    families : tuple of str
        What it watches.
    is_binary : bool
        It takes single predictions, right or wrong.
    """

    name: str
    make: Callable[[float], Any]
    settings: tuple[float, ...]
    default: float
    sees: dict[str, str]
    families: tuple[str, ...]
    is_binary: bool = False


def tools() -> tuple[Tool, ...]:
    """All detectors."""
    from river import drift
    from river.drift import binary

    return (
        Tool(
            "river ADWIN",
            lambda delta: drift.ADWIN(delta=delta),
            (*_powers(-100, -10, 9), *_powers(-8, -3, 6), 0.002, 0.005, 0.01, 0.03, 0.1, 0.3),
            0.002,
            NUMERIC | ERROR,
            ("numeric", "error"),
        ),
        Tool(
            "river Page-Hinkley",
            lambda threshold: drift.PageHinkley(threshold=threshold),
            (*np.geomspace(12_800, 100, 15), 50, 35, 25),
            50,
            NUMERIC | ERROR,
            ("numeric", "error"),
        ),
        Tool(
            "river HDDM_A",
            lambda confidence: binary.HDDMA(drift_confidence=confidence),
            (*_powers(-20, -4, 9), 0.001, 0.003, 0.01, 0.03, 0.1),
            0.001,
            ERROR,
            ("error",),
            is_binary=True,
        ),
        Tool(
            "river DDM",
            lambda threshold: binary.DDM(drift_threshold=threshold),
            (12, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.5, 2),
            3,
            ERROR,
            ("error",),
            is_binary=True,
        ),
        Tool(
            "river KSWIN", lambda alpha: drift.KSWIN(alpha=alpha, seed=1), (0.005,), 0.005, {}, ("numeric",)
        ),
    )


def _powers(least: int, most: int, count: int) -> list[float]:
    return [float(10.0**power) for power in np.linspace(least, most, count)]


def alarms(detector: Any, windows: Iterable[list[float]]) -> list[bool]:
    """Feed windows to a detector; whether it detected a change in each."""
    found = []
    update = detector.update
    for values in windows:
        is_alarm = False
        for value in values:
            update(value)
            is_alarm |= detector.drift_detected
        found.append(is_alarm)
    return found


def series(windows: Any) -> list[Any]:
    """Values of windows ``[windows, rows]`` without missing ones: a hundred each, means of neighbours."""
    count = len(windows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all ten may be missing
        means = np.nanmean(windows.reshape(count, VALUES, -1), axis=2)
    return [row[~np.isnan(row)] for row in means]


def prepared(
    tool: Tool, family: str, column: int, streams: Streams
) -> Callable[[Any, Any], list[list[float]]]:
    """How the values of a family become what a detector is fed with, from numbers and wrong predictions."""
    if tool.is_binary:
        return lambda _, wrong: [row.astype(float).tolist() for row in wrong]

    def values(numeric: Any, wrong: Any) -> list[Any]:
        return series(wrong.astype(float) if family == "error" else numeric[..., column])

    base = streams.base
    known = np.concatenate(values(base.numeric[streams.reference], base.error[streams.reference]))
    mean, sd = known.mean(), max(float(known.std()), 1e-12)
    return lambda numeric, wrong: [((row - mean) / sd).tolist() for row in values(numeric, wrong)]


def judge(streams: Streams, tool: Tool, results: Results) -> None:
    """Judge one world with all settings of a detector."""
    for family in tool.families:
        changes = [change for change, mine in tool.sees.items() if mine == family]
        columns = (0,) if family == "error" else (0, 1, 2) if changes else (streams.world.numeric,)
        found = [judge_column(streams, tool, family, column, changes, results) for column in columns]
        results.calm[family, streams.world.key] = np.stack(found, axis=1)
        results.default[family, streams.world.key] = np.stack(found, axis=1)[
            tool.settings.index(tool.default)
        ]


def judge_column(
    streams: Streams, tool: Tool, family: str, column: int, changes: list[str], results: Results
) -> Any:
    """Judge one column: alarms ``[settings, calm windows]``; those after a change go to the results."""
    base, world = streams.base, streams.world
    feed = prepared(tool, family, column, streams)
    known, quiet, before = (
        feed(base.numeric[rows], base.error[rows]) for rows in (streams.reference, streams.calm, streams.lead)
    )
    is_changed = family == "error" or column == world.numeric
    planted = {
        change: [feed(part.numeric, part.error) for part in variants(streams, change)]
        for change in (changes if is_changed else [])
    }
    after_calm = np.zeros((len(tool.settings), world.calm), bool)
    after = {c: np.zeros((len(tool.settings), len(SHAPES) * len(SIZES[c]), HORIZON), bool) for c in planted}
    for i, setting in enumerate(tool.settings):
        detector = tool.make(setting)
        alarms(detector, known)
        kept = pickle.dumps(detector)
        after_calm[i] = alarms(detector, quiet)
        if not planted:
            continue
        detector = pickle.loads(kept)  # noqa: S301 - made a moment ago
        alarms(detector, before)
        kept = pickle.dumps(detector)
        for change, each in planted.items():
            for j, windows in enumerate(each):
                after[change][i, j] = alarms(pickle.loads(kept), windows)  # noqa: S301
    for change, found in after.items():
        shape = (len(tool.settings), len(SHAPES), len(SIZES[change]), HORIZON)
        results.planted[change, world.key] = found.reshape(shape)
    return after_calm


def variants(streams: Streams, change: str) -> list[Planted]:
    """All shapes and sizes of a change, in order."""
    return [streams.planted(change, shape, size) for shape in SHAPES for size in SIZES[change]]


def is_left_out(tool: Tool, streams: Streams) -> bool:
    """Whether a detector is too slow for a world."""
    world = streams.world
    if tool.name == "river KSWIN":
        return world.rows > KSWIN_ROWS or world.number % KSWIN_EVERY > 0
    return tool.is_binary and world.rows > MOST_PREDICTIONS


def main() -> None:
    """Judge the worlds of one part of a work folder."""
    work, part, parts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chosen = tools()
    found = [
        Results(tool.name, version("river"), tool.sees, tuple(f"{x:.3g}" for x in tool.settings))
        for tool in chosen
    ]
    for streams in read(work, part, parts):
        for tool, results in zip(chosen, found, strict=True):
            if not is_left_out(tool, streams):
                judge(streams, tool, results)
    for results in found:
        results.save(work, part)


if __name__ == "__main__":
    main()
