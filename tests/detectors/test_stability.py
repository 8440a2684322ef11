"""The interval of the PSI holds the true value as often as it says."""

import numpy as np
import pytest
from scipy import stats

from detectors.stability import stability_index
from tests.detectors.layouts import nominal_layout

BASE = np.array([0.002, 0.008, 0.04, 0.05, *[0.1] * 8, 0.05, 0.04, 0.008, 0.002])
EDGES = stats.norm.ppf(np.cumsum(BASE)[:-1])
TRIALS = 4_000
TOLERANCE = 0.025  # four standard errors of the simulation are 0.02


def moved(shift: float, scale: float = 1.0) -> np.ndarray:
    return np.diff([0.0, *stats.norm.cdf((EDGES - shift) / scale), 1.0])


SHIFTS = {
    "none": (BASE, BASE),
    "0.1 sd": (BASE, moved(0.1)),
    "0.2 sd": (BASE, moved(0.2)),
    "0.5 sd": (BASE, moved(0.5)),
    "1 sd": (BASE, moved(1.0)),
    "scale 1.3": (BASE, moved(0, 1.3)),
    "scale 1.6": (BASE, moved(0, 1.6)),
    "even bins": (np.full(5, 0.2), np.array([0.1, 0.15, 0.2, 0.25, 0.3])),
    "two bins": (np.array([0.9, 0.1]), np.array([0.8, 0.2])),
    "rare bin": (np.array([0.99, 0.01]), np.array([0.9, 0.1])),
}


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize(("n", "m"), [(200, 10_000), (1_000, 100_000), (10_000, 10_000)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_interval_covers_the_true_index(shift, n, m, level):
    p, q = SHIFTS[shift]
    generator = np.random.default_rng(11)
    reference, window = (
        generator.multinomial(rows, shares, (TRIALS, 1)) for rows, shares in ((m, p), (n, q))
    )
    index = stability_index(reference, window, nominal_layout(len(p)), level, 1.0)
    true = ((q - p) * np.log(q / p)).sum()
    assert np.mean((index.low <= true) & (true <= index.high)) >= level - TOLERANCE
    assert np.mean(index.low > true) <= (1 - level) / 2 + TOLERANCE


def test_interval_widens_with_dispersion():
    generator = np.random.default_rng(12)
    p, q = SHIFTS["0.2 sd"]
    reference, window = (
        generator.multinomial(50_000, p, (TRIALS, 1)),
        4 * generator.multinomial(500, q, (TRIALS, 1)),
    )
    index = stability_index(reference, window, nominal_layout(len(p)), 0.9, 4.0)
    true = ((q - p) * np.log(q / p)).sum()
    assert np.mean((index.low <= true) & (true <= index.high)) >= 0.9 - TOLERANCE


def test_debiased_index_is_right_on_average():
    generator = np.random.default_rng(13)
    p, q = SHIFTS["0.5 sd"]
    reference, window = (
        generator.multinomial(rows, shares, (TRIALS, 1)) for rows, shares in ((10_000, p), (500, q))
    )
    index = stability_index(reference, window, nominal_layout(len(p)), 0.9, 1.0)
    true = ((q - p) * np.log(q / p)).sum()
    assert abs(index.debiased.mean() - true) < 0.04 * true
    assert index.psi.mean() > 1.08 * true
