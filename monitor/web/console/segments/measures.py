"""What a map can show of each segment: PSI and missing share of a column, rows, performance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal

import numpy as np
from sqlalchemy import Connection

from monitor.config.settings import LOWER_IS_BETTER
from monitor.store.queries.judged import ENOUGH_ROWS, segment_buckets
from monitor.store.queries.segment_values import segment_values
from monitor.web.console.feature.history import choose, parts
from monitor.web.console.feature.subject import Subject
from monitor.web.console.segments.grid import Buckets, Key, Measured, Scale

Measure = Literal["psi", "missing", "rows", "performance"]
MEASURES: tuple[Measure, ...] = ("psi", "missing", "rows", "performance")
NAMES: dict[Measure, str] = {
    "psi": "PSI of a column",
    "missing": "missing share of a column",
    "rows": "rows",
    "performance": "performance",
}
GRAVE_PSI = (0.1, 0.25)  # what is usually called a moderate and a large shift
GRAVE_MISSING = (0.01, 0.05, 0.2)
GRAVE_WORSE = (0.1, 0.25, 0.5)
GRAVE_ROWS = (0.5, 0.25, 0.1)
MOST_READ = 60_000  # windows times segments


@dataclass(frozen=True)
class Values:
    """Values of a map.

    Parameters
    ----------
    measured : dict
        By segment and bucket.
    from_ms : int
        Since when values were read; later than the range where it was too long.
    """

    measured: dict[Key, Measured]
    from_ms: int


def bounded(starts: Sequence[int], segments: Sequence[str]) -> Sequence[int]:
    """Newest windows, so few that all segments of them can be read."""
    return starts[-max(MOST_READ // max(len(segments), 1), 1) :]


def judged_values(
    connection: Connection,
    subject: Subject,
    starts: Sequence[int],
    segments: Sequence[str],
    column: str,
    by: str,
    buckets: Buckets,
    measure: Measure,
) -> Values:
    """Read the largest de-biased PSI, or the rows, of each segment and bucket."""
    read = bounded(starts, segments)
    stream = replace(subject.stream, from_ms=buckets.from_ms)
    found = segment_buckets(connection, stream, read, column, by, buckets.length_ms)
    is_rows = measure == "rows"  # of which few are what the map is about
    measured = {
        (row.segment, int(row.bucket)): Measured(
            float(row.n) if is_rows else row.psi,
            int(row.n),
            not is_rows and row.fewest < ENOUGH_ROWS,
            0 if is_rows else int(row.alarms),
        )
        for row in found
    }
    return Values(measured, read[0] if len(read) < len(starts) else subject.from_ms)


def missing_values(
    connection: Connection, subject: Subject, segments: Sequence[str], column: str, buckets: Buckets
) -> Values:
    """Count the rows without a value in stored slices."""
    reference = subject.reference
    if reference is None or column not in reference.binning.index:
        return Values({}, subject.from_ms)
    groups = reference.binning.groups
    chosen = choose(connection, subject)
    missing = np.zeros((buckets.number, len(groups)), np.int64)
    rows = np.zeros_like(missing)
    for start_ms, _, part in parts(connection, chosen, reference, subject.reference_hash, column):
        at = buckets.number_of(start_ms)
        if part.counts is not None and 0 <= at < buckets.number:
            missing[at] += part.counts[:, -2]
            rows[at] += part.counts.sum(axis=1)
    measured = {
        (segment, at): Measured(float(missing[at, group] / n), n, n < ENOUGH_ROWS)
        for group, segment in enumerate(groups)
        if segment in set(segments)
        for at, n in enumerate(rows[:, group].tolist())
        if n
    }
    return Values(measured, chosen.from_ms if chosen.is_cut else subject.from_ms)


def performance_values(
    connection: Connection,
    subject: Subject,
    starts: Sequence[int],
    segments: Sequence[str],
    metric: str,
    buckets: Buckets,
) -> Values:
    """Read realised performance; of several windows the mean, weighted by rows."""
    read = bounded(starts, segments)
    found: dict[Key, list[Any]] = {}
    for row in segment_values(connection, subject.stream, read, segments, metric):
        found.setdefault((row.segment, buckets.number_of(row.start_ms)), []).append(row)
    measured = {}
    for key, rows in found.items():
        n = sum(int(row.n) for row in rows)
        value = sum(row.value * row.n for row in rows) / n if n else None
        measured[key] = Measured(value, n, n < ENOUGH_ROWS)
    return Values(measured, read[0] if len(read) < len(starts) else subject.from_ms)


def scale_of(measure: Measure, subject: Subject, column: str, metric: str) -> Scale:
    """Say how grave values of a measure are."""
    if measure == "psi":
        tolerance = subject.tolerance(column)
        limits = (tolerance, *(max(one, tolerance) for one in GRAVE_PSI))
        legend = (
            f"Shaded from the tolerance of {tolerance:g} on, darker from {limits[1]:g}, darkest from "
            f"{limits[2]:g}"
        )
        return Scale(legend, lambda value, _: _level(value, limits), lambda value, _: value)
    if measure == "missing":
        legend = "Shaded from 1 % on, darker from 5 %, darkest from 20 %"
        return Scale(legend, lambda value, _: _level(value, GRAVE_MISSING), lambda value, _: value)
    if measure == "rows":
        legend = (
            "Shaded at half of the segment's usual number (its median) or less, darker at a quarter, darkest "
            "at a tenth"
        )
        limits = tuple(1 - share for share in GRAVE_ROWS)
        return Scale(legend, lambda value, every: _level(_lack(value, every), limits), _lack)
    return _performance_scale(subject, metric)


def _performance_scale(subject: Subject, metric: str) -> Scale:
    """Hold values against the objective where there is one for the metric, else against what is usual."""
    options = subject.settings.performance
    slo = float(options.slo) if options is not None and options.metric == metric else None
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0

    def worse(value: float, every: Sequence[float]) -> float:
        held = median(every) if slo is None else slo
        return sign * (value - held) / abs(held) if held else 0.0

    if slo is None:
        legend = (
            "Shaded where it is worse than the segment's usual value (its median) by 10 % of it, darker by "
            "25 %, darkest by 50 %"
        )
        return Scale(legend, lambda value, every: _level(worse(value, every), GRAVE_WORSE), worse)
    limits = (math.ulp(0.0), *GRAVE_WORSE[1:])
    legend = f"Shaded where it misses the objective of {slo:g}, darker by 25 % of it, darkest by 50 %"
    return Scale(legend, lambda value, every: _level(worse(value, every), limits), worse)


def _lack(value: float, every: Sequence[float]) -> float:
    usual = median(every)
    return 1 - value / usual if usual else 0.0


def _level(value: float, limits: Sequence[float]) -> int:
    """Number of limits that a value reaches.

    Examples
    --------
    >>> [_level(value, (0.01, 0.1, 0.25)) for value in (0.0, 0.01, 0.2, 3.0)]
    [0, 1, 2, 3]
    """
    return sum(value >= limit for limit in limits)
