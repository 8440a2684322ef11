"""Comparison of versions: right at all times at once, whatever goes on within slices, and saved as bytes."""

from math import inf

import numpy as np
import pytest

from detectors.comparison import PairedSums, Standing, compare, compare_proportions
from schemas.errors import ProfileError

SLICES, ROWS = 600, 40
LOOKS = (1, 2, 4, 8, 16, 32, 45, 64, 90, 128, 180, 256, 360, 450, 600)


def stream(generator, drift, together):
    """Differences of slices and their expectations; all rows of a slice move together, or none."""
    mean = drift * np.sin(np.arange(SLICES) / 40)
    rows = generator.poisson(ROWS, SLICES).astype(float)
    if together:
        noise = rows * (2 * (generator.random(SLICES) < (1 + mean) / 2) - 1)
    else:
        n = rows.astype(int)
        noise = generator.binomial(n, 0.1 + mean / 2) - generator.binomial(n, 0.1 - mean / 2)
    return rows, noise, mean


def misses(reach, drift, together, alpha, runs=150):
    """Share of runs in which the truth was left out at any look."""
    generator, found = np.random.default_rng(2), 0
    for _ in range(runs):
        rows, differences, mean = stream(generator, drift, together)
        sums, begin, is_out = PairedSums(reach=reach, slice_rows=200), 0, False
        for end in LOOKS:
            sums = sums.added(rows[begin:end], differences[begin:end])
            truth = (rows[:end] * mean[:end]).sum() / rows[:end].sum()
            result = compare(sums, alpha=alpha)
            is_out |= not result.low <= truth <= result.high
            begin = end
        found += is_out
    return found / runs


@pytest.mark.parametrize(
    ("drift", "together"),
    [
        (0.0, False),
        pytest.param(0.1, False, marks=pytest.mark.full),
        pytest.param(0.0, True, marks=pytest.mark.full),
        (0.3, True),
    ],
)
def test_the_truth_is_left_out_at_any_time_no_more_often_than_allowed(drift, together):
    assert misses(1.0, drift, together, alpha=0.1) <= 0.1


@pytest.mark.parametrize("together", [False, True])
def test_without_limits_the_same_holds_about(together):
    assert misses(inf, 0.0, together, alpha=0.1) <= 0.1 + 3 * (0.09 / 150) ** 0.5


def test_looking_after_every_window_until_it_is_significant_does_not_find_what_is_not_there():
    generator = np.random.default_rng(3)
    found, naive = 0, 0
    for _ in range(100):
        rows, differences, _ = stream(generator, 0.0, together=False)
        sums = PairedSums(reach=inf, slice_rows=ROWS)
        standings, crossed = set(), False
        for begin in range(0, SLICES, 10):
            sums = sums.added(rows[begin : begin + 10], differences[begin : begin + 10])
            standings.add(compare(sums).standing)
            crossed |= abs(sums.total) > 1.96 * sums.ratio_variance**0.5
        found += standings != {Standing.UNKNOWN}
        naive += crossed
    assert found <= 5
    assert naive > 25


def better(generator, slices, gain=0.04):
    rows = np.full(slices, 100.0)
    return rows, generator.binomial(100, 0.1 + gain, slices) - generator.binomial(100, 0.1, slices) * 1.0


@pytest.mark.parametrize(("reach", "gain"), [(1.0, 0.04), (inf, 0.015)])
def test_a_better_version_is_found_after_as_many_labels_as_were_foretold_if_it_stays_as_it_is(reach, gain):
    rows, differences = (np.tile(x, 100) for x in better(np.random.default_rng(4), 40, gain))
    empty = PairedSums(reach=reach, slice_rows=100)
    start = compare(empty.added(rows[:40], differences[:40]))
    assert start.standing is Standing.UNKNOWN
    foretold = start.n + (start.more_labels or 0)
    for share, standing in ((0.85, Standing.UNKNOWN), (1.15, Standing.BETTER)):
        slices = round(share * foretold / 100)
        assert compare(empty.added(rows[:slices], differences[:slices])).standing is standing
    end = empty.added(rows, differences)
    assert compare(end, higher_is_better=False).standing is Standing.WORSE


def test_pieces_and_bytes_give_the_same_as_everything_at_once():
    rows, differences = better(np.random.default_rng(5), 300)
    once, pieces = PairedSums(reach=1.0, slice_rows=100), PairedSums(reach=1.0, slice_rows=100)
    once = once.added(rows, differences)
    for begin in range(0, 300, 30):
        pieces = PairedSums.from_bytes(pieces.to_bytes())
        pieces = pieces.added(rows[begin : begin + 30], differences[begin : begin + 30])
    assert compare(pieces).low == pytest.approx(compare(once).low)
    assert len(once.to_bytes()) < 200
    with pytest.raises(ProfileError, match="comparison"):
        PairedSums.from_bytes(once.to_bytes()[:-3])


def test_very_large_slices_do_not_outweigh_the_others():
    rows, differences = better(np.random.default_rng(6), 300)
    sums = PairedSums(reach=1.0, slice_rows=100).added(rows, differences)
    swayed = sums.added(np.array([10.0**6]), np.array([-(10.0**6)]))
    assert swayed.n == sums.n + 100
    assert swayed.total == sums.total - 100


def test_no_labels_and_no_difference_are_not_known():
    nothing = PairedSums(reach=1.0, slice_rows=100)
    assert compare(nothing) is None
    assert compare(nothing.added(np.zeros(3), np.zeros(3))) is None
    equal = compare(PairedSums(reach=inf, slice_rows=100).added(np.full(100, 50.0), np.zeros(100)))
    assert (equal.standing, equal.more_labels) == (Standing.UNKNOWN, None)
    first = compare(PairedSums(reach=1.0, slice_rows=100).added(np.array([1.0]), np.array([1.0])))
    assert (first.low, first.high, first.standing) == (-1.0, 1.0, Standing.UNKNOWN)


def test_shares_on_different_events():
    assert compare_proportions((0, 0), (5, 10)) is None
    assert compare_proportions((0, 10**6), (0, 10**6)).more_labels is None
    found = compare_proportions((800, 1_000), (900, 1_000))
    assert found.standing is Standing.BETTER
    assert compare_proportions((900, 1_000), (800, 1_000)).standing is Standing.WORSE
    assert compare_proportions((800, 1_000), (900, 1_000), higher_is_better=False).standing is Standing.WORSE
    close = compare_proportions((850, 1_000), (870, 1_000))
    grown = 1 + (close.more_labels or 0) / 2_000 * 1.01
    later = compare_proportions(
        (round(850 * grown), round(1_000 * grown)), (round(870 * grown), round(1_000 * grown))
    )
    assert later.standing is Standing.BETTER
