"""One window on its own: its probability is never understated, whatever hangs together."""

import numpy as np
import pytest
from scipy import stats

from detectors.calibration import DAY_MS, calibrate
from detectors.single_windows import FEWEST_WINDOWS, SingleWindows
from detectors.surprise import log_surprise
from detectors.tensor import FloatArray
from detectors.tilts import AXIS, axis_directions, tilt_weights
from tests.benchmarks.bench_edetector import autoregressive, normal_shares
from tests.detectors.test_calibration import MONDAY_MS, reference_of


def surprise_of(x: FloatArray, p: FloatArray, *, is_ordered: bool, epsilon: float = 0.0) -> FloatArray:
    """Of windows ``[K, N]`` against shares ``[K]``."""
    shares = np.repeat(p[:, None], x.shape[1], axis=1)
    axis = axis_directions(shares, np.full(x.shape, is_ordered))
    weights = tilt_weights(np.ones(x.shape, bool), axis)
    radius = np.full((AXIS + len(p), x.shape[1]), epsilon)
    return log_surprise(x, shares, axis, weights, radius, SingleWindows.nothing(x.shape[1], AXIS + len(p)))


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.5])
@pytest.mark.parametrize("rows", [1, 20, 100, 1_000, 10_000])
def test_probabilities_of_binomial_counts_are_never_understated(rows, share):
    counts = np.arange(rows + 1.0)
    found = surprise_of(np.stack([counts, rows - counts]), np.array([share, 1 - share]), is_ordered=False)
    probability = stats.binom.pmf(counts, rows, share)
    for budget in (0.1, 1e-2, 1e-4, 1e-6, 1e-8):
        assert probability[found + np.log(budget) >= 0].sum() <= budget


@pytest.mark.parametrize("rows", [5, 50, 500])
def test_numeric_columns_spend_no_more_than_the_budget(rows):
    p = np.array([0.002, 0.008, 0.04, 0.05, *[0.1] * 8, 0.05, 0.04, 0.008, 0.002])
    windows = np.random.default_rng(rows).multinomial(rows, p, 200_000).T.astype(float)
    found = surprise_of(windows, p, is_ordered=True)
    for budget in (0.1, 1e-2, 1e-3):
        assert (found + np.log(budget) >= 0).mean() <= budget


def test_what_is_tolerated_is_no_surprise():
    p = np.full(4, 0.25)
    moved = np.array([[0.27, 0.25, 0.25, 0.23]]).T * 10**8
    twice = np.repeat(moved, 2, axis=1)
    assert (surprise_of(twice, p, is_ordered=True, epsilon=0.1) == -np.inf).all()
    assert (surprise_of(twice, p, is_ordered=True) > 100).all()


def test_no_rows_no_surprise():
    p = np.array([0.2, 0.8])
    found = surprise_of(np.array([[0.0, 1e8], [0.0, 0.0]]), p, is_ordered=False)
    assert found[0] == -np.inf
    assert np.isfinite(found[1])


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_a_level_that_wanders_has_the_variance_of_one_window(rho):
    generator = np.random.default_rng(3)
    levels = np.zeros((56, 2_000))
    levels[0] = generator.normal(0, 0.1, 2_000)
    for now, before in zip(levels[1:], levels[:-1], strict=True):
        now[:] = rho * before + np.sqrt(1 - rho**2) * generator.normal(0, 0.1, 2_000)
    means = levels + generator.normal(0, 1 / np.sqrt(1_000), levels.shape)
    centred = means - means.mean(axis=0)  # as the reference's own shares make them
    single = SingleWindows.learn(centred[..., None], np.full(levels.shape, 1_000.0))
    assert single.variance.mean() == pytest.approx(0.01, rel=0.05)
    assert np.median(single.learned) == pytest.approx(55 * (1 - rho**2) / (1 + rho**2), rel=0.35)
    assert 5 < np.median(single.freedom(np.full(2_000, 1e9))) < 12
    assert np.median(single.freedom(np.full(2_000, 10.0))) > 50  # chance is most of it, and known


def test_squares_of_a_level_reach_farther_than_the_level():
    levels = np.random.default_rng(4).normal(0, 1, (200, 500, 1))
    rows = np.full(levels.shape[:2], 1e9)
    plain = SingleWindows.learn(levels - levels.mean(axis=0), rows).freedom(rows[0])
    squares = levels**2
    squared = SingleWindows.learn(squares - squares.mean(axis=0), rows).freedom(rows[0])
    assert np.median(squared) < 5 < 10 < np.median(plain)


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_wandering_levels_spend_no_more_than_the_budget(rho):
    generator = np.random.default_rng(5)
    found, judged = [], 0
    for _ in range(10):
        levels = autoregressive(generator, 56 + 40, 20, 0.1, rho)
        counts = generator.multinomial(1_000, normal_shares(levels))
        calibration = calibrate(reference_of(counts[:56, None]))
        for number in range(56, 96):
            shares, known = calibration.at(MONDAY_MS + number * DAY_MS)
            p, x = shares.T.copy(), counts[number].T.astype(float)
            axis = axis_directions(p, np.ones(p.shape, bool))
            weights = tilt_weights(np.ones(p.shape, bool), axis)
            epsilon = calibration.variation.radius(known.sum(axis=1), np.full(len(shares), 0.03), 2.0)
            found.append(log_surprise(x, p, axis, weights, epsilon.T.copy(), calibration.variation.single))
            judged += len(shares)
    for budget in (0.1, 1e-2, 1e-3):
        assert (np.concatenate(found) + np.log(budget) >= 0).sum() <= budget * judged


def test_too_few_windows_teach_nothing_of_single_ones():
    few = np.ones((FEWEST_WINDOWS - 1, 2, 3))
    single = SingleWindows.learn(few, np.full(few.shape[:2], 10.0))
    assert not single.variance.any()
    assert np.isinf(single.learned).all()
