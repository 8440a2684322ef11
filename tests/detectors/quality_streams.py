"""Invented references and windows for many streams at once: numbers on bins, without any rows behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from detectors.base import Moment
from detectors.binning import Binning, CategoricalBins, SegmentValues
from detectors.quality.base import Watch
from detectors.quality.facts import Facts
from detectors.quality.learned import LearnedQuality
from detectors.reference import Reference
from detectors.tensor import IntArray
from schemas.column import ColumnSpec, Kind
from schemas.verdict import Decision, Verdict

HOUR_MS = 3_600_000


def binning_of(columns: int, values: int = 2, groups: int = 1) -> Binning:
    """Columns of a few classes each, and so many groups of rows: 1, or 4 and more."""
    bins = CategoricalBins(tuple(f"v{i}" for i in range(values)), tuple(range(values)), tuple(range(values)))
    names = tuple(f"s{i}" for i in range(groups - 3))
    return Binning(
        tuple(ColumnSpec(f"c{i}", Kind.CATEGORICAL) for i in range(columns)),
        (bins,) * columns,
        (SegmentValues("s", names, tuple(range(len(names)))),) if groups > 1 else (),
    )


def reference_of(binning: Binning, windows: IntArray, quality: LearnedQuality | None = None) -> Reference:
    """Make a reference of the counts of its windows, ``[W, groups, bins]``, an hour each."""
    counts = windows.sum(axis=0)
    first = int(binning.offsets[1])
    none = np.full(len(binning.columns), np.nan)
    return Reference(
        binning, 0, len(windows) * HOUR_MS, HOUR_MS, counts, counts[:, :first].sum(axis=1),
        np.arange(len(windows)) * HOUR_MS, windows, HOUR_MS, none, none, None, quality,
    )  # fmt: skip


def learned(arrivals: IntArray, lags: IntArray, decimals: IntArray | None = None) -> LearnedQuality:
    """What a reference knows of how its events came."""
    windows, none = len(arrivals), np.zeros((0, 3), np.int64)
    complete = np.zeros((windows, 1, 2), np.int64)
    roundings = np.zeros((windows, 0, 6), np.int64) if decimals is None else decimals
    return LearnedQuality(HOUR_MS, arrivals, lags, complete, roundings, none)


def judged(
    watch: Watch, reference: Reference, windows: Iterable[Facts], budget: float
) -> Iterator[list[Verdict]]:
    """Judge windows one after the other."""
    segments = len(reference.binning.groups) if watch.by_segment else 1
    shape = (segments, len(watch.columns(reference)))
    state, start_ms = b"", reference.to_ms
    for facts in windows:
        moment = Moment(start_ms, start_ms + HOUR_MS, np.full(shape, budget))
        found = watch.step(reference, facts, state, moment)
        state, start_ms = found.state, start_ms + HOUR_MS
        yield found.verdicts


def alarms_and_budget(
    watch: Watch, reference: Reference, windows: Iterable[Facts], budget: float
) -> tuple[int, float]:
    """Count alarms, and what was spent."""
    alarms, spent = 0, 0.0
    for verdicts in judged(watch, reference, windows, budget):
        alarms += sum(verdict.decision is Decision.DRIFT for verdict in verdicts)
        spent += sum(verdict.budget or 0.0 for verdict in verdicts)
    return alarms, spent
