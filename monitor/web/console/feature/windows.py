"""Judged windows of a column and segment: effect, evidence, rows, and which of them say little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Connection

from monitor.store.queries.judged import ENOUGH_ROWS, effects, filled_slices, windows
from monitor.web.console.feature.subject import Subject
from schemas.verdict import Decision

FEW_SHARE = 0.1  # of the rows of a usual window
INCOMPLETE_SHARE = 0.5  # of the slices of a usual window that have rows
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
    evidence_log: float | None
    statistic: float | None
    threshold: float | None
    decision: str
    doubts: tuple[str, ...]

    @property
    def is_alarm(self) -> bool:
        """Whether an alarm was raised, or is open since."""
        return self.decision in ALARMS


def judged_windows(connection: Connection, subject: Subject, column: str, segment: str) -> list[JudgedWindow]:
    """List the judged windows of the range, oldest first, as they were judged last."""
    found = windows(connection, subject.stream)
    said = _said(connection, subject, [row.start_ms for row in found], column, segment)
    spec, slice_ms = subject.window, subject.settings.slice_ms
    step_ms = math.gcd(spec.length_ms, spec.every_ms)
    filled = filled_slices(connection, subject.stream, step_ms)
    counts = [
        sum(filled.get(at, 0) for at in range(row.start_ms // step_ms * step_ms, row.end_ms, step_ms))
        for row in found
    ]
    rows = [said[row.start_ms].n if row.start_ms in said else 0 for row in found]
    usual_rows = median([n for n in rows if n] or [0])
    usual_slices = median([count for count in counts if count] or [0])
    return [
        _window(
            row,
            said.get(row.start_ms),
            count,
            max(spec.length_ms // slice_ms, 1),
            _doubts(row, said.get(row.start_ms), count, usual_rows, usual_slices, subject.to_ms),
        )
        for row, count in zip(found, counts, strict=True)
    ]


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
    return JudgedWindow(
        row.start_ms,
        row.end_ms,
        0 if said is None else int(said.n),
        min(filled, slices),
        slices,
        int(row.excluded_rows),
        **{name: None if said is None else _finite(getattr(said, name)) for name in numbers},
        decision="" if said is None else said.decision,
        doubts=doubts,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
