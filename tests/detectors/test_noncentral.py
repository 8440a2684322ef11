"""The tabulated noncentrality against scipy's distribution function."""

import numpy as np
import pytest
from scipy import stats

from detectors.noncentral import noncentrality

ABOVE = np.exp(np.random.default_rng(1).uniform(-12, 12, 200))


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 15, 30, 100, 500])
@pytest.mark.parametrize("probability", [0.05, 0.95])
def test_ninety_percent_limits_are_exact_to_one_in_a_hundred_thousand(degrees, probability):
    statistic = stats.chi2.ppf(probability, degrees) + ABOVE
    limit = noncentrality(statistic, np.array(degrees), probability)
    assert np.all(limit > 0)
    assert abs(stats.ncx2.cdf(statistic, degrees, limit) - probability).max() < 1e-5


@pytest.mark.parametrize(("degrees", "error"), [(1, 2e-3), (2, 1e-5), (20, 1e-5), (200, 1e-5)])
@pytest.mark.parametrize("probability", [0.005, 0.025, 0.5, 0.975, 0.995])
def test_other_levels(degrees, error, probability):
    statistic = stats.chi2.ppf(probability, degrees) + ABOVE
    limit = noncentrality(statistic, np.array(degrees), probability)
    assert abs(stats.ncx2.cdf(statistic, degrees, limit) - probability).max() < error


def test_limits_are_zero_where_even_zero_is_too_much():
    assert noncentrality(np.array([0.0, 3.0, 16.9]), np.array(9), 0.95).tolist() == [0, 0, 0]
    assert noncentrality(np.array([0.0, 3.3]), np.array(9), 0.05).tolist() == [0, 0]
    assert noncentrality(np.array([0.0, 5.0]), np.array(0), 0.05).tolist() == [0, 0]


def test_far_out_it_is_the_normal_limit():
    limit = noncentrality(np.array([1e8, 1e16]), np.array(15), 0.05)
    assert np.allclose((limit - [1e8, 1e16]) / (2 * np.sqrt([1e8, 1e16])), 1.6449, atol=1e-3)


def test_degrees_and_statistics_are_broadcast():
    statistic = np.array([[10.0, 20.0], [30.0, 40.0]])
    limits = noncentrality(statistic, np.array([3, 9]), 0.95)
    alone = [
        [noncentrality(statistic[i, j], np.array(d), 0.95).item() for j, d in enumerate((3, 9))]
        for i in (0, 1)
    ]
    assert limits.tolist() == alone


def test_limits_rise_with_the_statistic():
    statistic = np.linspace(0, 500, 20_000)
    for probability in (0.05, 0.95):
        for degrees in (1, 4, 23):
            assert np.all(np.diff(noncentrality(statistic, np.array(degrees), probability)) >= 0)
