"""A part of a stored profile is what all of the profile says of it."""

import numpy as np
import pytest

from detectors.partial_profile import read_column, read_counts, read_moments, read_summary
from detectors.profile import Profile, profile_batch
from detectors.reference import build
from schemas.errors import ProfileError
from tests.monitor.web_world import MINUTE, batch


@pytest.fixture(scope="module")
def reference():
    slices = {at: part for m in range(10) for at, part in profile_batch(batch(m), MINUTE).items()}
    return build(slices, slice_ms=MINUTE, window_ms=10 * MINUTE, segments=("c",))


@pytest.fixture(scope="module")
def stored(reference):
    (profile,) = profile_batch(batch(30), MINUTE, reference.binning, reference.hash).values()
    return profile.to_bytes()


@pytest.mark.parametrize("column", ["x", "score", "c"])
def test_a_column_is_read_as_the_whole_has_it(reference, stored, column):
    binning, whole = reference.binning, Profile.from_bytes(stored, reference.binning)
    at = binning.index[column]
    part = read_column(stored, binning, reference.hash, column)
    assert part.counts is not None
    assert np.array_equal(part.counts, whole.counts[:, binning.offsets[at] : binning.offsets[at + 1]])
    assert (part.sketch is None) == (column == "c")
    if part.sketch is not None:
        assert part.sketch.get_quantiles([0.5]) == whole.summaries[column].quantile([0.5])


def test_counts_on_other_bins_are_none(reference, stored):
    assert read_column(stored, reference.binning, "0" * 64, "x").counts is None
    (loose,) = profile_batch(batch(30), MINUTE).values()
    assert read_column(loose.to_bytes(), reference.binning, reference.hash, "x").counts is None


def test_unknown_columns_are_empty_and_damage_is_said(reference, stored):
    unknown = read_column(stored, reference.binning, reference.hash, "y")
    assert (unknown.counts, unknown.sketch) == (None, None)
    with pytest.raises(ProfileError, match="damaged profile"):
        read_column(stored[:-5] + b"12345", reference.binning, reference.hash, "x")


def test_counts_of_all_rows_are_those_of_the_whole(reference, stored):
    whole = Profile.from_bytes(stored, reference.binning)
    part = read_counts(stored, reference.binning)
    assert part.rows == whole.rows
    assert np.array_equal(part.counts, whole.counts[0])
    (loose,) = profile_batch(batch(30), MINUTE).values()
    with pytest.raises(ProfileError, match="do not fit the bins"):
        read_counts(loose.to_bytes(), reference.binning)


def test_summaries_and_moments_are_those_of_the_whole(reference, stored):
    whole = Profile.from_bytes(stored, reference.binning)
    found = read_summary(stored, "x")
    assert found is not None
    assert found.state() == whole.summaries["x"].state()
    assert read_summary(stored, "y") is None
    rows, moments = read_moments(stored)
    assert rows == whole.rows
    assert {one.spec.name for one in moments} == whole.summaries.keys()
