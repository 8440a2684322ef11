"""Cross-counts: any split of the rows, any order of merging, stored or not: the same numbers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.attribution import (
    kitagawa,
    kitagawa_segments,
)
from detectors.binning import Binning, NumericBins, SegmentValues
from detectors.cross_counts import CrossCounts
from schemas.column import ColumnSpec, Kind
from schemas.errors import ProfileError

BINNING = Binning(
    tuple(ColumnSpec(f"x{i}", Kind.NUMERIC) for i in range(3)),
    (NumericBins((0.0, 1.0), -1.0, 2.0),) * 3,
    (SegmentValues("s", ("a",), (1,)), SegmentValues("t", ("b", "c"), (1, 2))),
)
EXACT = ("n", "group_n")
SUMS = ("sums", "squares", "group_sums", "group_squares")
Rows = tuple[np.ndarray, np.ndarray, list[np.ndarray]]


def rows_of(seed: int, n: int, *, whole: bool) -> Rows:
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, 5, (3, n)) + 5 * np.arange(3)[:, None]
    outcome = generator.normal(size=n) * 10.0 ** generator.integers(-3, 6)
    outcome = generator.integers(-64, 64, n) / 8 if whole else outcome
    outcome[generator.random(n) < 0.1] = np.nan
    return codes, outcome, [generator.integers(0, 3, n), generator.integers(0, 4, n)]


def cross(rows: Rows, a: int, b: int, *, by_group: bool) -> CrossCounts:
    codes, outcome, groups = rows
    found = CrossCounts(BINNING, "abc", by_group=by_group)
    found.add(codes[:, a:b], outcome[a:b], [group[a:b] for group in groups])
    return found


CUTS = st.lists(st.integers(0, 60), max_size=5)


@given(
    st.integers(0, 9_999),
    st.integers(0, 60),
    CUTS,
    st.booleans(),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_any_split_and_any_order_give_the_same_numbers(seed, n, cuts, whole, by_group, order):
    rows = rows_of(seed, n, whole=whole)
    together = cross(rows, 0, n, by_group=by_group)
    bounds = [0, *sorted(min(cut, n) for cut in cuts), n]
    parts = [cross(rows, a, b, by_group=by_group) for a, b in pairwise(bounds)]
    order.shuffle(parts)
    parts = [
        CrossCounts.from_bytes(part.to_bytes(), BINNING) if order.random() < 0.5 else part for part in parts
    ]
    parts[0].merge(*parts[1:])
    for name in EXACT:
        assert np.array_equal(getattr(parts[0], name), getattr(together, name))
    largest = np.nanmax(np.abs(rows[1]), initial=0.0)
    for name in SUMS:
        mine, theirs = getattr(parts[0], name), getattr(together, name)
        if whole:
            assert np.array_equal(mine, theirs)
        else:
            assert mine == pytest.approx(theirs, abs=1e-13 * n * max(largest, largest**2))
    if whole:
        assert parts[0].to_bytes() == together.to_bytes()
        other = cross(rows_of(seed + 1, 30, whole=True), 0, 30, by_group=by_group)
        assert kitagawa(other, parts[0]) == kitagawa(other, together)
        assert kitagawa_segments(other, parts[0]) == kitagawa_segments(other, together)


@given(st.integers(0, 999), st.booleans())
def test_bytes_bring_everything_back(seed, by_group):
    found = cross(rows_of(seed, 40, whole=False), 0, 40, by_group=by_group)
    again = CrossCounts.from_bytes(found.to_bytes(), BINNING)
    assert (again.reference_hash, again.by_group, again.rows) == ("abc", by_group, found.rows)
    assert all(np.array_equal(getattr(again, name), getattr(found, name)) for name in (*EXACT, *SUMS))
    assert again.to_bytes() == found.to_bytes()
    again.merge(found)
    assert again.rows == 2 * found.rows


@given(st.integers(0, 999), st.integers(0, 10_000), st.integers(1, 255))
def test_damaged_bytes_are_refused(seed, at, flip):
    data = cross(rows_of(seed, 20, whole=False), 0, 20, by_group=True).to_bytes()
    at %= len(data)
    for bad in (data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :], data[:at]):
        with pytest.raises(ProfileError):
            CrossCounts.from_bytes(bad, BINNING)


@given(st.integers(0, 999), st.integers(1, 60), st.integers(1, 60))
def test_every_column_and_segment_sums_to_the_same_change(seed, n, m):
    first, second = rows_of(seed, n, whole=False), rows_of(seed + 1, m, whole=False)
    reference, window = cross(first, 0, n, by_group=False), cross(second, 0, m, by_group=False)
    scale = max(np.nanmax(np.abs(rows[1]), initial=1.0) for rows in (first, second))
    for found in (kitagawa(reference, window), kitagawa_segments(reference, window)):
        for one in found.contributions:
            assert one.mix.value + one.rate.value == pytest.approx(found.change.value, abs=1e-10 * scale)
            parts = np.array([(part.mix, part.rate) for part in one.bins]).sum(axis=0)
            assert parts == pytest.approx([one.mix.value, one.rate.value], abs=1e-10 * scale)
