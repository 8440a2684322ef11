"""What a map can show of each segment: drift and missing share of a column, rows, performance."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal

import numpy as np
from sqlalchemy import Connection

from monitor.config.settings import LOWER_IS_BETTER
from monitor.store.queries.judged import ENOUGH_ROWS, segment_buckets, segment_effects
from monitor.store.queries.segment_values import segment_values
from monitor.web.console.feature.history import choose, parts
from monitor.web.console.feature.subject import Subject
from monitor.web.console.feature.usual import usual_psi
from monitor.web.console.feature.windows import ALARMS
from monitor.web.console.model.performance import SHARES
from monitor.web.console.segments.grid import Buckets, Key, Measured, Scale
from monitor.web.console.words import ordinal

Measure = Literal["usual", "psi", "missing", "rows", "performance"]
MEASURES: tuple[Measure, ...] = ("usual", "psi", "missing", "rows", "performance")
NAMES: dict[Measure, str] = {
    "usual": "PSI against the usual change",
    "psi": "PSI, de-biased",
    "missing": "missing share of a column",
    "rows": "rows",
    "performance": "performance",
}
GRAVE_PSI = (0.1, 0.25)  # what is usually called a moderate and a large shift
GRAVE_USUAL = (1.0, 2.0, 4.0)
ALARMED = 2  # level of a cell with an alarm, at least: small changes that stay are an alarm too
GRAVE_MISSING = (0.01, 0.05, 0.2)
GRAVE_WORSE = (0.1, 0.25, 0.5)
GRAVE_ROWS = (0.5, 0.25, 0.1)
MOST_READ = 60_000  # windows times segments


@dataclass(frozen=True)
class Known:
    """Judged windows that are read.

    Parameters
    ----------
    starts : sequence of int
        Ascending.
    stride : int
        They are one of so many in the range.
    on_reference : set of int
        Starts of those that were compared with the reference that is in force at the end of the range.
    """

    starts: Sequence[int]
    stride: int = 1
    on_reference: Set[int] = frozenset()


@dataclass(frozen=True)
class Values:
    """Values of a map.

    Parameters
    ----------
    measured : dict
        By segment and bucket.
    note : str
        What of the range was not read, in a sentence that follows another; empty where all of it was.
    """

    measured: dict[Key, Measured]
    note: str = ""


def note_of(stride: int) -> str:
    """Say that not all windows were read.

    Examples
    --------
    >>> note_of(1), note_of(3)
    ('', ' The range is long: every 3rd window of it is read.')
    """
    return f" The range is long: every {ordinal(stride)} window of it is read." if stride > 1 else ""


def thin(known: Known, segments: Sequence[str]) -> Known:
    """Keep so few windows, spread over the range, that all segments of them can be read."""
    most = max(MOST_READ // max(len(segments), 1), 1)
    stride = max(1, -(-len(known.starts) // most))
    return Known(known.starts[::stride], known.stride * stride, known.on_reference)


def usual_values(
    connection: Connection,
    subject: Subject,
    known: Known,
    segments: Sequence[str],
    column: str,
    by: str,
    buckets: Buckets,
) -> Values:
    """Read the PSI of segments and buckets as a multiple of the usual one; of several windows the largest."""
    read = thin(known, segments)
    found = segment_effects(connection, subject.stream, read.starts, column, by)
    rows: dict[str, list[Any]] = {}
    for row in found:
        rows.setdefault(row.segment, []).append(row)
    measured: dict[Key, Measured] = {}
    for segment, own in rows.items():
        usual = _usual(subject, read, column, segment, own)
        for at, several in _in_buckets(own, buckets).items():
            measured[segment, at] = _farthest(several, usual)
    return Values(measured, note_of(read.stride))


def _in_buckets(rows: Sequence[Any], buckets: Buckets) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(buckets.number_of(row.start_ms), []).append(row)
    return found


def _usual(
    subject: Subject, known: Known, column: str, segment: str, rows: Sequence[Any]
) -> dict[tuple[int, str], float]:
    """Usual PSI of the windows of a segment, by start and detector.

    Where something is left of the index, the usual part is what was taken off it; elsewhere it is worked out.
    """
    found: dict[tuple[int, str], float] = {}
    for detector in {row.detector for row in rows}:
        own = [row for row in rows if row.detector == detector and row.psi is not None]
        found |= {(row.start_ms, detector): row.psi - row.psi_debiased for row in own if row.psi_debiased > 0}
        rest = [row for row in own if not row.psi_debiased and row.start_ms in known.on_reference]
        if subject.reference is None or not rest:
            continue
        starts, n = [row.start_ms for row in rest], [row.n for row in rest]
        usual = usual_psi(subject.reference, detector, column, segment, starts, n).tolist()
        found |= {(row.start_ms, detector): value for row, value in zip(rest, usual, strict=True)}
    return found


def _farthest(rows: Sequence[Any], usual: dict[tuple[int, str], float]) -> Measured:
    """Put the windows of one bucket together."""
    ratios = [
        row.psi / value
        for row in rows
        if row.psi is not None and (value := usual.get((row.start_ms, row.detector), 0.0)) > 0
    ]
    alarms = sum(row.decision in ALARMS for row in rows)
    fewest = min(row.n for row in rows)
    return Measured(max(ratios, default=None), sum(row.n for row in rows), fewest < ENOUGH_ROWS, alarms)


def judged_values(
    connection: Connection,
    subject: Subject,
    known: Known,
    segments: Sequence[str],
    column: str,
    by: str,
    buckets: Buckets,
    measure: Measure,
) -> Values:
    """Read the largest de-biased PSI, or the rows, of each segment and bucket."""
    read = thin(known, segments)
    stream = replace(subject.stream, from_ms=buckets.from_ms)
    found = segment_buckets(connection, stream, read.starts, column, by, buckets.length_ms)
    is_rows = measure == "rows"  # of which few are what the map is about
    measured = {
        (row.segment, int(row.bucket)): Measured(
            float(row.n) * read.stride if is_rows else row.psi,
            int(row.n) * read.stride,
            not is_rows and row.fewest < ENOUGH_ROWS,
            0 if is_rows else int(row.alarms),
        )
        for row in found
    }
    return Values(measured, note_of(read.stride))


def missing_values(
    connection: Connection, subject: Subject, segments: Sequence[str], column: str, buckets: Buckets
) -> Values:
    """Count the rows without a value in stored slices."""
    reference = subject.reference
    if reference is None or column not in reference.binning.index:
        return Values({})
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
        (segment, at): Measured(
            float(missing[at, group] / n), n * chosen.stride, n * chosen.stride < ENOUGH_ROWS
        )
        for group, segment in enumerate(groups)
        if segment in set(segments)
        for at, n in enumerate(rows[:, group].tolist())
        if n
    }
    return Values(measured, chosen.words)


def performance_values(
    connection: Connection,
    subject: Subject,
    known: Known,
    segments: Sequence[str],
    metric: str,
    buckets: Buckets,
) -> Values:
    """Read realised performance; of several windows the mean, weighted by rows."""
    read = thin(known, segments)
    found: dict[Key, list[Any]] = {}
    for row in segment_values(connection, subject.stream, read.starts, segments, metric):
        found.setdefault((row.segment, buckets.number_of(row.start_ms)), []).append(row)
    measured = {}
    for key, rows in found.items():
        n = sum(int(row.n) for row in rows)
        value = sum(row.value * row.n for row in rows) / n if n else None
        measured[key] = Measured(value, n, n < ENOUGH_ROWS)
    return Values(measured, note_of(read.stride))


def scale_of(measure: Measure, subject: Subject, column: str, metric: str) -> Scale:
    """Say how grave values of a measure are."""
    if measure == "usual":
        legend = (
            "1 is what chance and the usual change from window to window give; shaded from 1 on, darker from "
            "2 and in alarm, darkest from 4. Small changes that stay are an alarm below 1 too"
        )
        return Scale(legend, lambda value, _: _level(value, GRAVE_USUAL), lambda value, _: value, ALARMED)
    if measure == "psi":
        tolerance = subject.tolerance(column)
        limits = (tolerance, *(max(one, tolerance) for one in GRAVE_PSI))
        legend = (
            f"Shaded from the tolerance of {tolerance:g} on, darker from {limits[1]:g}, darkest from "
            f"{limits[2]:g}. 0: no farther off than chance and the usual change from window to window explain"
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
    held = f"{100 * slo:g} %" if metric in SHARES else f"{slo:g}"
    legend = f"Shaded where it misses the objective of {held}, darker by a quarter of it, darkest by half"
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
