"""Evidence of differences between groups: never more than it may be, whatever the groups' means are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from detectors.disparity import ALTERNATIVES, MEMORIES, Values, disparity_evidence, pairs

BOTH = np.array([True, True])
share = st.integers(0, 10**6).map(lambda x: x / 10**6)


def remembered(*means: float, rows: float = 100.0) -> np.ndarray:
    """Memory of rates."""
    one = np.array([[rows, rows * mean, rows * mean] for mean in means])
    return np.stack([one] * MEMORIES)


def expectation(n: int, k: int, p: float, q: float, memory: np.ndarray, limit: float) -> np.ndarray:
    """Exact expectation of each e-value of the pair (first, second) when rates are p and q."""
    total = np.zeros(ALTERNATIVES)
    for i in range(n + 1):
        for j in range(k + 1):
            window = Values(np.array([0.0, 1.0]), np.array([[n - i, i], [k - j, j]], float))
            log = disparity_evidence(window, memory, limit, BOTH, is_rate=True)[0]
            total += np.exp(log) * stats.binom.pmf(i, n, p) * stats.binom.pmf(j, k, q)
    return total


@given(
    n=st.integers(1, 5),
    k=st.integers(1, 5),
    q=share,
    limit=st.floats(0, 0.6),
    inside=share,
    memory=st.tuples(share, share),
)
def test_expectations_are_at_most_1_for_all_rates_within_the_limit(n, k, q, limit, inside, memory):
    p = min(1.0, q + limit) * inside  # anything from 0 to the edge
    found = expectation(n, k, p, q, remembered(*memory), limit)
    assert found.max() <= 1 + 1e-9


@given(seed=st.integers(0, 10**6), limit=st.floats(0, 0.5))
def test_expectations_are_at_most_1_for_values_that_are_no_rates(seed, limit):
    """Each row of a group has two values, as a label less its score has; groups may mix them as they like."""
    rng = np.random.default_rng(seed)
    at = np.concatenate((-(s := rng.random(3)), 1 - s))
    rows = rng.integers(0, 3, (2, 3))
    p = rng.random((2, 3))
    means = [(rows[g] * (p[g] - s)).sum() / max(rows[g].sum(), 1) for g in (0, 1)]
    limit = max(limit, min(means[0] - means[1], 0.99))
    if not rows.any(axis=1).all() or means[0] - means[1] > limit + 1e-12:
        return
    sums = np.stack([[n, n * m, n * (m * m + 0.1)] for n, m in zip(rows.sum(axis=1), means, strict=True)])
    memory = np.stack([sums] * MEMORIES)
    total = np.zeros(ALTERNATIVES)
    hits = [range(n + 1) for n in rows.ravel()]
    for drawn in np.stack(np.meshgrid(*hits, indexing="ij"), axis=-1).reshape(-1, 6):
        good = drawn.reshape(2, 3)
        values = Values(at, np.concatenate((rows - good, good), axis=1).astype(float))
        chance = stats.binom.pmf(good, rows, p).prod()
        log = disparity_evidence(values, memory, limit, BOTH, is_rate=False)[0]
        total += np.exp(log) * chance
    assert total.max() <= 1 + 1e-9


def test_evidence_is_growth_optimal_for_equal_groups_with_a_memory_that_is_right():
    """Against .5 and .3 with .1 allowed, rates .45 and .35 are the nearest within it (Turner et al.)."""
    n = 1_000
    window = Values(np.array([0.0, 1.0]), np.array([[0.5 * n, 0.5 * n], [0.7 * n, 0.3 * n]]))
    found = disparity_evidence(window, remembered(0.5, 0.3), 0.1, BOTH, is_rate=True)[0].max()
    best = min(
        n * (stats.entropy([0.5, 0.5], [m, 1 - m]) + stats.entropy([0.3, 0.7], [m - 0.1, 1.1 - m]))
        for m in np.linspace(0.3, 0.6, 3_001)
    )
    assert found == pytest.approx(best, rel=0.05)
    assert found <= best + 1e-6


def test_more_rows_within_the_limit_never_speak_for_a_difference():
    for n in (10, 1_000, 100_000):
        window = Values(np.array([0.0, 1.0]), np.array([[0.4 * n, 0.6 * n], [0.5 * n, 0.5 * n]]))
        found = disparity_evidence(window, remembered(0.6, 0.5), 0.1, BOTH, is_rate=True)
        assert found.max() < 0


def test_groups_that_are_not_watched_and_empty_groups_have_no_evidence():
    window = Values(np.array([0.0, 1.0]), np.array([[0.0, 9], [9, 0], [0, 0]]))
    found = disparity_evidence(
        window, remembered(0.9, 0.1, 0.0, rows=0.0), 0.1, np.array([True, True, False]), is_rate=True
    )
    assert np.isfinite(found).all()
    with_third = (pairs(3) == 2).any(axis=1)
    assert not found[with_third].any()
    assert found[~with_third].any()
