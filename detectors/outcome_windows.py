"""Judges what came of predictions: are more of them wrong, do labels look otherwise, or stay away."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from detectors.base import Detector, Moment, Step
from detectors.calibration_watch import watch_calibration
from detectors.calibrator import Calibrator
from detectors.edetector import EDetector
from detectors.outcome_reference import OutcomeReference, up_to_age
from detectors.outcomes import Records
from detectors.rate import RateEDetector
from detectors.readings import WRONG
from detectors.tensor import TensorLayout
from schemas.column import LABEL_COVERAGE, PERFORMANCE_CALIBRATION, PERFORMANCE_ERROR
from schemas.verdict import Lane, Verdict

RATES = {PERFORMANCE_ERROR: WRONG, LABEL_COVERAGE: "not labelled"}
"""Columns of which only a rise of one bin is bad, and the label of that bin."""

_LENGTH = struct.Struct("<Q")


def judge_outcomes(
    detector: Detector,
    reference: OutcomeReference,
    records: Records,
    state: bytes,
    moment: Moment,
    early: Sequence[Detector] = (),
) -> Step:
    """Judge the outcomes of the next window of a series.

    Parameters
    ----------
    detector : Detector
        With an `EDetector`, rates are judged by a `RateEDetector` with the same `z_reference`; any other
        judges all columns.
    reference : OutcomeReference
    records : records
        Outcomes of the window.
    state : bytes
        After the window before; empty for the first.
    moment : Moment
        Its budget is ``[S, len(outcome_lanes(detector, reference))]``.
    early : sequence of Detector
        Watch ``performance.error`` of all rows as early warning: they promise no false-alarm rate and spend
        nothing.
    """
    tensor, window = reference.tensor, reference.window(records)
    verdicts: list[Verdict] = []
    states: list[bytes] = []
    parts = _parts(detector, tensor.layout)
    calibrator = _watched(detector, reference)
    before = _apart(state, len(parts) + (calibrator is not None) + len(early))
    for (judge, columns), known in zip(parts, before, strict=False):
        inner = Moment(moment.start_ms, moment.end_ms, moment.budget[:, columns])
        found = judge.step(reference.columns(columns), window[:, columns], known, inner)
        verdicts += found.verdicts
        states.append(found.state)
    if calibrator is not None:
        verdict, after = watch_calibration(
            calibrator,
            reference.wandering,
            reference.labels,
            up_to_age(records, reference.age),
            before[len(parts)],
            start_ms=moment.start_ms,
            end_ms=moment.end_ms,
            budget=float(moment.budget[0, -1]),
            detector=detector.name,
        )
        verdicts.append(verdict)
        states.append(after)
    of_errors, counts = reference.errors, window[:1, :1]
    nothing = Moment(moment.start_ms, moment.end_ms, np.zeros((1, 1)))
    for judge, known in zip(early, before[len(states) :], strict=True):
        found = judge.step(of_errors, counts, known, nothing)
        verdicts += found.verdicts
        states.append(found.state)
    order = {name: at for at, name in enumerate((*tensor.layout.columns, PERFORMANCE_CALIBRATION))}
    segments = {name: at for at, name in enumerate(tensor.segments)}
    verdicts.sort(key=lambda verdict: (segments[verdict.segment], order[verdict.column]))
    has_state = any(states)
    return Step(verdicts, b"".join(_LENGTH.pack(len(s)) + s for s in states) if has_state else b"")


def outcome_lanes(detector: Detector, reference: OutcomeReference) -> tuple[Lane, ...]:
    """Lanes of the streams of all rows that are judged against a reference, for `monitor.judging.budget`."""
    watched = (Lane.PERFORMANCE,) if _watched(detector, reference) is not None else ()
    return (*reference.tensor.layout.lanes, *watched)


def _watched(detector: Detector, reference: OutcomeReference) -> Calibrator | None:
    return reference.calibrator if isinstance(detector, EDetector) else None


def _parts(detector: Detector, layout: TensorLayout) -> list[tuple[Detector, list[int]]]:
    """Which detector judges which columns."""
    every = list(range(len(layout.columns)))
    if not isinstance(detector, EDetector):
        return [(detector, every)]
    others = [at for at in every if layout.columns[at] not in RATES]
    found: list[tuple[Detector, list[int]]] = [(detector, others)]
    for name, counted in RATES.items():
        if name in layout.columns:
            judge = RateEDetector(counted=counted, z_reference=detector.z_reference)
            found.append((judge, [layout.columns.index(name)]))
    return found


def _apart(state: bytes, parts: int) -> list[bytes]:
    """States of the parts."""
    if not state:
        return [b""] * parts
    found, at = [], 0
    while at < len(state):
        (length,) = _LENGTH.unpack_from(state, at)
        at += _LENGTH.size
        found.append(state[at : at + length])
        at += length
    return found
