"""Bounds at all times: against numerical integrals, and never left more often than they say."""

import numpy as np
import pytest
from scipy import integrate

from detectors.confidence_sequence import gamma_boundary, normal_boundary, proportion, rows_until, tuned


@pytest.mark.parametrize(
    ("variance", "scale", "rho"), [(50.0, 2.0, 10.0), (3.0, 1.0, 4.0), (500.0, 20.0, 120.0)]
)
def test_the_gamma_mixture_is_the_integral_that_it_stands_for(variance, scale, rho):
    alpha, r = 0.05, rho / scale**2
    s = gamma_boundary(variance, scale, rho, alpha)

    def log_factor(x, s, v):
        return ((1 - x) * (scale * s + v) + v * np.log(x)) / scale**2

    def density(x):
        return x ** (r - 1) * np.exp(-r * x)

    mixed, _ = integrate.quad(lambda x: density(x) * np.exp(log_factor(x, s, variance)), 0, 1, epsrel=1e-9)
    norm, _ = integrate.quad(density, 0, 1, epsrel=1e-9)
    assert mixed / norm == pytest.approx(1 / alpha, rel=1e-4)


def test_boundaries_grow_with_variance_and_confidence():
    rho = tuned(100.0, 0.05)
    for boundary in (lambda v, a: gamma_boundary(v, 2.0, rho, a), lambda v, a: normal_boundary(v, rho, a)):
        found = [boundary(v, 0.05) for v in (0.0, 1.0, 100.0, 1e6, 1e9)]
        assert (np.diff(found) > 0).all()
        assert boundary(100.0, 0.001) > boundary(100.0, 0.05)


def test_a_proportion_is_left_out_at_any_time_no_more_often_than_allowed():
    generator = np.random.default_rng(1)
    looks, misses = np.unique(np.geomspace(1, 2_000, 25).astype(int)), 0
    for _ in range(300):
        trials = np.cumsum(generator.random(2_000) < 0.1)
        ends = np.array([proportion(float(trials[n - 1]), float(n), 0.1) for n in looks])
        misses += bool(((ends[:, 0] > 0.1) | (ends[:, 1] < 0.1)).any())
    assert misses <= 0.1 * 300


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (0, 5), (5, 5), (0, 10**9), (10**9, 10**9), (1, 10**9)])
def test_proportions_at_the_ends_are_finite(successes, n):
    low, high = proportion(float(successes), float(n), 0.05)
    assert 0 <= low <= (successes / n if n else 0) <= high <= 1


def test_rows_until_is_infinite_for_no_difference():
    assert rows_until(lambda n: 1 / n**0.5, 100.0, 0.0) == float("inf")
    assert rows_until(lambda _: 1.0, 100.0, 0.5) == float("inf")
    assert rows_until(lambda n: 1 / n**0.5, 100.0, 0.5) == 100.0
