"""Profiles: any split, any order, stored or not, before and after there is a reference: the same numbers."""

import math
from collections import Counter, defaultdict
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.binning import Binning
from detectors.cells import Cells
from detectors.prepared import Prepared
from detectors.profile import Profile, profile_batch
from detectors.reference import build
from schemas.batch import OK, Batch
from schemas.column import ColumnSpec, Kind
from schemas.errors import ProfileError
from tests.properties.batches import BAD, ROWS, SLICE_MS, Row, batch_of, group_of, status_of

SOME_ROWS = st.lists(ROWS, min_size=1, max_size=30)
CUTS = st.lists(st.integers(0, 30), max_size=4)
COLUMNS = ("x", "late", "c", "v")


def learned(rows: list[Row], cuts: list[int], order: Random) -> dict[int, Profile]:
    """Profile rows in batches, each alone, and merge in any order; half of them go through bytes."""
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [profile_batch(batch_of(rows[a:b]), SLICE_MS) for a, b in pairwise(bounds)]
    order.shuffle(parts)
    slices: dict[int, Profile] = {}
    for part in parts:
        for start, profile in part.items():
            other = Profile.from_bytes(profile.to_bytes()) if order.random() < 0.5 else profile
            slices.setdefault(start, Profile()).merge(other)
    return slices


def numbers(profile: Profile) -> dict[str, Any]:
    """Everything that must be exactly the same, whatever the order of groups and columns."""
    rows = dict(zip(profile.groups, profile.group_rows.tolist(), strict=True))
    columns: dict[str, Any] = {}
    for name, s in profile.summaries.items():
        columns[name] = (s.spec, s.ok, s.invalid, s.lowest, s.highest, profile.missing(name))
        if s.frequent is not None:
            columns[f"{name} values"] = sorted(s.frequent.items())
    cells: dict[str, Any] = {}
    for name, c in profile.cells.items():
        entries = zip(c.group.tolist(), c.cell.tolist(), c.count.tolist(), strict=True)
        invalid = {profile.groups[g]: n for g, n in enumerate(c.invalid.tolist()) if n}
        cells[name] = (c.shift, {(profile.groups[g], cell): n for g, cell, n in entries}, invalid)
    return {"rows": rows, "columns": columns, "cells": cells, "counts": profile.counts.tolist()}


def close(a: Profile, b: Profile) -> bool:
    """Whether sums are the same up to the rounding of their order."""
    for name, s in a.summaries.items():
        t = b.summaries[name]
        scale = max(abs(s.lowest), abs(s.highest), 0.0) if s.ok and s.quantiles is not None else 0.0
        tolerance = 1e-12 * max(1, s.ok) * scale
        if not (s.sum == t.sum or abs(s.sum - t.sum) <= tolerance):
            return False
        if not (s.squares == t.squares or abs(s.squares - t.squares) <= tolerance * scale):
            return False
    return True


@given(SOME_ROWS, CUTS, st.randoms(use_true_random=False))
def test_any_split_and_any_order_give_the_same_profile(
    rows: list[Row], cuts: list[int], order: Random
) -> None:
    whole = profile_batch(batch_of(rows), SLICE_MS)
    split = learned(rows, cuts, order)
    assert set(split) == set(whole) == {row.event_ms // SLICE_MS * SLICE_MS for row in rows}
    for start, profile in whole.items():
        assert numbers(split[start]) == numbers(profile)
        with np.errstate(over="ignore", invalid="ignore"):
            assert close(split[start], profile) or any(
                abs(row.x or 0) > 1e150 for row in rows if row.x is not BAD
            )


@given(SOME_ROWS)
def test_counts_are_those_of_plain_python(rows: list[Row]) -> None:
    for start, profile in profile_batch(batch_of(rows), SLICE_MS).items():
        mine = [row for row in rows if row.event_ms // SLICE_MS * SLICE_MS == start]
        groups = Counter({"": len(mine)}) + Counter(group_of(row.origin) for row in mine)
        assert dict(zip(profile.groups, profile.group_rows.tolist(), strict=True)) == groups
        for name in COLUMNS:
            statuses = Counter(status_of(getattr(row, name)) for row in mine)
            summary = profile.summaries[name]
            assert (summary.ok, summary.invalid, profile.missing(name)) == (
                statuses[0],
                statuses[2],
                statuses[1],
            )
            values = [getattr(row, name) for row in mine if status_of(getattr(row, name)) == OK]
            if name in ("x", "late"):
                assert summary.lowest == min(values, default=math.inf)
                assert summary.highest == max(values, default=-math.inf)
            if name == "c":
                assert summary.frequent is not None
                assert {i.value: i.estimate for i in summary.frequent.items()} == Counter(values)
            per_group = by_group(profile.cells[name], profile.groups)
            wanted: dict[str, int] = defaultdict(int)
            for row in mine:
                if status_of(getattr(row, name)) == OK:
                    wanted[""] += 1
                    wanted[group_of(row.origin)] += 1
            assert per_group == wanted


def by_group(cells: Cells, groups: list[str]) -> dict[str, int]:
    """Valid values of each group."""
    found: dict[str, int] = defaultdict(int)
    for group, count in zip(cells.group.tolist(), cells.count.tolist(), strict=True):
        found[groups[group]] += count
    return found


@given(SOME_ROWS, SOME_ROWS, CUTS, st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_counting_on_bins_is_the_same_as_moving_onto_them(
    first: list[Row], rows: list[Row], cuts: list[int], order: Random
) -> None:
    reference = build(
        profile_batch(batch_of(first), SLICE_MS),
        slice_ms=SLICE_MS,
        window_ms=SLICE_MS,
        segments=("origin",),
        max_segment_values=2,
    )
    slices: dict[int, Profile] = {}
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [
        profile_batch(batch_of(rows[a:b]), SLICE_MS, reference.binning, reference.hash)
        for a, b in pairwise(bounds)
    ]
    order.shuffle(parts)
    for part in parts:
        for start, profile in part.items():
            through = Profile.from_bytes(profile.to_bytes(), reference.binning)
            assert Profile.reference_of(profile.to_bytes()) == reference.hash
            slices.setdefault(start, Profile(reference.binning, reference.hash)).merge(through)
    for start, profile in profile_batch(batch_of(rows), SLICE_MS).items():
        moved, straddling = profile.rebinned(reference.binning, reference.hash)
        assert straddling == 0
        assert numbers(slices[start]) == numbers(moved)
        check_bins(moved, reference.binning, [r for r in rows if r.event_ms // SLICE_MS * SLICE_MS == start])


def check_bins(profile: Profile, binning: Binning, rows: list[Row]) -> None:
    """Compare the last two bins and the sums of each group with plain Python."""
    known = {label.removeprefix("origin=") for label in binning.groups} - {"(other)", "(missing)"}
    for g, label in enumerate(binning.groups):
        mine = [row for row in rows if label in ("", group_of(row.origin, known))]
        assert profile.group_rows[g] == len(mine)
        for name in COLUMNS:
            at = binning.index[name]
            counts = profile.counts[g, binning.offsets[at] : binning.offsets[at + 1]]
            assert counts.sum() == len(mine)
            statuses = Counter(status_of(getattr(row, name)) for row in mine)
            assert counts[-2:].tolist() == [statuses[1], statuses[2]]


@given(SOME_ROWS, st.integers(0, 30))
def test_a_column_that_appears_late_was_missing_before(rows: list[Row], cut: int) -> None:
    before = profile_batch(
        batch_of([Row(**{**vars(r), "late": None}) for r in rows[:cut]], late=False), SLICE_MS
    )
    after = profile_batch(batch_of(rows[cut:]), SLICE_MS)
    together = {start: Profile() for start in {*before, *after}}
    for part in (before, after):
        for start, profile in part.items():
            together[start].merge(profile)
    blank = [Row(**{**vars(r), "late": None}) for r in rows[:cut]]
    for start, profile in profile_batch(batch_of([*blank, *rows[cut:]]), SLICE_MS).items():
        got, wanted = numbers(together[start]), numbers(profile)
        if "late" in got["columns"]:
            assert got == wanted
        else:
            assert together[start].missing("late") == profile.missing("late") == profile.rows


# --- kinds that conflict ----------------------------------------------------------------------------------

KINDS = {
    "n": Batch(
        np.zeros(3, np.int64),
        (ColumnSpec("k", Kind.NUMERIC),),
        np.array([[1.0, 2.0, 0.0]]),
        np.array([[0, 0, 1]], np.uint8),
    ),
    "c": Batch(np.zeros(2, np.int64), (), np.zeros((0, 2)), np.zeros((0, 2), np.uint8)),
    "v": Batch(
        np.zeros(4, np.int64),
        (),
        np.zeros((0, 4)),
        np.zeros((0, 4), np.uint8),
        vectors=((ColumnSpec("k", Kind.VECTOR), np.array([0, 0, 1, 2], np.uint8)),),
    ),
}


def conflicting(kind: str) -> Batch:
    """Two or more rows whose column `k` is a number, a category or a list."""
    if kind != "c":
        return KINDS[kind]
    text = batch_of(
        [Row(0, None, "UA", None, None), Row(0, None, None, None, None)], late=False, segments=False
    )
    return Batch(
        text.event_ms,
        (),
        np.zeros((0, 2)),
        np.zeros((0, 2), np.uint8),
        (ColumnSpec("k", Kind.CATEGORICAL),),
        text.categories,
    )


@pytest.mark.parametrize("binned", [False, True])
@pytest.mark.parametrize("second", ["n", "c", "v"])
@pytest.mark.parametrize("first", ["n", "c", "v"])
def test_values_of_another_kind_than_the_first_are_invalid(first: str, second: str, binned: bool) -> None:
    """Whether they come in one process, from another one, or the reference knows the column otherwise."""
    valid = {"n": 2, "c": 1, "v": 2}
    bad = {"n": 0, "c": 0, "v": 1}
    one, two = (profile_batch(conflicting(kind), SLICE_MS)[0] for kind in (first, second))
    reference = build({0: one}, slice_ms=SLICE_MS, window_ms=SLICE_MS)
    merged = Profile()
    merged.merge(one, two)
    together = Profile()
    if binned:
        merged, _ = merged.rebinned(reference.binning, reference.hash)
        together = Profile(reference.binning, reference.hash)
    for kind in (first, second):
        prepared = Prepared(conflicting(kind), reference.binning if binned else None, SLICE_MS)
        together.add(prepared, prepared.sections[0])
    assert numbers(together) == numbers(merged)
    summary = merged.summaries["k"]
    is_same = first == second
    assert summary.ok == valid[first] * (2 if is_same else 1)
    assert summary.invalid == bad[first] + bad[second] + (0 if is_same else valid[second])
    assert merged.missing("k") == merged.rows - summary.ok - summary.invalid
    if binned:
        alone = profile_batch(conflicting(second), SLICE_MS, reference.binning, reference.hash)[0]
        assert numbers(alone) == numbers(two.rebinned(reference.binning, reference.hash)[0])


# --- bytes ------------------------------------------------------------------------------------------------


@given(SOME_ROWS)
def test_bytes_bring_everything_back(rows: list[Row]) -> None:
    for profile in profile_batch(batch_of(rows), SLICE_MS).values():
        data = profile.to_bytes()
        again = Profile.from_bytes(data)
        assert numbers(again) == numbers(profile)
        assert again.to_bytes() == data
        for name, summary in profile.summaries.items():
            other = again.summaries[name]
            assert (summary.sum, summary.squares) == (other.sum, other.squares) or math.isnan(summary.squares)
            assert summary.distinct.estimate() == other.distinct.estimate()
            assert summary.quantile([0.1, 0.5]) == other.quantile([0.1, 0.5])


@given(SOME_ROWS, st.integers(0, 10_000), st.integers(1, 255))
def test_damaged_bytes_are_refused_or_still_a_profile(rows: list[Row], at: int, flip: int) -> None:
    data = next(iter(profile_batch(batch_of(rows), SLICE_MS).values())).to_bytes()
    at %= len(data)
    damaged = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
    for bad in (damaged, data[:at]):
        try:
            Profile.from_bytes(bad)
        except ProfileError as error:
            assert str(error)  # noqa: PT017 - some damage goes unnoticed, and that is allowed
