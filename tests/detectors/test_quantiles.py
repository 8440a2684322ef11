"""Quantile sketches of sorted values: as good as feeding the values one by one."""

import numpy as np
import pytest
from datasketches import kll_floats_sketch

from detectors.quantiles import MANY, K, add_sorted

SHARES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]


def worst_rank_error(sketch: kll_floats_sketch, values: np.ndarray) -> float:
    found = np.array(sketch.get_quantiles(SHARES))
    low = np.searchsorted(np.sort(values), found, side="left") / len(values)
    high = np.searchsorted(np.sort(values), found, side="right") / len(values)
    wanted = np.array(SHARES)
    return float(np.maximum(np.maximum(low - wanted, wanted - high), 0).max())


@pytest.mark.parametrize(
    "size", [1, 255, MANY - 1, MANY, MANY + 1, 4_095, 10_000, 16_383, 16_384, 65_536, 1_000_003]
)
def test_size_and_extremes_are_exact_and_quantiles_close(size: int) -> None:
    values = np.sort(np.random.default_rng(size).normal(size=size).astype(np.float32))
    sketch = kll_floats_sketch(K)
    add_sorted(sketch, values)
    assert (sketch.n, sketch.get_min_value(), sketch.get_max_value()) == (size, values[0], values[-1])
    assert worst_rank_error(sketch, values) < 0.03


@pytest.mark.parametrize("seed", range(10))
def test_batches_of_all_sizes_from_different_distributions_weigh_what_they_hold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    batches = [
        np.sort(rng.normal(rng.uniform(-5, 5), 1, size).astype(np.float32))
        for size in rng.integers(1, 20_000, 30)
    ]
    sketch = kll_floats_sketch(K)
    for batch in batches:
        add_sorted(sketch, batch)
    everything = np.concatenate(batches)
    assert sketch.n == len(everything)
    assert worst_rank_error(sketch, everything) < 0.04


def test_a_sketch_stays_small_and_survives_its_bytes() -> None:
    rng = np.random.default_rng(1)
    sketch = kll_floats_sketch(K)
    for _ in range(200):
        add_sorted(sketch, np.sort(rng.exponential(size=9_999).astype(np.float32)))
    data = sketch.serialize()
    assert len(data) < 3_000
    assert kll_floats_sketch.deserialize(data).get_quantiles(SHARES) == sketch.get_quantiles(SHARES)


@pytest.mark.parametrize("size", range(MANY, 40_000, 1_237))
def test_every_size_finds_room(size: int) -> None:
    sketch = kll_floats_sketch(K)
    add_sorted(sketch, np.arange(size, dtype=np.float32))
    assert sketch.n == size
    assert kll_floats_sketch.deserialize(sketch.serialize()).n == size


def test_values_that_are_all_equal_stay_so() -> None:
    sketch = kll_floats_sketch(K)
    add_sorted(sketch, np.full(5_000, 7.5, np.float32))
    assert set(sketch.get_quantiles(SHARES)) == {7.5}
