"""Violations by segment: any split, any order, stored or not, on bins or not; they are those of a loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.groups import SEGMENT_VALUES
from detectors.packing import pack
from detectors.prepared import Prepared
from detectors.profile import Profile, profile_batch
from detectors.reference import build
from detectors.ruled import RuleCounts
from detectors.sealed import seal_raw, unseal_raw
from detectors.segment_tally import SegmentTally, SegmentTallyState
from schemas.checks.catalog import rules_of
from schemas.column import Kind
from schemas.contract import Agreement, ColumnRules, Contract, RuleKey
from schemas.errors import ProfileError
from schemas.expressions.expression import Expression
from tests.properties.batches import BAD, ROWS, SLICE_MS, Row, batch_of, group_of

KNOWN = {"JFK", "EWR"}
X = ColumnRules("x", Kind.NUMERIC, low=-1.0, high=3.0, counts_missing=True)
CONTRACT = Contract(
    (X, ColumnRules("c", Kind.CATEGORICAL, values=("UA", "é"))),
    agreements=(Agreement("order", Expression("x <= 2")),),
)
EARLIER = Contract((X,))
SOME_ROWS = st.lists(ROWS, min_size=1, max_size=30)
CUTS = st.lists(st.integers(0, 30), max_size=4)
Counts = dict[tuple[str, str, str], tuple[int, ...]]


def is_number(value: object) -> bool:
    return value is not None and value is not BAD


BREAKS: dict[tuple[str, str], Callable[[Row], bool]] = {
    ("range", "x"): lambda r: is_number(r.x) and not -1 <= r.x <= 3,
    ("missing", "x"): lambda r: r.x is None,
    ("type", "x"): lambda r: r.x is BAD,
    ("allowed", "c"): lambda r: r.c not in ("UA", "é", None, BAD),
    ("type", "c"): lambda r: r.c is BAD,
    ("agreement", "rules.order"): lambda r: is_number(r.x) and r.x > 2,
}


def by_hand(
    rows: Iterable[Row], known: set[str] | None = None, rules: Iterable[tuple[str, str]] = BREAKS
) -> Counts:
    """Count rows and violations of each rule and group, in a loop."""
    times: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    held: dict[tuple[str, str, str], int] = defaultdict(int)
    for row in rows:
        for rule in rules:
            if rule[0] == "agreement" and not is_number(row.x):
                continue  # it is not known whether it holds
            for group in ("", group_of(row.origin, known)):
                held[*rule, group] += 1
                if BREAKS[rule](row):
                    times[*rule, group].append(row.event_ms)
    return {
        place: (n, len(wrong), min(wrong, default=0), max(wrong, default=0))
        for place, n in held.items()
        for wrong in [times[place]]
    }


def plus(one: Counts, other: Counts) -> Counts:
    """Add up what was counted of rows under different contracts."""
    found = dict(one)
    for place, (rows, broken, first, last) in other.items():
        n, k, before, after = found.get(place, (0, 0, 0, 0))
        if not k or not broken:
            before, after = (before, after) if k else (first, last)
        else:
            before, after = min(before, first), max(after, last)
        found[place] = (n + rows, k + broken, before, after)
    return found


def counts(tally: SegmentTally, labels: list[str]) -> Counts:
    """What a tally has, by rule and group; groups without rows are left out."""
    found: Counts = {}
    for at, key in enumerate(tally.rules):
        broken = tally.broken.get(key)
        for group in range(tally.groups):
            wrong = (0, 0, 0)
            if broken is not None and broken.rows[group]:
                wrong = (int(broken.rows[group]), int(broken.first_ms[group]), int(broken.last_ms[group]))
            if tally.rows[at, group]:
                found[key.check, key.column, labels[group]] = (int(tally.rows[at, group]), *wrong)
    return found


def of(profile: Profile) -> Counts:
    return counts(profile.by_segment, profile.groups)


def stored(profile: Profile) -> Profile:
    data = profile.to_bytes()
    again = Profile.from_bytes(data, profile.binning)
    assert again.to_bytes() == data
    return again


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
        merged.merge(stored(part) if order.random() < 0.5 else part)
    assert of(merged) == of(stored(merged)) == by_hand(rows)


@given(SOME_ROWS, SOME_ROWS, SOME_ROWS)
def test_bins_change_no_count_and_rows_of_other_rules_are_not_among_them(
    old: list[Row], rows: list[Row], earlier: list[Row]
) -> None:
    """The contract changes within a window: each rule has the rows that were held against it, no others."""
    reference = build(
        profile_batch(batch_of(old), SLICE_MS),
        slice_ms=SLICE_MS, window_ms=SLICE_MS, segments=("origin",), max_segment_values=2,
    )  # fmt: skip
    known = set(reference.binning.segments[0].names)
    binned, moved = (Profile(reference.binning, reference.hash) for _ in range(2))
    for some, contract in ((earlier, EARLIER), (rows, CONTRACT)):
        on_bins = profile_batch(
            batch_of(some), SLICE_MS, reference.binning, reference.hash, contract=contract
        )
        for profile in on_bins.values():
            binned.merge(stored(profile))
        for profile in profile_batch(batch_of(some), SLICE_MS, contract=contract).values():
            moved.merge(stored(profile).rebinned(reference.binning, reference.hash)[0])
    of_x = [rule for rule in BREAKS if rule[1] == "x"]
    wanted = plus(by_hand(earlier, known, of_x), by_hand(rows, known))
    assert of(binned) == of(stored(binned)) == of(moved) == wanted


@given(SOME_ROWS, st.randoms(use_true_random=False), st.booleans())
def test_sections_add_up_to_what_profiles_have(rows: list[Row], order: Random, is_binned: bool) -> None:
    """What a backtest counts is what the service does."""
    batch, binning, hash_ = batch_of(rows), None, ""
    if is_binned:
        reference = build(
            profile_batch(batch, SLICE_MS),
            slice_ms=SLICE_MS, window_ms=SLICE_MS, segments=("origin",), max_segment_values=1,
        )  # fmt: skip
        binning, hash_ = reference.binning, reference.hash
    whole = Profile(binning, hash_)
    for profile in profile_batch(batch, SLICE_MS, binning, hash_, contract=CONTRACT).values():
        whole.merge(profile)
    prepared = Prepared(batch, binning, SLICE_MS, CONTRACT)
    parts = [RuleCounts.of_section(prepared, section, CONTRACT) for section in prepared.sections]
    order.shuffle(parts)
    before = [counts(part.by_segment, part.groups.labels) for part in parts]
    total = RuleCounts.sum(RuleCounts.sum([part]) for part in parts)
    assert counts(total.by_segment, total.groups.labels) == of(whole)
    assert [counts(part.by_segment, part.groups.labels) for part in parts] == before


@given(SOME_ROWS, SOME_ROWS, st.booleans())
def test_rows_that_are_kept_out_break_their_rule_and_are_counted_nowhere_else(
    rows: list[Row], out: list[Row], is_binned: bool
) -> None:
    binning, hash_, known = None, "", None
    if is_binned:
        reference = build(
            profile_batch(batch_of(rows), SLICE_MS),
            slice_ms=SLICE_MS, window_ms=SLICE_MS, segments=("origin",), max_segment_values=1,
        )  # fmt: skip
        binning, hash_ = reference.binning, reference.hash
        known = set(binning.segments[0].names)
    key = next(key for key, _ in rules_of(CONTRACT) if key.check == "range")
    profile = Profile(binning, hash_)
    profile.add_kept_out(batch_of(out), np.arange(len(out)), key, CONTRACT)
    wanted: Counts = {}
    for label in ("", *{group_of(row.origin, known) for row in out}):
        times = [row.event_ms for row in out if label in ("", group_of(row.origin, known))]
        wanted["range", "x", label] = (len(times), len(times), min(times), max(times))
    assert of(stored(profile)) == wanted
    assert profile.rows == 0
    for other in profile_batch(batch_of(rows), SLICE_MS, binning, hash_, contract=CONTRACT).values():
        profile.merge(other)
    assert of(stored(profile)) == plus(by_hand(rows, known), wanted)
    assert profile.rows == len(rows)
    if not is_binned:  # a segment of which no row was counted gets no bins
        again = build(
            {0: profile}, slice_ms=SLICE_MS, window_ms=SLICE_MS, segments=("origin",), max_segment_values=9
        )
        assert set(again.binning.segments[0].names) == {
            row.origin for row in rows if row.origin not in (None, BAD, "(missing)", "(other)")
        }


def test_without_segments_or_rules_nothing_is_kept() -> None:
    rows = [Row(0, 9.0, "x", None, "JFK")]
    for batch, contract in ((batch_of(rows, segments=False), CONTRACT), (batch_of(rows), None)):
        (profile,) = profile_batch(batch, SLICE_MS, contract=contract).values()
        assert profile.by_segment.rules == []
        assert profile.by_segment.state(()) is None


def test_rows_that_came_without_segments_are_in_none() -> None:
    rows = [Row(i, 9.0 if i % 2 else None, "UA", None, "JFK") for i in range(6)]
    profile = Profile()
    for part, segments in ((rows[:4], True), (rows[4:], False)):
        prepared = Prepared(batch_of(part, segments=segments), None, SLICE_MS, CONTRACT)
        profile.add(prepared, prepared.sections[0])
    assert of(stored(profile)) == by_hand(rows[:4])


def test_further_segment_values_are_counted_together() -> None:
    rows = [Row(0, 9.0, "UA", None, f"o{i}") for i in range(SEGMENT_VALUES + 50)]
    (profile,) = profile_batch(batch_of(rows), SLICE_MS, contract=CONTRACT).values()
    assert profile.by_segment.groups == SEGMENT_VALUES + 2
    found = of(profile)
    assert found["range", "x", "origin=(other)"][:2] == (50, 50)
    assert found["range", "x", "origin=o0"][:2] == (1, 1)
    assert len(profile.to_bytes()) < 40_000


def test_bytes_from_before_are_read_and_add_up() -> None:
    """A profile that was written before violations were counted by segment has none of its rows there."""
    rows = [Row(i, 9.0, "UA", None, "JFK") for i in range(5)]
    (new,) = profile_batch(batch_of(rows), SLICE_MS, contract=CONTRACT).values()
    *others, _ = msgspec.msgpack.decode(unseal_raw(b"DLP1", new.to_bytes(), "profile"))
    old = Profile.from_bytes(seal_raw(b"DLP1", msgspec.msgpack.encode(others)))
    assert old.by_segment.rules == []
    assert old.violations.counts == new.violations.counts
    old.merge(new)
    assert of(stored(old)) == by_hand(rows)
    assert old.rows == 10


KEYS = [RuleKey("range", "a", ""), RuleKey("range", "b", "")]


@pytest.mark.parametrize(
    "changed",
    [
        {"rules": pack(np.array([0, 2]))},
        {"rules": pack(np.array([0, -1]))},
        {"rules": pack(np.array([0, 0]))},
        {"rules": pack(np.array([], np.int64))},
        {"rows": pack(np.array([1, 2, 3]))},
        {"places": pack(np.array([4]))},
        {"places": pack(np.array([-1]))},
        {"broken": pack(np.array([1, 2]))},
        {"last_ms": pack(np.array([], np.int64))},
    ],
)
def test_parts_that_do_not_fit_are_refused(changed: dict[str, bytes]) -> None:
    one = pack(np.array([1]))
    good = SegmentTallyState(pack(np.array([0, 1])), pack(np.array([1, 1, 1, 1])), one, one, one, one)
    assert SegmentTally.from_state(good, KEYS).state(KEYS) == good
    with pytest.raises(ProfileError, match="violations by segment"):
        SegmentTally.from_state(msgspec.structs.replace(good, **changed), KEYS)
