"""Samples of whole rows: uniform, bounded, and honest about bytes that are none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from detectors.hashing import hash_strings
from detectors.profile import Profile, profile_batch
from detectors.reference import Reference
from detectors.sample import EVERY_KEY, MOST_ROWS, Sample, SampleState, union
from detectors.sealed import seal_raw, unseal_raw
from schemas.batch import CODE_MISSING, INVALID, MISSING, Batch, Categories
from schemas.column import ColumnSpec, Kind
from schemas.errors import ProfileError

GOLDEN = Path(__file__).parent.parent / "golden"
MINUTE = 60_000


def keys_of(first: int, rows: int, seed: int = 0) -> np.ndarray:
    return hash_strings(pa.array([f"{seed}-{i}" for i in range(first, first + rows)]))


def batch(rows: int = 8, *, first: int = 0, seed: int = 0, minute: int = 0) -> Batch:
    """Rows of every kind of column."""
    i = np.arange(first, first + rows)
    status = np.zeros((1, rows), np.uint8)
    status[0, i % 5 == 3], status[0, i % 5 == 4] = MISSING, INVALID
    codes = Categories((i % 3 - 1).astype(np.int32), pa.array(["UA", "DL"]))
    return Batch(
        event_ms=np.full(rows, minute * MINUTE),
        numeric=(ColumnSpec("x", Kind.NUMERIC),),
        numbers=np.where(status == 0, i[None, :] / 4, 0.0),
        status=status,
        categorical=(ColumnSpec("c", Kind.CATEGORICAL),),
        categories=(codes,),
        vectors=((ColumnSpec("v", Kind.VECTOR), (i % 2).astype(np.uint8)),),
        segments={"origin": codes},
        keys=keys_of(first, rows, seed),
    )


def sampled(most: int, *batches: Batch) -> Sample:
    sample = Sample(most)
    for one in batches:
        sample.add(one)
    return sample


def numbered(sizes: list[int], seed: int) -> list[Batch]:
    """Slices of rows without columns; their event time is their number."""
    ends = np.cumsum(sizes)
    return [
        Batch(
            event_ms=np.arange(end - size, end),
            numeric=(),
            numbers=np.zeros((0, size)),
            status=np.zeros((0, size), np.uint8),
            keys=keys_of(int(end) - size, size, seed),
        )
        for size, end in zip(sizes, ends.tolist(), strict=True)
    ]


# --- uniform ------------------------------------------------------------------------------------------------


def test_every_row_of_slices_of_unequal_size_is_as_likely() -> None:
    sizes = [20_000, 6_000, 900, 3_100]
    tenths = np.zeros(10 * len(sizes))
    edges = np.concatenate(
        [np.linspace(end - size, end, 11)[:-1] for size, end in zip(sizes, np.cumsum(sizes), strict=True)]
    )
    for seed in range(40):
        found = union(sampled(600, one) for one in numbered(sizes, seed))
        assert found.batch is not None
        places = np.searchsorted(edges, found.batch.event_ms, side="right") - 1
        tenths += np.bincount(places, minlength=len(tenths))
    wanted = np.repeat(sizes, 10) / (10 * sum(sizes)) * tenths.sum()
    assert stats.chisquare(tenths, wanted).pvalue > 0.001
    by_slice = tenths.reshape(len(sizes), 10).sum(axis=1)
    assert stats.chisquare(by_slice, wanted.reshape(len(sizes), 10).sum(axis=1)).pvalue > 0.001


def test_a_slice_on_its_own_is_sampled_evenly() -> None:
    counts = np.zeros(500)
    for seed in range(200):
        found = sampled(100, *numbered([250, 250], seed))
        assert found.rows == 100
        assert found.batch is not None
        counts[found.batch.event_ms] += 1
    # Drawn without repetition: each row in 1 of 5 samples, with the variance of 200 such draws.
    assert (counts.sum(), counts.mean()) == (20_000, 40)
    spread = ((counts - 40) ** 2).sum() / (200 * 0.2 * 0.8)
    assert 0.001 < stats.chi2.cdf(spread, 499) < 0.999


def test_fewer_rows_than_fit_are_all_there() -> None:
    sample = sampled(1_000, *numbered([300, 300], 0))
    assert (sample.rows, sample.threshold) == (600, EVERY_KEY)
    assert union([sample]).rows == 600


def test_a_union_is_of_a_window_unless_it_is_told_otherwise() -> None:
    samples = [sampled(3_000, one) for one in numbered([4_000, 4_000, 10], 1)]
    assert union(samples).rows == MOST_ROWS == 4_096
    assert 5_500 < union(samples, 10_000).rows <= 6_010
    nothing = union([])
    assert (nothing.rows, nothing.batch, nothing.most) == (0, None, MOST_ROWS)


# --- nothing to keep ----------------------------------------------------------------------------------------


def test_a_sample_of_no_rows_keeps_none() -> None:
    sample = sampled(0, batch())
    sample.merge(sampled(0, batch()), sampled(5, batch()))
    assert (sample.rows, sample.batch, sample.threshold) == (0, None, 0)
    again = Sample.from_state(sample.state())
    again.add(batch())
    assert (again.rows, again.most, again.threshold) == (0, 0, 0)
    assert union([sample, sampled(5, batch())]).rows == 0  # nothing is known of some of the rows


def test_profiles_keep_no_rows_unless_they_are_told_to() -> None:
    (profile,) = profile_batch(batch(), MINUTE).values()
    (with_rows,) = profile_batch(batch(), MINUTE, sample_rows=3).values()
    assert (profile.sample.rows, with_rows.sample.rows) == (0, 3)
    assert len(profile.to_bytes()) < len(with_rows.to_bytes())
    profile.merge(with_rows)
    assert (profile.rows, profile.sample.rows) == (16, 0)


def test_rows_without_keys_are_left_out() -> None:
    sample = sampled(5, replace(batch(), keys=None))
    assert sample.rows == 0
    sample.add(batch(4))
    assert sample.rows == 4


def test_only_the_rows_of_a_section_are_added() -> None:
    whole = batch(20)
    assert whole.keys is not None
    sample = Sample(100)
    sample.add(whole, 5, 9)
    sample.add(whole, 18)
    assert sample.batch is not None
    assert sample.batch.keys is not None
    assert sample.batch.keys.tolist() == sorted(whole.keys[[5, 6, 7, 8, 18, 19]].tolist())


def test_a_smaller_sample_is_none_for_a_larger_one_unless_it_has_every_row() -> None:
    larger = Sample(10)
    larger.merge(sampled(9, batch(9)))
    assert larger.rows == 9
    with pytest.raises(ProfileError, match="a sample of at most 9 rows is none of at most 10"):
        larger.merge(sampled(9, batch(10)))
    with pytest.raises(ProfileError, match="a sample of at most 0 rows is none of at most 10"):
        larger.merge(Sample(0))


# --- bytes --------------------------------------------------------------------------------------------------


def test_profiles_from_before_there_were_samples_are_read() -> None:
    reference = Reference.from_bytes((GOLDEN / "reference.bin").read_bytes())
    for name, binning in (("profile-learned.bin", None), ("profile-binned.bin", reference.binning)):
        old = Profile.from_bytes((GOLDEN / name).read_bytes(), binning)
        assert (old.rows, old.sample.rows, old.sample.most) == (20, 0, 0)
        again = Profile.from_bytes(old.to_bytes(), binning)
        assert (again.rows, again.sample.most) == (20, 0)
        total = Profile(old.binning, old.reference_hash)
        total.merge(old, again)
        assert (total.rows, total.sample.most) == (40, 0)


def test_a_sample_moves_onto_bins_with_its_profile() -> None:
    (learned,) = profile_batch(batch(), MINUTE, sample_rows=3).values()
    reference = Reference.from_bytes((GOLDEN / "reference.bin").read_bytes())
    moved, _ = learned.rebinned(reference.binning, reference.hash)
    again = Profile.from_bytes(moved.to_bytes(), reference.binning)
    assert again.sample.state() == moved.sample.state() == learned.sample.state()


def test_the_sample_of_a_profile_is_decoded_when_it_is_asked_for() -> None:
    (made,) = profile_batch(batch(), MINUTE, sample_rows=3).values()
    data = made.to_bytes()
    read = Profile.from_bytes(data)
    assert read.to_bytes() == data
    assert read.sample.state() == made.sample.state()
    assert read.to_bytes() == data
    state = msgspec.msgpack.decode(unseal_raw(b"DLP1", data, "profile"))
    *others, sample, violations, arrivals, by_segment = state
    assert isinstance(sample, bytes)
    changed = [*others, sample[:-4], violations, arrivals, by_segment]
    damaged = Profile.from_bytes(seal_raw(b"DLP1", msgspec.msgpack.encode(changed)))
    assert damaged.rows == 8
    with pytest.raises(ProfileError, match="damaged sample of rows"):
        _ = damaged.sample


def test_everything_about_the_rows_comes_back() -> None:
    sample = sampled(5, batch(50))
    again = Sample.from_state(sample.state())
    assert again.state() == sample.state()
    a, b = sample.batch, again.batch
    assert a is not None
    assert b is not None
    assert a.columns == b.columns
    for one, other in (
        (a.keys, b.keys),
        (a.numbers, b.numbers),
        (a.status, b.status),
        (a.event_ms, b.event_ms),
    ):
        np.testing.assert_array_equal(one, other)
    again.add(batch(3, first=50))  # what was read can be added to
    assert again.most == 5


def damage(state: SampleState) -> dict[str, dict[str, Any]]:
    """What may be wrong with a state, by what it is."""
    (categories,) = state.categories
    segment = state.segments["origin"]
    cut = msgspec.structs.replace(categories, codes=categories.codes[:-4])
    bytes_cut = msgspec.structs.replace(categories, codes=categories.codes[:-1])
    beyond = msgspec.structs.replace(categories, codes=np.full(8, 2, "<i4").tobytes())
    below = msgspec.structs.replace(categories, codes=np.full(8, CODE_MISSING - 2, "<i4").tobytes())
    return {
        "keys of more rows": {"keys": state.keys + state.keys},
        "numbers cut": {"numbers": state.numbers[:-8]},
        "half a number": {"numbers": state.numbers[:-3]},
        "status cut": {"status": state.status[:-1]},
        "a column too many": {"numeric": [*state.numeric, *state.numeric]},
        "a vector without its status": {"vectors": [*state.vectors, *state.vectors]},
        "codes cut": {"categories": [cut]},
        "half a code": {"categories": [bytes_cut]},
        "a code without its value": {"categories": [beyond]},
        "a code that means nothing": {"categories": [below]},
        "codes of a segment cut": {"segments": {"origin": msgspec.structs.replace(segment, codes=b"")}},
        "half a time": {"event_ms": state.event_ms[:-3]},
    }


@pytest.mark.parametrize("what", damage(sampled(8, batch()).state()))
def test_damaged_states_are_refused(what: str) -> None:
    state = sampled(8, batch()).state()
    bad = msgspec.structs.replace(state, **damage(state)[what])
    with pytest.raises(ProfileError, match="damaged sample of rows"):
        Sample.from_state(bad)
