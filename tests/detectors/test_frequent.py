"""Frequent items: the bounds hold over any updates and merges, and few values are counted exactly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.frequent import FrequentItems
from schemas.errors import ProfileError, UsageError

VALUES = st.text("abcdefgh", min_size=1, max_size=2)
BATCHES = st.lists(st.dictionaries(VALUES, st.integers(0, 50), max_size=20), max_size=6)


def count(batches: list[dict[str, int]], capacity: int) -> FrequentItems:
    frequent = FrequentItems(capacity)
    for batch in batches:
        frequent.update(list(batch), np.array(list(batch.values()), dtype=np.int64))
    return frequent


def truth(batches: list[dict[str, int]]) -> Counter[str]:
    return sum((Counter(batch) for batch in batches), Counter())


def check_guarantee(frequent: FrequentItems, true: Counter[str]) -> None:
    items = frequent.items()
    assert len(items) <= frequent.capacity
    assert frequent.total == sum(true.values())
    kept = sum(item.lower for item in items)
    assert frequent.error * (frequent.capacity + 1) <= frequent.total - kept
    assert all(item.lower <= item.estimate <= item.upper for item in items)
    assert all(item.lower <= true[item.value] <= item.upper for item in items)
    others = true.keys() - {item.value for item in items}
    assert max((true[value] for value in others), default=0) <= frequent.error


@settings(deadline=None, max_examples=100)
@given(BATCHES, st.integers(1, 12))
def test_bounds_hold_after_updates(batches, capacity):
    check_guarantee(count(batches, capacity), truth(batches))


@settings(deadline=None, max_examples=100)
@given(BATCHES, BATCHES, BATCHES, st.integers(1, 12))
def test_bounds_hold_after_merges_in_any_shape(first, second, third, capacity):
    parts = [count(batches, capacity) for batches in (first, second, third)]
    true = truth(first + second + third)
    check_guarantee(parts[0].merge(parts[1]).merge(parts[2]), true)
    check_guarantee(parts[0].merge(parts[1].merge(parts[2])), true)


@settings(deadline=None, max_examples=60)
@given(BATCHES, BATCHES, st.integers(1, 12))
def test_merge_commutes_and_changes_neither_operand(first, second, capacity):
    left, right = count(first, capacity), count(second, capacity)
    before = left.to_bytes(), right.to_bytes()
    assert left.merge(right) == right.merge(left)
    assert left.merge(right).to_bytes() == right.merge(left).to_bytes()
    assert (left.to_bytes(), right.to_bytes()) == before


@settings(deadline=None, max_examples=60)
@given(BATCHES, BATCHES, BATCHES)
def test_exact_and_associative_while_everything_fits(first, second, third):
    parts = [count(batches, 200) for batches in (first, second, third)]
    left, right = parts[0].merge(parts[1]).merge(parts[2]), parts[0].merge(parts[1].merge(parts[2]))
    assert left == right == count(third + first + second, 200)
    assert left.error == 0
    assert {item.value: item.estimate for item in left.items()} == dict(+truth(first + second + third))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers(1, 50)), max_size=3), st.integers(1, 12))
def test_bytes_come_back_identical(batches, capacity):
    frequent = count(batches, capacity)
    assert FrequentItems.from_bytes(frequent.to_bytes()) == frequent
    assert FrequentItems.from_bytes(frequent.to_bytes()).to_bytes() == frequent.to_bytes()


def test_heavy_hitters_survive_a_long_tail():
    generator = np.random.default_rng(3)
    frequent = FrequentItems()
    for _ in range(30):
        values, counts = np.unique(np.minimum(generator.zipf(1.3, 5_000), 10**9), return_counts=True)
        frequent.update(values.astype(str).tolist(), counts)
    assert [item.value for item in frequent.items()[:5]] == ["1", "2", "3", "4", "5"]
    assert frequent.error <= 150_000 / 65


def test_items_are_ranked_and_ties_go_by_value():
    frequent = count([{"b": 3, "c": 9, "a": 3}], 8)
    assert [item.value for item in frequent.items()] == ["c", "a", "b"]


def test_huge_counts():
    frequent = count([{"a": 10**17, "b": 1}, {"a": 10**17}], 1)
    assert frequent.items() == [("a", 2 * 10**17 - 1, 2 * 10**17 - 1, 2 * 10**17)]


@pytest.mark.parametrize(
    ("values", "counts", "message"),
    [(["a"], [1, 2], "counts: shape"), (["a"], [-1], "counts: -1"), (["a", "a"], [1, 2], "given twice")],
)
def test_updates_that_cannot_be_meant_are_refused(values, counts, message):
    with pytest.raises(UsageError, match=message):
        FrequentItems().update(values, np.array(counts))


def test_capacity_is_checked_and_must_agree():
    with pytest.raises(UsageError, match="capacity: 0"):
        FrequentItems(0)
    with pytest.raises(ProfileError, match="3 and 4"):
        FrequentItems(3).merge(FrequentItems(4))


GOOD = count([{"UA": 5, "DL": 3}], 4).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x07",
        GOOD[:10],
        GOOD[:-1],
        GOOD + b"x",
        b"\x01" + b"\0" * 24,
        GOOD.replace(b"UA", b"DL"),
        GOOD.replace(b"UA", b"\xff\xff"),
    ],
)
def test_bytes_that_are_no_items_are_refused(data):
    with pytest.raises(ProfileError):
        FrequentItems.from_bytes(data)
