"""Watches whether scores are still worth what they were: labels against the reference's calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from scipy import stats

from detectors.calibrator import Calibrator, successes
from detectors.estimation import expected
from detectors.latch import Latch
from detectors.lone_stream import step_alone
from detectors.outcomes import EVERYTHING, Family, Records
from detectors.reconcile import TILTS, calibration_evidence
from detectors.sealed import seal, unseal
from schemas.column import PERFORMANCE_CALIBRATION
from schemas.verdict import Verdict

_FEWEST_WINDOWS = 4
_MAGIC = b"DLK1"


class _State(msgspec.Struct):
    mass: list[float]
    is_open: bool = False
    settled_for: int = 0
    quiet_since_ms: int = 0

    @property
    def latch(self) -> Latch:
        return Latch(self.is_open, self.settled_for, self.quiet_since_ms)


class Wandering(NamedTuple):
    """How much more than by chance successes given the scores differed between a reference's windows.

    Parameters
    ----------
    dispersion : float
        D, at least 1, for windows of `rows` labels.
    rows : float
    """

    dispersion: float
    rows: float

    def of(self, rows: float) -> float:
        """D of a window of so many labels: 1 + n·σ², σ² of the rate between windows."""
        return 1.0 + (self.dispersion - 1.0) * rows / max(self.rows, 1.0)


def wandering(calibrator: Calibrator, windows: Sequence[Records]) -> Wandering:
    """Learn from a reference's own windows how much their calibration wanders.

    Notes
    -----
    With z = (successes − expected)/√(Σ n·p(1 − p)) of each of B windows, D = v·f·(1 + r)/(1 − r), v the mean
    of z², f = (B − 1)/χ²_{.05, B−1} its upper limit, r the autocorrelation at lag 1 plus 1/B, between 0 and
    .9. D is only used if v is larger than by chance (95 %) or r is; see docs/statistics.md.
    """
    z, rows = [], []
    for window in windows:
        known = expected(calibrator, window, EVERYTHING, Family.LABELLED)
        labelled = _labelled(window)
        variance = float((known.y * (1 - known.y / np.maximum(known.rows.n, 1))).sum())
        if variance > 0:
            good = float(labelled["n"][successes(labelled, calibrator.positive)].sum())
            z.append((good - float(known.y.sum())) / variance**0.5)
            rows.append(float(labelled["n"].sum()))
    number = len(z)
    if number < _FEWEST_WINDOWS:
        return Wandering(1.0, 1.0)
    values = np.array(z)
    v = float((values**2).mean())
    centred = values - values.mean()
    acf = float((centred[1:] * centred[:-1]).sum() / max((centred**2).sum(), 1e-300))
    is_wide = v * number > stats.chi2.ppf(0.95, number)
    if not is_wide and acf <= 1.645 / number**0.5:
        return Wandering(1.0, 1.0)
    r = min(max(acf + 1 / number, 0.0), 0.9)
    limit = (number - 1) / stats.chi2.ppf(0.05, number - 1)
    return Wandering(max(1.0, v * limit * (1 + r) / (1 - r)), float(np.mean(rows)))


def watch_calibration(
    calibrator: Calibrator,
    usual: Wandering,
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
    usual : Wandering
        Of the reference's own windows.
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
    labelled = _labelled(records)
    rows = int(labelled["n"].sum())
    stepped = step_alone(
        before.latch,
        np.array(before.mass, np.float32),
        calibration_evidence(calibrator, records, dispersion=usual.of(rows)),
        TILTS.weight,
        budget=budget,
        rows=rows,
        end_ms=end_ms,
    )
    verdict = stepped.verdict(
        detector=detector,
        column=PERFORMANCE_CALIBRATION,
        m=reference_rows,
        source="false-alarm budget; labels given the scores, against the reference's calibration",
        words=_words(calibrator, records, labelled) if stepped.is_alarm else "",
    )
    return verdict, seal(_MAGIC, _State(stepped.mass.astype(float).tolist(), *stepped.after))


def _begin(start_ms: int) -> _State:
    return _State([0.0] * len(TILTS.weight), quiet_since_ms=start_ms)


def _labelled(records: Records) -> Records:
    return np.asarray(records[(records["family"] == Family.LABELLED) & (records["segment"] == EVERYTHING)])


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
