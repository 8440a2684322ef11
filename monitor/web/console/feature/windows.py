"""Judged windows of a column and segment: effect, evidence, rows, and which of them say little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from sqlalchemy import Connection

from monitor.store.queries.judged import ENOUGH_ROWS, effects, filled_slices, window_stride, windows
from monitor.web.console.feature.subject import Subject
from monitor.web.console.feature.usual import usual_psi
from monitor.web.console.words import ordinal
from schemas.verdict import Decision

FEW_SHARE = 0.1  # of the rows of a usual window
INCOMPLETE_SHARE = 0.5  # of the slices of a usual window that have rows
LOG_OF_TEN = math.log(10)
ALARMS = frozenset({Decision.DRIFT.value, Decision.ONGOING.value})


@dataclass(frozen=True)
class JudgedWindow:
    """One window, and what was said there of a column and segment; numbers are None where nothing was.

    Parameters
    ----------
    start_ms, end_ms : int
    n : int
        Rows of the segment.
    filled, slices : int
        Slices that hold rows of the model version, of all slices of the window.
    excluded_rows : int
        Rows that could not be compared: they were counted on the bins of another reference.
    psi, psi_debiased, psi_low, psi_high : float or None
    usual : float or None
        PSI that chance and the usual change from window to window give; see `usual_psi`.
    evidence : float or None
        Collected for drift, in powers of ten.
    statistic, threshold : float or None
        What the detector tested, and its level of an alarm; in powers of ten where there is evidence.
    doubts : tuple of str
        Why the window says little; empty for nothing.
    """

    start_ms: int
    end_ms: int
    n: int
    filled: int
    slices: int
    excluded_rows: int
    psi: float | None
    psi_debiased: float | None
    psi_low: float | None
    psi_high: float | None
    usual: float | None
    evidence: float | None
    statistic: float | None
    threshold: float | None
    decision: str
    doubts: tuple[str, ...]

    @property
    def is_alarm(self) -> bool:
        """Whether an alarm was raised, or is open since."""
        return self.decision in ALARMS


@dataclass(frozen=True)
class Judged:
    """Judged windows of a range, oldest first.

    Parameters
    ----------
    windows : list of JudgedWindow
    stride : int
        One window of so many was read.
    group : int
        Each of the windows stands for so many neighbours, of which it is the farthest.
    """

    windows: list[JudgedWindow]
    stride: int = 1
    group: int = 1

    @property
    def words(self) -> str:
        """Say what of the range is not shown, in a sentence that follows another; empty where all of it is.

        Examples
        --------
        >>> Judged([]).words, Judged([], 4).words
        ('', ' The range is long: every 4th window of it is read.')
        """
        read = f" The range is long: every {ordinal(self.stride)} window of it is read."
        far = f" Of each {self.group} neighbours the farthest is drawn."
        return (read if self.stride > 1 else "") + (far if self.group > 1 else "")

    def thinned(self, most: int) -> Judged:
        """Keep the farthest window of each group of neighbours, so that at most so many are left."""
        size = max(1, -(-len(self.windows) // most))
        groups = (self.windows[first : first + size] for first in range(0, len(self.windows), size))
        kept = [max(one, key=lambda w: (w.psi_debiased or 0.0, w.psi or 0.0)) for one in groups]
        return Judged(kept, self.stride, size)


def judged_windows(connection: Connection, subject: Subject, column: str, segment: str) -> Judged:
    """List the judged windows of the range as they were judged last; of very many, every n-th."""
    stride = window_stride(connection, subject.stream)
    found = windows(connection, subject.stream, subject.window.every_ms, stride)
    said = _said(connection, subject, [row.start_ms for row in found], column, segment)
    spec, slice_ms = subject.window, subject.settings.slice_ms
    step_ms = math.gcd(spec.length_ms, spec.every_ms)
    is_tumbling = spec.length_ms == spec.every_ms
    filled = filled_slices(connection, subject.stream, step_ms, slice_ms, stride if is_tumbling else 1)
    counts = [
        sum(filled.get(at, 0) for at in range(row.start_ms // step_ms * step_ms, row.end_ms, step_ms))
        for row in found
    ]
    rows = [said[row.start_ms].n if row.start_ms in said else 0 for row in found]
    usual_rows = median([n for n in rows if n] or [0])
    usual_slices = median([count for count in counts if count] or [0])
    made = [
        _window(
            row,
            said.get(row.start_ms),
            count,
            max(spec.length_ms // slice_ms, 1),
            _doubts(row, said.get(row.start_ms), count, usual_rows, usual_slices, subject.to_ms),
        )
        for row, count in zip(found, counts, strict=True)
    ]
    same = {row.start_ms for row in found if row.reference_hash == subject.reference_hash}
    usual = _usual(subject, column, segment, [one for one in made if one.start_ms in same])
    return Judged([replace(one, usual=usual.get(one.start_ms, _taken_off(one))) for one in made], stride)


def _taken_off(one: JudgedWindow) -> float | None:
    """What was taken off the index, where something is left of it."""
    return one.psi - one.psi_debiased if one.psi is not None and one.psi_debiased else None


def _usual(
    subject: Subject, column: str, segment: str, found: Sequence[JudgedWindow]
) -> dict[int, float | None]:
    """Usual PSI by start of windows that were compared with the reference; see `usual_psi`."""
    rest = [one for one in found if one.psi is not None and not one.psi_debiased]
    if subject.reference is None or not rest:
        return {}
    starts, rows = [one.start_ms for one in rest], [one.n for one in rest]
    usual = usual_psi(subject.reference, subject.settings.detector, column, segment, starts, rows)
    return dict(zip(starts, map(_finite, usual.tolist()), strict=True))


def _said(
    connection: Connection, subject: Subject, starts: Sequence[int], column: str, segment: str
) -> dict[int, Any]:
    """Result of each window; where detectors have changed, that of the configured one."""
    found: dict[int, Any] = {}
    for row in effects(connection, subject.stream, starts, column, segment):
        if row.start_ms not in found or row.detector == subject.settings.detector:
            found[row.start_ms] = row
    return found


def _doubts(
    row: Any, said: Any | None, filled: int, usual_rows: float, usual_slices: float, to_ms: int
) -> tuple[str, ...]:
    found = []
    if said is None:
        found.append("not judged")
    elif said.n < max(ENOUGH_ROWS, FEW_SHARE * usual_rows):
        found.append("few rows")
    if filled < INCOMPLETE_SHARE * usual_slices:
        found.append("incomplete")
    if row.excluded_rows:
        found.append("rows on other bins")
    if row.end_ms > to_ms:
        found.append("ends after the range")
    return tuple(found)


def _window(row: Any, said: Any | None, filled: int, slices: int, doubts: tuple[str, ...]) -> JudgedWindow:
    numbers = ("psi", "psi_debiased", "psi_low", "psi_high", "evidence_log", "statistic", "threshold")
    known = {name: None if said is None else _finite(getattr(said, name)) for name in numbers}
    evidence = known.pop("evidence_log")
    scale = 1.0 if evidence is None else LOG_OF_TEN
    known |= {name: None if (v := known[name]) is None else v / scale for name in ("statistic", "threshold")}
    return JudgedWindow(
        row.start_ms,
        row.end_ms,
        0 if said is None else int(said.n),
        min(filled, slices),
        slices,
        int(row.excluded_rows),
        **known,
        usual=None,
        evidence=None if evidence is None else evidence / LOG_OF_TEN,
        decision="" if said is None else said.decision,
        doubts=doubts,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
