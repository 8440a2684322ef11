"""References: the same rows give the same bytes, and so the same hash, however they were batched."""

from collections import Counter
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.profile import Profile, profile_batch
from detectors.reference import Reference, build
from schemas.errors import UnusableReference
from tests.properties.batches import ROWS, SLICE_MS, Row, batch_of, group_of

SOME_ROWS = st.lists(ROWS, min_size=1, max_size=25)


def reference_of(slices: dict[int, Profile]) -> Reference:
    """Build with two named segment values."""
    return build(
        slices, slice_ms=SLICE_MS, window_ms=2 * SLICE_MS, segments=("origin",), max_segment_values=2
    )


@given(SOME_ROWS, st.lists(st.integers(0, 25), max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_any_batching_gives_the_same_hash(rows: list[Row], cuts: list[int], order: Random) -> None:
    whole = reference_of(profile_batch(batch_of(rows), SLICE_MS))
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [profile_batch(batch_of(rows[a:b]), SLICE_MS) for a, b in pairwise(bounds)]
    order.shuffle(parts)
    slices: dict[int, Profile] = {}
    for part in parts:
        for start, profile in part.items():
            slices.setdefault(start, Profile()).merge(Profile.from_bytes(profile.to_bytes()))
    shuffled = list(slices.items())
    order.shuffle(shuffled)
    again = reference_of(dict(shuffled))
    assert again.to_bytes() == whole.to_bytes()
    assert again.hash == whole.hash


@given(SOME_ROWS)
@settings(max_examples=60)
def test_counts_are_those_of_the_rows(rows: list[Row]) -> None:
    reference = reference_of(profile_batch(batch_of(rows), SLICE_MS))
    counted = Counter(group_of(row.origin) for row in rows)
    named = sorted(
        (name for name in counted if name not in ("origin=(other)", "origin=(missing)")),
        key=lambda name: (-counted[name], name),
    )[:2]
    groups = dict(zip(reference.binning.groups, reference.group_rows.tolist(), strict=True))
    assert groups.pop("") == reference.rows == len(rows)
    assert groups.pop("origin=(missing)") == counted["origin=(missing)"]
    assert {name: groups[name] for name in named} == {name: counted[name] for name in named}
    assert groups.pop("origin=(other)") == len(rows) - sum(counted[n] for n in (*named, "origin=(missing)"))
    assert set(groups) == set(named)
    assert np.array_equal(reference.windows.sum(axis=0), reference.counts)
    starts = sorted({row.event_ms // (2 * SLICE_MS) * 2 * SLICE_MS for row in rows})
    assert reference.window_starts.tolist() == starts
    first = [row for row in rows if row.event_ms < 2 * SLICE_MS]
    if starts[0] == 0:
        at = reference.binning.offsets[reference.binning.index["x"]]
        end = reference.binning.offsets[reference.binning.index["x"] + 1]
        assert reference.windows[0, 0, at:end].sum() == len(first)
    slices = {row.event_ms // SLICE_MS * SLICE_MS for row in rows}
    assert (reference.from_ms, reference.to_ms) == (min(slices), max(slices) + SLICE_MS)


@given(SOME_ROWS)
@settings(max_examples=40)
def test_bytes_bring_everything_back(rows: list[Row]) -> None:
    reference = reference_of(profile_batch(batch_of(rows), SLICE_MS))
    again = Reference.from_bytes(reference.to_bytes())
    assert again.hash == reference.hash
    assert again.binning == reference.binning
    for name in ("counts", "group_rows", "window_starts", "windows", "means", "deviations"):
        assert np.array_equal(getattr(again, name), getattr(reference, name), equal_nan=True), name
    assert (again.from_ms, again.to_ms, again.longest_gap_ms) == (
        reference.from_ms,
        reference.to_ms,
        reference.longest_gap_ms,
    )


@given(SOME_ROWS, st.integers(0, 10_000), st.integers(1, 255), st.booleans())
@settings(max_examples=60)
def test_damaged_bytes_are_refused(rows: list[Row], at: int, flip: int, cut: bool) -> None:
    data = reference_of(profile_batch(batch_of(rows), SLICE_MS)).to_bytes()
    at %= len(data)
    damaged = data[:at] if cut else data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
    with pytest.raises(UnusableReference, match=r"^(damaged reference|not a reference)"):
        Reference.from_bytes(damaged)
