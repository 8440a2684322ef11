"""From what a watch found in a window to one verdict for each stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite

from detectors.base import Moment
from detectors.quality.latches import Latches
from detectors.tensor import BoolArray, FloatArray, IntArray
from schemas.verdict import Decision, Lane, Verdict

LEAST_LOG = -700.0


def told(
    detector: str,
    segments: Sequence[str],
    columns: Sequence[str],
    latches: Latches,
    *,
    evidence_log: FloatArray,
    is_alarm: BoolArray,
    is_normal: BoolArray,
    rows: IntArray,
    known: IntArray,
    budget: FloatArray,
    source: str,
    moment: Moment,
    explain: Callable[[int], str],
) -> list[Verdict]:
    """Take a window into the latches, and say what it means.

    Parameters
    ----------
    detector : str
        Name that verdicts bear.
    segments, columns : sequence of str
        The streams: all columns of the first segment, then those of the second, and so on.
    latches : Latches
        Changed in place.
    evidence_log : FloatArray
        ``[N]``: an alarm at 0 or more; -inf where nothing may be spent.
    is_alarm, is_normal : BoolArray
        ``[N]``: of the window.
    rows, known : IntArray
        ``[N]``: rows of the window and of the reference.
    budget : FloatArray
        ``[N]``: what each stream could spend.
    source : str
        Where the threshold comes from.
    moment : Moment
    explain : callable
        Says of a stream with an alarm what has happened.
    """
    onset, has_data = latches.quiet_since.copy(), rows > 0
    latches.take(is_alarm, is_normal, has_data, moment.end_ms)
    return verdicts_of(
        detector,
        segments,
        columns,
        evidence_log=evidence_log,
        is_alarm=is_alarm,
        is_off=latches.is_off,
        rows=rows,
        known=known,
        budget=budget,
        sources=[source] * len(columns),
        onset=onset,
        explain=lambda i, _verdict: explain(i),
    )


def verdicts_of(
    detector: str,
    segments: Sequence[str],
    columns: Sequence[str],
    *,
    evidence_log: FloatArray,
    is_alarm: BoolArray,
    is_off: BoolArray,
    rows: IntArray,
    known: IntArray,
    budget: FloatArray,
    sources: Sequence[str],
    onset: IntArray,
    explain: Callable[[int, Verdict], str],
) -> list[Verdict]:
    """Make the verdicts of a window.

    Parameters
    ----------
    detector, segments, columns, evidence_log, is_alarm, rows, known, budget
        See `told`.
    is_off : BoolArray
        ``[N]``: after the window, not back to normal.
    sources : sequence of str
        For each column, where its threshold comes from.
    onset : IntArray
        ``[N]``: when what changed had not changed yet.
    explain : callable
        Says of a stream with an alarm what has happened.
    """
    found = []
    streams = ((segment, *column) for segment in segments for column in zip(columns, sources, strict=True))
    numbers = (array.tolist() for array in (evidence_log, is_alarm, is_off, rows, known, budget, onset))
    for i, ((segment, column, source), (evidence, alarm, off, n, m, given, since)) in enumerate(
        zip(streams, zip(*numbers, strict=True), strict=True)
    ):
        verdict = Verdict(
            detector=detector,
            column=column,
            segment=segment,
            lane=Lane.QUALITY,
            decision=_decision(alarm=alarm, has_data=n > 0, is_off=off),
            n=n,
            m=m,
            statistic=max(evidence, LEAST_LOG),
            threshold=0.0,
            threshold_source=source,
            evidence_log=evidence if isfinite(evidence) else None,
            budget=given,
            onset_ms=since if alarm else None,
        )
        found.append(replace(verdict, explanation=explain(i, verdict)) if alarm else verdict)
    return found


def _decision(*, alarm: bool, has_data: bool, is_off: bool) -> Decision:
    if alarm:
        return Decision.DRIFT
    if not has_data:
        return Decision.NO_DATA
    return Decision.ONGOING if is_off else Decision.OK
