"""Cells: exact, minimal, and the same for any split and order."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.binning import NumericBins, categorical_bins, numeric_bins, rebin
from detectors.cells import LIMIT, Cells, float_keys, keys_to_floats
from schemas.batch import INVALID, OK

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.lists(FINITE, max_size=50)
SPREADS = ("few", "normal", "wide", "huge")


def many(seed: int, spread: str, n: int) -> np.ndarray:
    """Values with more distinct ones than there are cells, mostly."""
    rng = np.random.default_rng(seed)
    if spread == "few":
        return rng.integers(-20, 20, n).astype(float)
    if spread == "normal":
        return rng.normal(100, 10, n)
    if spread == "wide":
        return rng.normal(0, 1, n) * 10.0 ** rng.integers(-300, 300, n)
    return rng.uniform(-1, 1, n) * 1.7e308


def count(values: np.ndarray, group: np.ndarray | None = None, size: int = 1, floor: int = 0) -> Cells:
    """Count valid values."""
    groups = () if group is None else (group.astype(np.int32),)
    return Cells.count_keys(float_keys(values), np.zeros(len(values), np.uint8), groups, size, floor)


def same(a: Cells, b: Cells) -> bool:
    """Whether every number is the same."""
    return a.shift == b.shift and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("group", "cell", "count", "invalid")
    )


@given(VALUES)
def test_keys_keep_the_order_of_floats_and_turn_back(values: list[float]) -> None:
    array = np.array(values)
    keys = float_keys(array)
    assert np.array_equal(keys_to_floats(keys), array)
    assert [bool(a < b) for a in keys for b in keys] == [a < b for a in values for b in values]
    assert [bool(a == b) for a in keys for b in keys] == [a == b for a in values for b in values]


@given(VALUES, st.lists(st.integers(1, 3), min_size=50, max_size=50))
def test_a_few_values_are_counted_each_for_itself(values: list[float], groups: list[int]) -> None:
    cells = count(np.array(values), np.array(groups[: len(values)], np.int32), 4)
    assert cells.shift == 0
    for group in range(4):
        wanted = Counter(v + 0.0 for v, g in zip(values, groups, strict=False) if group in (0, g))
        keys, counts = cells.of_group(group)
        assert Counter(dict(zip(keys_to_floats(keys).tolist(), counts.tolist(), strict=True))) == wanted


@given(
    st.integers(0, 99), st.sampled_from(SPREADS), st.lists(st.integers(0, 3_000), max_size=4), st.randoms()
)
def test_any_split_and_any_order_of_merging_give_the_same_cells(
    seed: int, spread: str, cuts: list[int], order: object
) -> None:
    values = many(seed, spread, 3_000)
    group = np.random.default_rng(seed).integers(1, 4, 3_000)
    whole = count(values, group, 4)
    bounds = [0, *sorted(cuts), 3_000]
    parts = [count(values[a:b], group[a:b], 4) for a, b in pairwise(bounds)]
    order.shuffle(parts)  # type: ignore[attr-defined]
    at_once = parts[0].merge(*((part, None) for part in parts[1:]))
    assert same(at_once, whole)
    one_by_one = Cells.empty()
    for part in parts:
        one_by_one = one_by_one.merge((part, None))
    assert same(one_by_one, whole)
    assert same(count(values, group, 4, floor=max(part.shift for part in parts)), whole)


@given(st.integers(0, 99), st.sampled_from(SPREADS))
def test_cells_are_as_fine_as_the_limit_allows(seed: int, spread: str) -> None:
    values = many(seed, spread, 4_000)
    keys = float_keys(values)
    shift = count(values).shift
    assert len(np.unique(keys >> np.int64(shift))) <= LIMIT
    assert shift == 0 or len(np.unique(keys >> np.int64(shift - 1))) > LIMIT


@given(st.integers(0, 99), st.sampled_from(SPREADS))
def test_counts_move_onto_bins_as_if_counted_there(seed: int, spread: str) -> None:
    values = many(seed, spread, 3_000)
    group = np.random.default_rng(seed).integers(1, 3, 3_000).astype(np.int32)
    cells = count(values, group, 3)
    bins = numeric_bins(cells, float(values.min()), float(values.max()))
    assert list(bins.edges) == sorted(set(bins.edges))
    rows = np.array([3_000, *(np.count_nonzero(group == g) for g in (1, 2))])
    counts, straddling = rebin(cells, bins, np.arange(3, dtype=np.int32), rows)
    assert straddling == 0
    for g in range(3):
        direct = np.bincount(
            np.searchsorted(bins.edges, values[group == g] if g else values, side="right"),
            minlength=bins.size,
        )
        assert counts[g].tolist() == direct.tolist()


@given(st.lists(st.one_of(FINITE, st.none()), min_size=1, max_size=40), st.data())
def test_missing_and_invalid_values_have_bins_of_their_own(
    values: list[float | None], data: st.DataObject
) -> None:
    status = np.array(
        [OK if v is not None else data.draw(st.sampled_from([1, INVALID])) for v in values], np.uint8
    )
    numbers = np.array([0.0 if v is None else v for v in values])
    cells = Cells.count_keys(float_keys(numbers), status, (), 1)
    bins = NumericBins((0.0, 1.0), 0.0, 1.0)
    counts, _ = rebin(cells, bins, np.zeros(1, np.int32), np.array([len(values)]))
    assert counts[0, -2:].tolist() == [np.count_nonzero(status == 1), np.count_nonzero(status == 2)]
    assert counts.sum() == len(values)


@given(st.integers(0, 99), st.integers(1, 2_500))
def test_hashes_move_onto_bins_as_if_counted_there(seed: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.choice(rng.integers(0, 2**64, distinct, np.uint64), 3_000)
    cells = Cells.count_keys(hashes.view(np.int64), np.zeros(3_000, np.uint8), (), 1)
    names = {int(h): f"v{h}" for h in np.unique(hashes)}
    bins = categorical_bins(cells, names)
    counts, straddling = rebin(cells, bins, np.zeros(1, np.int32), np.array([3_000]))
    assert straddling == 0
    assert counts[0].tolist() == np.bincount(bins.codes(hashes), minlength=bins.size).tolist()
