"""Judges what came of predictions: are more of them wrong, do labels look otherwise, or stay away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import msgspec
import numpy as np

from detectors.base import Detector, Moment, Step
from detectors.calibration_watch import watch_calibration
from detectors.calibrator import Calibrator
from detectors.edetector import EDetector
from detectors.fairness_parts import FairnessRule, Stream, fairness_streams
from detectors.fairness_watch import watch_fairness
from detectors.outcome_reference import OutcomeReference, up_to_age
from detectors.outcomes import Records
from detectors.rate import RateEDetector
from detectors.readings import WRONG
from detectors.sealed import seal, unseal
from detectors.tensor import TensorLayout
from schemas.column import LABEL_COVERAGE, PERFORMANCE_CALIBRATION, PERFORMANCE_ERROR
from schemas.verdict import Lane, Verdict

RATES = {PERFORMANCE_ERROR: WRONG, LABEL_COVERAGE: "not labelled"}
"""Columns of which only a rise of one bin is bad, and the label of that bin."""

_MAGIC = b"DLW1"


class _States(msgspec.Struct):
    by_name: dict[str, bytes]


class _When(TypedDict):
    start_ms: int
    end_ms: int
    detector: str


def judge_outcomes(
    detector: Detector,
    reference: OutcomeReference,
    records: Records,
    state: bytes,
    moment: Moment,
    early: Sequence[Detector] = (),
    fairness: Sequence[FairnessRule] = (),
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
        Its budget is ``[S, len(outcome_lanes(detector, reference, fairness))]``.
    early : sequence of Detector
        Watch ``performance.error`` of all rows as early warning: they promise no false-alarm rate and spend
        nothing.
    fairness : sequence of FairnessRule
        How differently groups may be treated; needs an `EDetector`.
    """
    window = reference.window(records)
    before = _read(state)
    found: list[tuple[str, list[Verdict], bytes]] = []
    for judge, columns in _parts(detector, reference.tensor.layout):
        key = f"{judge.name}/{columns[0]}"
        inner = Moment(moment.start_ms, moment.end_ms, moment.budget[:, columns])
        step = judge.step(reference.columns(columns), window[:, columns], before.get(key, b""), inner)
        found.append((key, step.verdicts, step.state))
    found += _alone(detector, reference, records, before, moment, fairness)
    nothing = Moment(moment.start_ms, moment.end_ms, np.zeros((1, 1)))
    for judge in early:
        key = f"early/{judge.name}"
        step = judge.step(reference.errors, window[:1, :1], before.get(key, b""), nothing)
        found.append((key, step.verdicts, step.state))
    verdicts = [one for _, some, _ in found for one in some]
    # Of one column, what is promised stands before early warning: sorting keeps their order.
    names = (*reference.tensor.layout.columns, *(one.column for one in verdicts))
    order = {name: at for at, name in enumerate(dict.fromkeys(names))}
    segments = {name: at for at, name in enumerate(reference.tensor.segments)}
    verdicts.sort(key=lambda one: (segments[one.segment], order[one.column]))
    return Step(verdicts, _written({key: after for key, _, after in found if after}))


def outcome_lanes(
    detector: Detector, reference: OutcomeReference, fairness: Sequence[FairnessRule] = ()
) -> tuple[Lane, ...]:
    """Lanes of the streams of all rows that are judged against a reference, for `monitor.judging.budget`.

    Those after the columns of the reference's tensor are watched of all rows only.
    """
    alone = (_watched(detector, reference) is not None) + len(_groups(detector, reference, fairness))
    return (*reference.tensor.layout.lanes, *[Lane.PERFORMANCE] * alone)


def _watched(detector: Detector, reference: OutcomeReference) -> Calibrator | None:
    return reference.calibrator if isinstance(detector, EDetector) else None


def _groups(
    detector: Detector, reference: OutcomeReference, fairness: Sequence[FairnessRule]
) -> tuple[Stream, ...]:
    return fairness_streams(fairness, reference) if isinstance(detector, EDetector) else ()


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


def _alone(
    detector: Detector,
    reference: OutcomeReference,
    records: Records,
    before: Mapping[str, bytes],
    moment: Moment,
    fairness: Sequence[FairnessRule],
) -> list[tuple[str, list[Verdict], bytes]]:
    """Judge what is watched of all rows only: whether scores are worth what they were, and fairness."""
    found: list[tuple[str, list[Verdict], bytes]] = []
    budgets = moment.budget[0, len(reference.tensor.layout.columns) :].tolist()
    calibrator = _watched(detector, reference)
    when: _When = {"start_ms": moment.start_ms, "end_ms": moment.end_ms, "detector": detector.name}
    if calibrator is not None:
        verdict, after = watch_calibration(
            calibrator,
            reference.wandering,
            reference.labels,
            up_to_age(records, reference.age),
            before.get(PERFORMANCE_CALIBRATION, b""),
            budget=budgets.pop(0),
            **when,
        )
        found.append((PERFORMANCE_CALIBRATION, [verdict], after))
    for stream, budget in zip(_groups(detector, reference, fairness), budgets, strict=True):
        key = f"{stream.column}/{stream.limit:g}/{stream.rule.least_rows}"  # another rule, other evidence
        verdict, after = watch_fairness(
            stream, reference, records, before.get(key, b""), budget=budget, **when
        )
        found.append((key, [verdict], after))
    return found


def _read(state: bytes) -> dict[str, bytes]:
    """States by what they belong to; those of what is no longer watched are simply not used."""
    return unseal(_MAGIC, state, _States, "state of judged outcomes").by_name if state else {}


def _written(states: dict[str, bytes]) -> bytes:
    return seal(_MAGIC, _States(states)) if states else b""
