"""Whether scores mean what they meant: alarms within the budget, and found when they do not."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.calibration_watch import Wandering, wandering, watch_calibration
from detectors.calibrator import Calibrator
from detectors.outcomes import Records, joined
from schemas.verdict import Decision, Verdict
from tests.detectors.outcome_rows import POSITIVE, of_classes

ROWS, HOUR_MS = 400, 3_600_000
NONE = Wandering(1.0, 1.0)


def window(rng: np.random.Generator, surplus: float = 0.0, rows: int = ROWS) -> Records:
    """Labels that are positive with the probability of the score, and some more."""
    score = rng.beta(2, 3, rows).round(2)
    label = (rng.random(rows) < np.clip(score + surplus, 0, 1)).astype(int)
    made = of_classes((score > 0.5).astype(int), label, score)
    return joined([made.predicted.tobytes(), made.labelled.tobytes()])


def reference(rng: np.random.Generator, windows: int = 60, sd: float = 0.0) -> list[Records]:
    return [window(rng, float(rng.normal(0, sd)) if sd else 0.0) for _ in range(windows)]


def fitted(windows: list[Records]) -> Calibrator:
    return Calibrator.fit(joined([one.tobytes() for one in windows]), (POSITIVE,))


def follow(
    calibrator: Calibrator, windows: list[Records], budget: float, usual: Wandering = NONE
) -> list[Verdict]:
    state, found = b"", []
    for at, one in enumerate(windows):
        verdict, state = watch_calibration(
            calibrator, usual, 24_000, one, state,
            start_ms=at * HOUR_MS, end_ms=(at + 1) * HOUR_MS, budget=budget, detector="edetector",
        )  # fmt: skip
        found.append(verdict)
    return found


def test_scores_that_mean_something_else_are_found_and_said() -> None:
    rng = np.random.default_rng(1)
    calibrator = fitted(reference(rng))
    found = follow(calibrator, [window(rng) for _ in range(20)] + [window(rng, 0.2) for _ in range(10)], 1e-4)
    drifted = [at for at, verdict in enumerate(found) if verdict.decision is Decision.DRIFT]
    assert len(drifted) == 1
    assert 20 <= drifted[0] <= 23
    assert "positive, where the same scores meant" in found[drifted[0]].explanation
    onset_ms = found[drifted[0]].onset_ms
    assert onset_ms is not None
    assert onset_ms >= 15 * HOUR_MS
    assert all(verdict.budget == 0 for verdict in found[drifted[0] + 1 :])  # open: nothing is spent


def test_alarms_stay_within_the_budget() -> None:
    rng = np.random.default_rng(2)
    budget, alarms = 0.002, 0
    for _ in range(10):
        calibrator = fitted(reference(rng, 30))
        found = follow(calibrator, [window(rng, rows=200) for _ in range(50)], budget)
        alarms += sum(verdict.decision is Decision.DRIFT for verdict in found)
    assert alarms <= 10 * 50 * budget + 3 * (10 * 50 * budget) ** 0.5


def test_days_that_differ_are_no_alarm_if_those_of_the_reference_did() -> None:
    rng = np.random.default_rng(3)
    learned = reference(rng, 60, sd=0.06)
    calibrator = fitted(learned)
    usual = wandering(calibrator, learned)
    assert usual.dispersion > 3
    assert wandering(calibrator, reference(rng)).dispersion < 2
    later = [window(rng, float(rng.normal(0, 0.06))) for _ in range(60)]
    assert not any(v.decision is Decision.DRIFT for v in follow(calibrator, later, 1e-3, usual))
    assert any(v.decision is Decision.DRIFT for v in follow(calibrator, later, 1e-3))


def test_an_alarm_is_settled_by_windows_without_evidence() -> None:
    rng = np.random.default_rng(4)
    calibrator = fitted(reference(rng))
    found = follow(calibrator, [window(rng, 0.25) for _ in range(3)] + [window(rng) for _ in range(8)], 1e-3)
    assert [v.decision for v in found[:3]].count(Decision.DRIFT) == 1
    assert found[-1].decision is Decision.OK
    assert found[-1].budget == pytest.approx(1e-3)


def test_a_window_without_labels_says_nothing() -> None:
    rng = np.random.default_rng(5)
    calibrator = fitted(reference(rng))
    (verdict,) = follow(calibrator, [window(rng)[:0]], 1e-4)
    assert (verdict.decision, verdict.n) == (Decision.NO_DATA, 0)
