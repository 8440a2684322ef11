"""Judges a window by all that is known of it: single columns, whole rows, and why the predictions changed."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from detectors.base import Detector, Moment, Step
from detectors.correlation import judge_correlations
from detectors.digest import WeeklyEvidence
from detectors.edetector import EDetector
from detectors.reference import Reference
from detectors.sample import Sample
from detectors.streams import week_in
from detectors.tensor import IntArray
from detectors.why import with_reasons
from schemas.verdict import Lane

_MAGIC = b"DLJ1"
_FOOTER = struct.Struct("<Q4s")  # bytes of the last part, and what shows that there is one


def lanes_of(reference: Reference, detector: Detector) -> Sequence[Lane]:
    """Lanes of the streams of all rows that are judged against a reference, for `monitor.judging.budget`."""
    lanes = reference.tensor.layout.lanes
    return (*lanes, Lane.MULTIVARIATE) if _has_pairs(reference, detector) else lanes


def judge_window(
    detector: Detector,
    reference: Reference,
    counts: IntArray,
    sample: Sample,
    state: bytes,
    moment: Moment,
) -> Step:
    """Judge the next window of a series.

    Parameters
    ----------
    detector : Detector
    reference : Reference
    counts : int64 array [groups, bins]
        All rows of the window, on the bins of the reference.
    sample : Sample
        Some of its rows.
    state : bytes
        After the window before; empty for the first.
    moment : Moment
        Its budget is ``[S, len(lanes_of(reference, detector))]``.

    Returns
    -------
    Step
        Verdicts on all columns of all segments; with an `EDetector` also on ``multivariate.correlation``.
        The verdict on the predictions of all rows says where their change comes from.
    """
    relations = reference.relations
    columns = len(reference.tensor.layout.lanes)
    inner = Moment(moment.start_ms, moment.end_ms, moment.budget[:, :columns])
    if relations is None:
        return detector.step(reference.tensor, reference.window(counts), state, inner)
    together = relations.of(sample)
    window = reference.window(counts, together.counts)
    pairs = relations.correlations
    if pairs is None or not isinstance(detector, EDetector):
        found = detector.step(reference.tensor, window, state, inner)
        return found._replace(verdicts=with_reasons(relations, together, found.verdicts))
    first, last = _apart(state)
    found = detector.step(reference.tensor, window, first, inner)
    verdict, last = judge_correlations(
        pairs,
        relations.gram,
        together.gram,
        last,
        start_ms=moment.start_ms,
        end_ms=moment.end_ms,
        budget=float(moment.budget[0, columns]),
        tolerance=detector.tolerance,
        z_reference=detector.z_reference,
        detector=detector.name,
    )
    verdicts = with_reasons(relations, together, found.verdicts)
    return Step([*verdicts, verdict], found.state + last + _FOOTER.pack(len(last), _MAGIC))


def weeks_in(state: bytes) -> tuple[WeeklyEvidence | None, WeeklyEvidence | None]:
    """Evidence of the week in a state: of columns, and of their correlations; None where there is none."""
    columns, pairs = _apart(state)
    return week_in(columns), week_in(pairs)


def _has_pairs(reference: Reference, detector: Detector) -> bool:
    relations = reference.relations
    return relations is not None and relations.correlations is not None and isinstance(detector, EDetector)


def _apart(state: bytes) -> tuple[bytes, bytes]:
    """The state of single columns, and that of the pairs."""
    if not state.endswith(_MAGIC):
        return state, b""
    length, _ = _FOOTER.unpack(state[-_FOOTER.size :])
    end = len(state) - _FOOTER.size
    return state[: end - length], state[end - length : end]
