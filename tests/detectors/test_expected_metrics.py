"""Metrics of classes: the textbook's values from counts, and the right derivatives."""

import numpy as np
import pytest
from scipy import stats

from detectors.expected_metrics import BINARY, Rows
from detectors.score_curve import PLACES


@pytest.fixture
def rows():
    generator = np.random.default_rng(3)
    place = np.sort(generator.choice(np.arange(1, PLACES), 40, replace=False))
    return Rows(
        generator.integers(1, 30, 40).astype(float), place > 180, place, generator.random((2, 2, PLACES))
    )


def unscored(rows, n=None):
    return Rows(
        rows.n if n is None else np.full(len(rows.n), n),
        rows.is_positive,
        np.zeros_like(rows.place),
        rows.losses,
    )


@pytest.mark.parametrize("name", BINARY)
def test_gradients_are_what_a_small_change_gives(name, rows):
    y = rows.n * np.linspace(0.1, 0.8, len(rows.n))
    gradient, step = BINARY[name](rows, y).gradient, 1e-5
    for i in (0, 7, 39):
        change = step * (np.arange(len(y)) == i)
        slope = (BINARY[name](rows, y + change).value - BINARY[name](rows, y - change).value) / (2 * step)
        assert gradient[i] == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_values_are_those_of_the_textbook(rows):
    y = np.floor(rows.n * np.linspace(0.1, 0.8, len(rows.n)))
    n, positive = rows.n.astype(int), y.astype(int)
    truth = np.concatenate([np.repeat([1, 0], [p, a - p]) for a, p in zip(n, positive, strict=True)])
    place, predicted = np.repeat(rows.place, n), np.repeat(rows.is_positive, n)
    right = (truth * predicted).sum()
    u = stats.mannwhitneyu(place[truth == 1], place[truth == 0]).statistic
    wanted = {
        "accuracy": (truth == predicted).mean(),
        "precision": right / predicted.sum(),
        "recall": right / truth.sum(),
        "f1": 2 * right / (predicted.sum() + truth.sum()),
        "roc_auc": u / truth.sum() / (1 - truth).sum(),
        "brier": rows.losses[0, truth, place].mean(),
        "log_loss": rows.losses[1, truth, place].mean(),
    }
    assert {name: metric(rows, y).value for name, metric in BINARY.items()} == pytest.approx(wanted)


def test_what_is_not_defined_is_none(rows):
    nothing = unscored(rows, n=0.0)
    assert all(metric(nothing, nothing.n) is None for metric in BINARY.values())
    one_class = {name: metric(rows, np.zeros_like(rows.n)) for name, metric in BINARY.items()}
    assert [name for name, value in one_class.items() if value is None] == ["recall", "roc_auc"]
    without_scores = {name: metric(unscored(rows), rows.n / 2) for name, metric in BINARY.items()}
    assert [name for name, value in without_scores.items() if value is None] == [
        "roc_auc",
        "brier",
        "log_loss",
    ]
