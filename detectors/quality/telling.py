"""From what a watch found in a window to one verdict for each stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

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
    is_off, found = latches.is_off, []
    for i, (segment, column) in enumerate((s, c) for s in segments for c in columns):
        alarm, evidence = bool(is_alarm[i]), float(evidence_log[i])
        found.append(
            Verdict(
                detector=detector,
                column=column,
                segment=segment,
                lane=Lane.QUALITY,
                decision=_decision(alarm=alarm, has_data=bool(has_data[i]), is_off=bool(is_off[i])),
                n=int(rows[i]),
                m=int(known[i]),
                statistic=max(evidence, LEAST_LOG),
                threshold=0.0,
                threshold_source=source,
                evidence_log=evidence if np.isfinite(evidence) else None,
                explanation=explain(i) if alarm else "",
                budget=float(budget[i]),
                onset_ms=int(onset[i]) if alarm else None,
            )
        )
    return found


def _decision(*, alarm: bool, has_data: bool, is_off: bool) -> Decision:
    if alarm:
        return Decision.DRIFT
    if not has_data:
        return Decision.NO_DATA
    return Decision.ONGOING if is_off else Decision.OK
