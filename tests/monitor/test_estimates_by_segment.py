"""Estimates look at the mix of segment columns where the reference says that it helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detectors.outcome_reference import OutcomeReference
from detectors.outcomes import EVERYTHING, Records, joined
from monitor.performance.estimates import FEWEST_WINDOWS, Worth
from tests.detectors.outcome_rows import Outcomes, of_classes, of_numbers

NAMES = {1: "site=a", 2: "site=b"}
WINDOWS, HOUR_MS = 24, 3_600_000


def numbers(rng: np.random.Generator, share_b: float, *, worse: float = 4.0, n: int = 800) -> Outcomes:
    """Predictions that say nothing of the site, where residuals are `worse` times as large in b."""
    is_b = rng.random(n) < share_b
    predicted = rng.normal(50, 5, n)
    residual = rng.normal(0, 1, n) * np.where(is_b, worse, 1.0)
    return of_numbers(predicted, predicted - residual, segments=(is_b + 1)[:, None])


def classes(rng: np.random.Generator, share_b: float, n: int = 800) -> Outcomes:
    """Scores that are worth less in b."""
    is_b, score = rng.random(n) < share_b, rng.beta(2, 2, n)
    label = rng.random(n) < np.where(is_b, 0.5 + 0.2 * (score - 0.5), score)
    return of_classes(score > 0.5, label, score, segments=(is_b + 1)[:, None])


def reference(windows: list[Outcomes], **options: Any) -> OutcomeReference:
    records = {
        at * HOUR_MS: joined([one.predicted.tobytes(), one.labelled.tobytes()])
        for at, one in enumerate(windows)
    }
    span: dict[str, Any] = {"from_ms": 0, "to_ms": len(windows) * HOUR_MS, "window_ms": HOUR_MS, "age": 10}
    return OutcomeReference.build(records, NAMES, **span, **options)


def true_mae(one: Outcomes) -> float:
    """Mean absolute residual of the labels."""
    known: Records = one.labelled[one.labelled["segment"] == EVERYTHING]
    worth = Worth(reference([one]))
    found = worth.truth(known)["mae"]
    assert found is not None
    return found


def test_a_mix_that_changes_is_seen_before_labels_come() -> None:
    rng = np.random.default_rng(1)
    mixes = rng.uniform(0.1, 0.5, WINDOWS)
    worth = Worth(reference([numbers(rng, mix) for mix in mixes]))
    assert [sorted(column) for column in worth.columns] == [[1, 2]]
    now = numbers(rng, 0.9, n=4_000)
    assert worth.guess(now.predicted, EVERYTHING)["mae"].value == pytest.approx(true_mae(now), rel=0.1)
    change = worth.split(now.labelled, "mae")
    assert change is not None
    assert change.covariate.low > 0.8 * change.total.value
    assert abs(change.concept.value) < 0.1 * change.total.value
    assert change.covariate.value + change.concept.value == pytest.approx(change.total.value)


def test_classes_too() -> None:
    rng = np.random.default_rng(2)
    mixes = rng.uniform(0.1, 0.6, WINDOWS)
    worth = Worth(reference([classes(rng, mix, 3_000) for mix in mixes], positive=(12,)))
    assert worth.columns
    now = classes(rng, 0.95, 20_000)
    truth = worth.truth(joined([now.predicted.tobytes(), now.labelled.tobytes()]))["accuracy"]
    by_segment = worth.guess(now.predicted, EVERYTHING)["accuracy"]
    alone = Worth(reference([classes(rng, mix, 3_000) for mix in mixes], positive=(12,)))
    alone.__dict__["columns"] = ()
    by_score = alone.guess(now.predicted, EVERYTHING)["accuracy"]
    assert truth is not None
    assert abs(by_segment.value - truth) < 0.4 * abs(by_score.value - truth)


def test_columns_that_do_not_help_are_left_alone() -> None:
    rng = np.random.default_rng(3)
    worth = Worth(reference([numbers(rng, 0.3, worse=1.0) for _ in range(WINDOWS)]))
    assert worth.columns == ()
    few = Worth(reference([numbers(rng, mix) for mix in np.linspace(0.1, 0.9, FEWEST_WINDOWS - 1)]))
    assert few.columns == ()


def test_bands_begin_with_how_far_off_the_chosen_way_was() -> None:
    rng = np.random.default_rng(4)
    worth = Worth(reference([numbers(rng, mix) for mix in rng.uniform(0.1, 0.9, WINDOWS)]))
    assert worth.columns
    assert len(worth.scores["mae"]) == WINDOWS
    assert np.abs(worth.scores["mae"]).mean() < 2.0
