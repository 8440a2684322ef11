"""The error of predicted numbers without labels: by prediction, by segment, with intervals that hold."""

import numpy as np
import pytest

from detectors.conformal import held_out
from detectors.expected_loss import BINS, ExpectedLoss, estimate_loss, judge_numbers, realised_loss
from detectors.outcomes import RECORD, Family
from tests.detectors.outcome_rows import of_numbers


def rows_of(generator, n, *, scale=1.0, segments=None, noise=1.0):
    """Errors that grow with the prediction."""
    predicted = generator.gamma(2.0, 10 * scale, n)
    return of_numbers(
        predicted, predicted + generator.normal(0, 1 + predicted / 10) * noise, segments=segments
    )


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_intervals_hold_while_predictions_shift(scale):
    generator = np.random.default_rng(1)
    held = []
    for _ in range(200):
        model = ExpectedLoss.fit(rows_of(generator, 3_000).labelled)
        window = rows_of(generator, 500, scale=scale)
        guess, truth = estimate_loss(model, window.predicted), realised_loss(window.labelled)
        held.append([guess[m].low <= (truth[m] or 0.0) <= guess[m].high for m in ("mae", "rmse")])
    assert np.mean(held, axis=0) == pytest.approx([0.9, 0.9], abs=0.09)


def test_realised_loss_is_that_of_the_rows():
    found = realised_loss(of_numbers([1.0, 2.0, -3.0], [4.0, 2.0, 1.0]).labelled)
    assert found["mae"] == pytest.approx(7 / 3, rel=1e-6)
    assert found["rmse"] == pytest.approx((25 / 3) ** 0.5, rel=1e-6)


def test_labels_are_not_looked_at():
    rows = rows_of(np.random.default_rng(2), 800)
    model = ExpectedLoss.fit(rows.labelled)
    assert estimate_loss(model, rows.predicted) == estimate_loss(model, rows.labelled, family=Family.RESIDUAL)


def test_bins_are_at_most_64_and_hold_30_rows():
    generator = np.random.default_rng(3)
    assert len(ExpectedLoss.fit(rows_of(generator, 40_000).labelled).first) <= BINS
    assert 1 <= len(ExpectedLoss.fit(rows_of(generator, 100).labelled).first) <= 3


def by_column(generator, n, share):
    """A column that errors depend on, and one that they do not."""
    segments = np.stack((np.where(generator.random(n) < share, 1, 2), generator.integers(3, 6, n)), axis=1)
    predicted = generator.gamma(2.0, 10, n)
    label = predicted + generator.normal(0, np.where(segments[:, 0] == 1, 1.0, 4.0))
    return of_numbers(predicted, label, segments=segments)


def test_columns_tell_of_a_change_that_predictions_do_not_show():
    generator = np.random.default_rng(4)
    reference, window = by_column(generator, 30_000, 0.5), by_column(generator, 10_000, 0.9)
    model = ExpectedLoss.fit(reference.labelled, columns=[[1, 2], [3, 4, 5]])
    truth = realised_loss(window.labelled)
    plain, told = (estimate_loss(model, window.predicted, with_columns=x) for x in (False, True))
    for metric in ("mae", "rmse"):
        assert plain[metric].value > 1.2 * (truth[metric] or np.inf)
        assert told[metric].value == pytest.approx(truth[metric], rel=0.04)
    for segment in (1, 2):
        of_segment = realised_loss(window.labelled, segment=segment)["mae"]
        guess = estimate_loss(model, window.predicted, segment=segment)["mae"]
        assert guess.value == pytest.approx(of_segment, rel=0.05)


def test_nothing_gives_none():
    nothing = np.zeros(0, RECORD)
    rows = rows_of(np.random.default_rng(5), 50)
    assert estimate_loss(ExpectedLoss.fit(rows.labelled), nothing) == {"mae": None, "rmse": None}
    assert estimate_loss(ExpectedLoss.fit(nothing), rows.predicted) == {"mae": None, "rmse": None}
    assert realised_loss(nothing) == {"mae": None, "rmse": None}


@pytest.mark.parametrize("values", [np.zeros(20), np.full(20, 1e150), np.array([-1e9, 0.0, 1e-300, 5.0])])
def test_constant_and_extreme_predictions_are_finite(values):
    rows = of_numbers(values, values, segments=np.ones((len(values), 1)))
    model = ExpectedLoss.fit(rows.labelled, columns=[[1]])
    for one in estimate_loss(model, rows.predicted, with_columns=True).values():
        assert (one.value, one.variance, one.n) == (0.0, 0.0, len(values))


def test_each_window_of_a_reference_is_judged_by_the_others():
    generator = np.random.default_rng(6)
    windows = [rows_of(generator, 400).labelled for _ in range(30)]
    scores = held_out(windows, judge_numbers())
    assert all(len(x) == 30 and 0.5 < x.std() < 1.6 for x in scores.values())


@pytest.mark.parametrize("value", [1e200, -1.7e308])
def test_errors_beyond_all_measure_stay_finite(value):
    rows = of_numbers([value] * 3, [0.0] * 3)
    found = realised_loss(rows.labelled), estimate_loss(ExpectedLoss.fit(rows.labelled), rows.predicted)
    assert np.isfinite([x or 0.0 for x in found[0].values()]).all()
    assert all(np.isfinite([one.value, one.variance, one.high]).all() for one in found[1].values())
