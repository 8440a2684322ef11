"""Watches whether scores are still worth what they were: labels against the reference's calibration."""

from __future__ import annotations

import msgspec
import numpy as np

from detectors.calibrator import Calibrator, successes
from detectors.estimation import expected
from detectors.ledger import Ledger
from detectors.outcomes import EVERYTHING, Family, Records
from detectors.reconcile import TILTS, calibration_evidence
from detectors.sealed import seal, unseal
from schemas.column import PERFORMANCE_CALIBRATION
from schemas.verdict import Decision, Lane, Verdict

SETTLED_AFTER = 3  # windows without evidence of their own
_MAGIC = b"DLK1"


class _State(msgspec.Struct):
    mass: list[float]
    is_open: bool = False
    settled_for: int = 0
    quiet_since_ms: int = 0


def watch_calibration(
    calibrator: Calibrator,
    reference_rows: int,
    records: Records,
    state: bytes,
    *,
    start_ms: int,
    end_ms: int,
    budget: float,
    detector: str,
) -> tuple[Verdict, bytes]:
    """Judge the labels of the next window of a series.

    Parameters
    ----------
    calibrator : Calibrator
        Of the reference.
    reference_rows : int
        Labels of the reference.
    records : records
        Outcomes of the window, all segments.
    state : bytes
        After the window before; empty for the first.
    start_ms, end_ms : int
        The window.
    budget : float
        Expected number of false alarms that it may cost.
    detector : str
        Name that the verdict bears.

    Returns
    -------
    verdict : Verdict
        On the column ``performance.calibration`` of all rows; it has evidence and no effects.
    state : bytes
    """
    before = unseal(_MAGIC, state, _State, "state of a watch of calibration") if state else _begin(start_ms)
    given = 0.0 if before.is_open else budget
    evidence = calibration_evidence(calibrator, records)
    ledger = Ledger(np.array(before.mass, np.float32).reshape(1, -1, 1))
    step = ledger.step(evidence[None, :, None], np.array([given]), TILTS.weight[:, None])
    labelled = _labelled(records)
    rows = int(labelled["n"].sum())
    is_alarm = bool(step.is_alarm[0]) and not before.is_open
    after = _after(
        before, ledger, is_alarm=is_alarm, window_log=float(step.window_log[0]), end_ms=end_ms, rows=rows
    )
    log = float(step.evidence_log[0])
    has_log = given > 0 and np.isfinite(log)
    verdict = Verdict(
        detector=detector,
        column=PERFORMANCE_CALIBRATION,
        segment="",
        lane=Lane.PERFORMANCE,
        decision=_decision(rows, is_alarm=is_alarm, is_off=after.is_open and not after.settled_for),
        n=rows,
        m=reference_rows,
        statistic=max(log, -700.0) if has_log else -700.0,
        threshold=0.0,
        threshold_source="false-alarm budget; labels given the scores, against the reference's calibration",
        evidence_log=log if has_log else None,
        explanation=_words(calibrator, records, labelled) if is_alarm else "",
        budget=given,
        onset_ms=before.quiet_since_ms if is_alarm else None,
    )
    return verdict, seal(_MAGIC, after)


def _begin(start_ms: int) -> _State:
    return _State([0.0] * len(TILTS.weight), quiet_since_ms=start_ms)


def _after(
    before: _State, ledger: Ledger, *, is_alarm: bool, window_log: float, end_ms: int, rows: int
) -> _State:
    """State after a window: an open alarm is settled by some windows without evidence of their own."""
    if is_alarm:
        return _State([0.0] * len(before.mass), is_open=True, quiet_since_ms=end_ms)
    if before.is_open:
        settled = (
            before.settled_for + 1 if rows and window_log < 0 else (before.settled_for if not rows else 0)
        )
        is_open = settled < SETTLED_AFTER
        return _State([0.0] * len(before.mass), is_open, settled if is_open else 0, end_ms)
    mass = ledger.mass.ravel().astype(float).tolist()
    # The drift, if there is one, has begun after the last window that spoke against it.
    since = end_ms if window_log < 0 else before.quiet_since_ms
    return _State(mass, quiet_since_ms=since)


def _labelled(records: Records) -> Records:
    return np.asarray(records[(records["family"] == Family.LABELLED) & (records["segment"] == EVERYTHING)])


def _decision(rows: int, *, is_alarm: bool, is_off: bool) -> Decision:
    if is_alarm:
        return Decision.DRIFT
    if not rows:
        return Decision.NO_DATA
    return Decision.ONGOING if is_off else Decision.OK


def _words(calibrator: Calibrator, records: Records, labelled: Records) -> str:
    """Say how many successes there are, and how many the scores would have meant in the reference."""
    window = expected(calibrator, records, EVERYTHING, Family.LABELLED)
    total = int(labelled["n"].sum())
    found = int(labelled["n"][successes(labelled, calibrator.positive)].sum())
    meant = float(window.y.sum())
    what = "positive" if calibrator.positive else "right"
    return (
        f"scores mean something else than they did: {found / total:.0%} of {total} labelled predictions are "
        f"{what}, where the same scores meant {meant / total:.0%} in the reference"
    )
