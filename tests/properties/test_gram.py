"""Gram matrices: any split of the rows, any order of merging, stored or not: the same bits."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.binning import Binning, NumericBins
from detectors.gram import Gram, NormalScores
from schemas.column import ColumnSpec, Kind
from schemas.errors import ProfileError

BINS = NumericBins((-1.0, 0.0, 1.0), -2.0, 2.0)
PARTS = ("both", "sums", "products", "squares")


def rows_of(seed: int, columns: int, n: int, missing: float) -> tuple[np.ndarray, NormalScores]:
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, 4, (columns, n))
    codes = np.where(generator.random(codes.shape) < missing, generator.integers(4, 6, codes.shape), codes)
    binning = Binning(tuple(ColumnSpec(f"x{i}", Kind.NUMERIC) for i in range(columns)), (BINS,) * columns)
    counts = np.tile([1, 5, 3, 2, 0, 0], columns)
    return codes + 6 * np.arange(columns)[:, None], NormalScores.of(binning, counts)


def gram_of(codes: np.ndarray, scores: NormalScores) -> Gram:
    gram = Gram(scores)
    gram.add(codes)
    return gram


@given(
    st.integers(0, 999),
    st.sampled_from([1, 3, 7]),
    st.integers(0, 60),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.lists(st.integers(0, 60), max_size=4),
    st.randoms(use_true_random=False),
)
def test_any_split_and_any_order_give_the_same_bytes(seed, columns, n, missing, cuts, order):
    codes, scores = rows_of(seed, columns, n, missing)
    whole = gram_of(codes, scores)
    bounds = [0, *sorted(min(cut, n) for cut in cuts), n]
    parts = [gram_of(codes[:, a:b], scores) for a, b in pairwise(bounds)]
    order.shuffle(parts)
    parts = [Gram.from_bytes(part.to_bytes(), scores) if order.random() < 0.5 else part for part in parts]
    merged = Gram(scores)
    merged.merge(*parts)
    one_by_one = Gram(scores)
    for row in range(n):
        one_by_one.add(codes[:, row : row + 1])
    for other in (merged, one_by_one):
        assert other.rows == n
        assert all(np.array_equal(getattr(other, part), getattr(whole, part)) for part in PARTS)
        assert other.to_bytes() == whole.to_bytes()


@settings(max_examples=3)
@given(st.integers(0, 99))
def test_blocks_and_long_batches_are_exact_too(seed):
    codes, scores = rows_of(seed, 131, 2_500, 0.1)
    whole = gram_of(codes, scores)
    parts = [gram_of(codes[:, a:b], scores) for a, b in pairwise((0, 7, 2_100, 2_500))]
    parts[2].merge(parts[0], parts[1])
    assert parts[2].to_bytes() == whole.to_bytes()
    again = Gram.from_bytes(whole.to_bytes(), scores)
    assert all(np.array_equal(getattr(again, part), getattr(whole, part)) for part in PARTS)


@given(st.integers(0, 999), st.integers(0, 10_000), st.integers(1, 255))
def test_damaged_bytes_are_refused(seed, at, flip):
    codes, scores = rows_of(seed, 3, 20, 0.2)
    data = gram_of(codes, scores).to_bytes()
    at %= len(data)
    for bad in (data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :], data[:at]):
        with pytest.raises(ProfileError):
            Gram.from_bytes(bad, scores)
