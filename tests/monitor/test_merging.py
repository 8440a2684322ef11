"""Adding stored slices up: exact, whatever their order, and honest about what cannot be added."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from detectors.profile import profile_batch
from detectors.reference import build
from monitor.judging import merging
from monitor.judging.merging import joined, merge_slices
from monitor.profiling import Pointer
from schemas.batch import INVALID, OK, Batch, Categories
from schemas.column import ColumnSpec, Kind

MINUTE = 60_000
X, C = ColumnSpec("x", Kind.NUMERIC), ColumnSpec("c", Kind.CATEGORICAL)


def batch(minute=0, rows=200, seed=0, shift=0.0, invalid=0):
    rng = np.random.default_rng([seed, minute])
    status = np.zeros((1, rows), np.uint8)
    status[0, :invalid] = INVALID
    codes = rng.integers(0, 3, rows).astype(np.int32)
    return Batch(
        event_ms=np.full(rows, minute * MINUTE),
        numeric=(X,),
        numbers=np.where(status == OK, rng.normal(shift, 1, (1, rows)), 0.0),
        status=status,
        categorical=(C,),
        categories=(Categories(codes, pa.array(["a", "b", "z"])),),
    )


def profile(minute=0, pointer=None, **options):
    binning, hash_ = (pointer.binning, pointer.hash) if pointer else (None, "")
    return profile_batch(batch(minute, **options), MINUTE, binning, hash_)[minute * MINUTE]


def stored(id_, made, sources=None):
    return SimpleNamespace(
        id=id_,
        slice_ms=id_ * MINUTE,
        span_ms=0,
        reference_hash=made.reference_hash or None,
        rows=made.rows,
        sources=json.dumps(sources or {"t": {"0": [[id_, id_ + 1]]}}),
        bytes=made.to_bytes(),
    )


def exact(made):
    """Everything of a profile but its quantiles, which are drawn at random."""
    summaries = {
        name: (s.ok, s.invalid, s.sum, s.squares, s.lowest, s.highest, s.distinct.to_bytes())
        for name, s in made.summaries.items()
    }
    cells = {name: (c.shift, c.cell.tolist(), c.count.tolist()) for name, c in made.cells.items()}
    return made.groups, made.group_rows.tolist(), made.counts.tolist(), summaries, cells


def pointer_to(minutes, **options):
    slices = {m * MINUTE: profile(m, **options) for m in minutes}
    reference = build(slices, slice_ms=MINUTE, window_ms=10 * MINUTE)
    return Pointer(0, reference.hash, reference.binning)


@pytest.fixture
def pointer():
    return pointer_to(range(5))


def test_cells_add_up_to_what_counting_all_rows_at_once_gives():
    merged = merge_slices([stored(m, profile(m)) for m in range(6)], {}, None)
    once = profile(0)
    once.merge(*(profile(m) for m in range(1, 6)))
    assert merged.rows == merged.profile.rows == 1_200
    np.testing.assert_array_equal(merged.profile.cells["x"].count, once.cells["x"].count)
    assert merged.profile.summaries["x"].ok == 1_200
    assert merged.excluded_rows == merged.straddling == 0


@pytest.mark.parametrize("on_bins", [False, True])
def test_the_order_of_rows_changes_nothing(pointer, on_bins):
    target = pointer if on_bins else None
    rows = [stored(m, profile(m, pointer if on_bins and m % 2 else None)) for m in range(7)]
    rng = np.random.default_rng(3)
    first = merge_slices(rows, {}, target)
    for _ in range(3):
        again = merge_slices([rows[i] for i in rng.permutation(7)], {}, target)
        assert exact(again.profile) == exact(first.profile)
        assert (again.sources, again.slice_ids) == (first.sources, list(range(7)))


def test_slices_on_cells_move_onto_the_bins_of_the_reference(pointer):
    from_cells = merge_slices([stored(m, profile(m)) for m in range(5)], {}, pointer)
    from_bins = merge_slices([stored(m, profile(m, pointer)) for m in range(5)], {}, pointer)
    np.testing.assert_array_equal(from_cells.profile.counts, from_bins.profile.counts)
    assert from_cells.straddling == 0


def test_rows_on_other_bins_are_left_out_and_counted(pointer):
    other = pointer_to(range(20, 22), shift=5.0)
    rows = [stored(1, profile(1, pointer)), stored(2, profile(2, other)), stored(3, profile(3))]
    merged = merge_slices(rows, {}, pointer)
    assert (merged.rows, merged.excluded_rows, merged.profile.rows) == (600, 200, 400)
    assert merge_slices(rows, {}, None).excluded_rows == 400
    assert merged.slice_ids == [1, 2, 3]


def test_registered_kinds_win_over_what_a_slice_saw_first():
    as_text = merge_slices([stored(1, profile(1))], {"x": ColumnSpec("x", Kind.CATEGORICAL)}, None)
    assert as_text.profile.summaries["x"].spec.kind is Kind.CATEGORICAL
    assert (as_text.profile.summaries["x"].ok, as_text.profile.summaries["x"].invalid) == (0, 200)
    assert as_text.profile.cells["x"].total == 0


def test_registered_columns_without_a_value_do_not_appear(pointer):
    specs = {"later": ColumnSpec("later", Kind.NUMERIC)}
    for target in (None, pointer):
        assert "later" not in merge_slices([stored(1, profile(1))], specs, target).profile.summaries


def test_columns_that_turned_up_after_the_reference_keep_their_registered_kind(pointer):
    late = ColumnSpec("late", Kind.NUMERIC)
    made = batch(9)
    made = Batch(made.event_ms, (X, late), np.vstack([made.numbers] * 2), np.vstack([made.status] * 2))
    row = stored(1, profile_batch(made, MINUTE, pointer.binning, pointer.hash)[9 * MINUTE])
    assert merge_slices([row], {"late": late}, pointer).profile.summaries["late"].ok == 200
    other = merge_slices([row], {"late": ColumnSpec("late", Kind.VECTOR)}, pointer).profile
    assert (other.summaries["late"].ok, other.summaries["late"].invalid) == (0, 200)


def test_many_slices_are_merged_in_parts_of_bounded_size(monkeypatch):
    rows = [stored(m, profile(m, rows=20)) for m in range(11)]
    whole = merge_slices(rows, {}, None)
    monkeypatch.setattr(merging, "TOGETHER", 3)
    parts = merge_slices(rows, {}, None)
    assert parts.rows == parts.profile.rows == whole.rows == 220
    np.testing.assert_array_equal(parts.profile.cells["x"].cell, whole.profile.cells["x"].cell)
    np.testing.assert_array_equal(parts.profile.cells["x"].count, whole.profile.cells["x"].count)


def test_source_ranges_are_joined_and_sorted():
    sources = [
        {"b": {"10": [[5, 8]], "2": [[0, 3]]}},
        {"a": {"0": [[7, 9]]}, "b": {"2": [[3, 4]]}},
        {"b": {"2": [[10, 12]]}},
        {"b": {"2": [[10, 12]]}},
    ]
    merged = merge_slices([stored(i, profile(i), s) for i, s in enumerate(sources)], {}, None)
    assert merged.sources == {"a": {"0": [[7, 9]]}, "b": {"2": [[0, 4], [10, 12]], "10": [[5, 8]]}}
    assert list(merged.sources["b"]) == ["2", "10"]
    assert joined([]) == []


def test_nothing_merges_to_an_empty_profile(pointer):
    for target in (None, pointer):
        merged = merge_slices([], {}, target)
        assert (merged.rows, merged.profile.rows, merged.sources, merged.slice_ids) == (0, 0, {}, [])


def test_invalid_values_stay_invalid(pointer):
    merged = merge_slices([stored(1, profile(1, invalid=30)), stored(2, profile(2, pointer))], {}, pointer)
    assert merged.profile.summaries["x"].invalid == 30
    assert merged.profile.counts[0, int(pointer.binning.offsets[pointer.binning.index["x"] + 1]) - 1] == 30
