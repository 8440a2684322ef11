"""Values of a segment that are treated more differently than allowed: an incident of its own kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

from tests.monitor.outcome_world import LEARNED, OutcomeWorld, at

FAIRNESS = {"segments": ["origin"], "limits": {"calibration": 0.3}, "limit": 0.2}
Outputs = Callable[[np.random.Generator], tuple[dict[str, Any], Any]]


def outputs(apart: float) -> Outputs:
    """Every second prediction, of one origin, is less often positive than the other's."""
    turn = count()

    def draw(rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
        score = float(rng.beta(2, 2))
        is_second = next(turn) % 2
        predicted = int(score > (0.5 + apart if is_second else 0.5))
        return {"prediction": predicted, "score": score}, int(rng.random() < score)

    return draw


@pytest.fixture
def world(tmp_path: Any) -> Iterator[OutcomeWorld]:
    found = OutcomeWorld(f"sqlite:///{tmp_path / 'd.db'}", fairness=FAIRNESS, task="binary_classification")
    yield found
    found.close()


def test_an_incident_of_its_own_that_ends_and_is_reproduced(world: OutcomeWorld) -> None:
    world.send(0, LEARNED + 30, per_minute=40, labelled=1.0, outputs=outputs(0.0))
    world.send(LEARNED + 30, 30, per_minute=40, labelled=1.0, outputs=outputs(0.35))
    world.send(LEARNED + 60, 50, per_minute=40, labelled=1.0, outputs=outputs(0.0))
    world.beat(LEARNED + 130)
    world.sweep()
    minutes = range(LEARNED, LEARNED + 110, 10)
    decisions = {
        measure: [world.decision(minute, f"fairness.origin.{measure}") for minute in minutes]
        for measure in ("demographic_parity", "equal_opportunity", "equalised_odds", "calibration")
    }
    assert decisions["calibration"] == ["ok"] * 11
    assert decisions["demographic_parity"][:3] == ["ok"] * 3
    assert "drift" in decisions["demographic_parity"][3:6]
    assert decisions["demographic_parity"][6:] == ["ok"] * 5
    assert world.alerts("fairness") == [("performance", "warn", "resolved")]
    ((summary,),) = world.rows("SELECT summary FROM alert WHERE kind = 'fairness'")
    assert "values of origin are treated more differently than allowed" in summary
    assert "where origin=EWR" in summary
    ((judgement_id,),) = world.rows(
        "SELECT judgement_id FROM result WHERE \"column\" = 'fairness.origin.demographic_parity' "
        "AND decision = 'drift'"
    )
    again = world.outcomes.recompute(judgement_id)
    stored = world.rows(
        f'SELECT "column", segment, evidence_log, budget, decision, explanation FROM result '
        f"WHERE judgement_id = {judgement_id}"
    )
    names = ("column", "segment", "evidence_log", "budget", "decision", "explanation")
    assert {tuple(row[name] for name in names) for row in again.rows} == set(stored)


def test_disparities_are_measures_of_every_window(world: OutcomeWorld) -> None:
    world.send(0, LEARNED + 10, per_minute=40, labelled=1.0, outputs=outputs(0.35))
    world.beat(LEARNED + 40)
    world.sweep()
    found = world.rows(
        "SELECT metric, value, low, high, n FROM performance_value "
        f"WHERE metric LIKE 'fairness.%' AND start_ms = {at(LEARNED)} ORDER BY metric"
    )
    assert [row[0] for row in found] == [
        f"fairness.origin.{name}"
        for name in ("calibration", "demographic_parity", "equal_opportunity", "equalised_odds")
    ]
    for _, value, low, high, n in found:
        assert 0 <= low <= value <= high
        assert n == 400
    rates = world.rows(
        "SELECT value FROM performance_value WHERE metric = 'fairness.origin.demographic_parity' "
        f"AND start_ms = {at(LEARNED)}"
    )
    # P(score > ½) = .5, P(score > .85) = .061 under a beta distribution (2, 2)
    assert rates[0][0] == pytest.approx(0.44, abs=0.08)


def test_streams_of_fairness_share_the_budget_of_performance(world: OutcomeWorld) -> None:
    world.send(0, LEARNED + 10, per_minute=40, labelled=1.0, outputs=outputs(0.0))
    world.beat(LEARNED + 40)
    world.sweep()
    budgets = dict(
        world.rows(
            "SELECT \"column\", budget FROM result WHERE segment = '' AND lane = 'performance' "
            "AND budget IS NOT NULL"
        )
    )
    assert set(budgets) == {
        "performance.error",
        "performance.calibration",
        *(
            f"fairness.origin.{name}"
            for name in ("calibration", "demographic_parity", "equal_opportunity", "equalised_odds")
        ),
    }
    assert len({round(value, 15) for value in budgets.values()}) == 1
