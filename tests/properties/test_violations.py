"""Violations of hard rules: any split, any order, stored or not, on bins or not: the same counts."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from detectors.profile import Profile, profile_batch
from detectors.reference import build
from schemas.column import Kind
from schemas.contract import ColumnRules, Contract
from tests.properties.batches import BAD, ROWS, SLICE_MS, Row, batch_of

CONTRACT = Contract(
    (
        ColumnRules("x", Kind.NUMERIC, low=-1.0, high=3.0, counts_missing=True),
        ColumnRules("late", Kind.NUMERIC, counts_missing=True),
        ColumnRules("c", Kind.CATEGORICAL, values=("UA", "é"), pattern="[A-Z]+"),
        ColumnRules("v", Kind.VECTOR, counts_missing=True),
        ColumnRules("never seen", counts_missing=True),
    )
)
SOME_ROWS = st.lists(ROWS, min_size=1, max_size=30)
CUTS = st.lists(st.integers(0, 30), max_size=4)


def by_hand(rows: list[Row]) -> dict[tuple[str, str], tuple[int, ...]]:
    """Plain Python's view of the rules."""

    def out(value: object, is_bad: bool) -> bool:
        return value is not None and value is not BAD and is_bad

    wrong = {
        ("range", "x"): lambda r: out(r.x, not isinstance(r.x, float) or not -1 <= r.x <= 3),
        ("missing", "x"): lambda r: r.x is None,
        ("type", "x"): lambda r: r.x is BAD,
        ("missing", "late"): lambda r: r.late is None,
        ("type", "late"): lambda r: r.late is BAD,
        ("allowed", "c"): lambda r: out(r.c, r.c not in ("UA", "é")),
        ("pattern", "c"): lambda r: out(r.c, r.c in ("é", "")),
        ("type", "c"): lambda r: r.c is BAD,
        ("missing", "v"): lambda r: r.v is None,
        ("type", "v"): lambda r: r.v is BAD,
        ("missing", "never seen"): lambda r: True,
    }
    counted: dict[tuple[str, str], tuple[int, ...]] = {}
    for rule, is_wrong in wrong.items():
        times = [row.event_ms for row in rows if is_wrong(row)]
        counted[rule] = (len(rows), len(times), min(times, default=0), max(times, default=0))
    return counted


def counts(profile: Profile) -> dict[tuple[str, str], tuple[int, ...]]:
    return {(key.check, key.column): tuple(count) for key, count in profile.violations.counts.items()}


@given(SOME_ROWS, CUTS, st.randoms(use_true_random=False))
def test_any_split_and_any_order_give_the_same_counts(
    rows: list[Row], cuts: list[int], order: Random
) -> None:
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [
        profile
        for a, b in pairwise(bounds)
        for profile in profile_batch(batch_of(rows[a:b]), SLICE_MS, contract=CONTRACT).values()
    ]
    order.shuffle(parts)
    merged = Profile()
    for part in parts:
        merged.merge(Profile.from_bytes(part.to_bytes()) if order.random() < 0.5 else part)
    assert counts(merged) == by_hand(rows)


@given(SOME_ROWS, SOME_ROWS)
def test_bins_change_no_count(old: list[Row], rows: list[Row]) -> None:
    learned = profile_batch(batch_of(old), SLICE_MS)
    reference = build(
        learned, slice_ms=SLICE_MS, window_ms=SLICE_MS, segments=("origin",), max_segment_values=2
    )
    binned, moved = (Profile(reference.binning, reference.hash) for _ in range(2))
    for profile in profile_batch(
        batch_of(rows), SLICE_MS, reference.binning, reference.hash, contract=CONTRACT
    ).values():
        binned.merge(Profile.from_bytes(profile.to_bytes(), reference.binning))
    for profile in profile_batch(batch_of(rows), SLICE_MS, contract=CONTRACT).values():
        moved.merge(profile.rebinned(reference.binning, reference.hash)[0])
    assert counts(binned) == counts(moved) == by_hand(rows)


@given(SOME_ROWS)
def test_without_rules_nothing_is_kept(rows: list[Row]) -> None:
    for contract in (None, Contract(), Contract((ColumnRules("x"),), probabilities=True)):
        for profile in profile_batch(batch_of(rows), SLICE_MS, contract=contract).values():
            assert profile.violations.counts == {}
