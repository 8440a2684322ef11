"""References and profiles that cannot be used say why."""

import re

import numpy as np
import pytest

from detectors.profile import Profile, profile_batch
from detectors.reference import Reference, build
from schemas.batch import Batch
from schemas.column import ColumnSpec, Kind
from schemas.errors import ProfileError, UnusableReference

MINUTE_MS = 60_000


def slices(values: list[float], every_ms: int = 1_000) -> dict[int, Profile]:
    """Profile one numeric column."""
    n = len(values)
    batch = Batch(
        np.arange(n) * every_ms,
        (ColumnSpec("x", Kind.NUMERIC),),
        np.array([values]),
        np.zeros((1, n), np.uint8),
    )
    return profile_batch(batch, MINUTE_MS)


def reference(values: list[float]) -> Reference:
    """Build from one column."""
    return build(slices(values), slice_ms=MINUTE_MS, window_ms=MINUTE_MS)


def test_no_rows_make_no_reference() -> None:
    with pytest.raises(UnusableReference, match=r"^no rows to make a reference of$"):
        build({0: Profile()}, slice_ms=MINUTE_MS, window_ms=MINUTE_MS)


@pytest.mark.parametrize("data", [b"", b"DLR0" + bytes(20), b"{}", b"DLP1"])
def test_bytes_of_another_version_are_no_reference(data: bytes) -> None:
    with pytest.raises(UnusableReference, match=re.escape(f"starts with {data[:4]!r}, b'DLR2' is known")):
        Reference.from_bytes(data)


@pytest.mark.parametrize("data", [b"", b"DLP0" + bytes(20), b"{}", b"DLR2"])
def test_bytes_of_another_version_are_no_profile(data: bytes) -> None:
    with pytest.raises(ProfileError, match=re.escape(f"starts with {data[:4]!r}, b'DLP1' is known")):
        Profile.from_bytes(data)


@pytest.mark.parametrize("data", [b"DLP1", b"DLP1" + b"\xff" * 40])
def test_a_profile_that_says_it_is_huge_or_is_cut_is_damaged(data: bytes) -> None:
    with pytest.raises(ProfileError, match=r"^damaged profile: "):
        Profile.from_bytes(data)


def test_profiles_of_different_references_cannot_be_added() -> None:
    one, two = reference([1.0, 2.0]), reference([3.0, 4.0])
    profile = Profile(one.binning, one.hash)
    with pytest.raises(
        ProfileError, match=f"on the bins of {two.hash} cannot be added to one on the bins of {one.hash}"
    ):
        profile.merge(Profile(two.binning, two.hash))
    with pytest.raises(
        ProfileError, match=f"on the bins of no reference cannot be added to one on the bins of {one.hash}"
    ):
        profile.merge(Profile())


def test_a_profile_is_read_with_the_bins_that_it_names() -> None:
    one, other = reference([1.0, 2.0]), reference(list(range(50)))
    data = Profile(one.binning, one.hash).to_bytes()
    with pytest.raises(ProfileError, match=f"on the bins of {one.hash} needs exactly those"):
        Profile.from_bytes(data)
    with pytest.raises(ProfileError, match="do not fit the bins of its reference"):
        Profile.from_bytes(data, other.binning)
    with pytest.raises(ProfileError, match="on the bins of no reference needs exactly those"):
        Profile.from_bytes(Profile().to_bytes(), one.binning)


def test_span_gaps_windows_and_moments() -> None:
    found = build(
        slices([float(i % 10) for i in range(10)], every_ms=45_000),
        slice_ms=MINUTE_MS,
        window_ms=2 * MINUTE_MS,
    )
    assert (found.rows, found.from_ms, found.to_ms) == (10, 0, 7 * MINUTE_MS)
    assert found.window_starts.tolist() == [0, 2 * MINUTE_MS, 4 * MINUTE_MS, 6 * MINUTE_MS]
    assert found.windows[:, 0].sum(axis=1).tolist() == [3, 3, 2, 2]
    assert found.means[0] == pytest.approx(4.5, rel=1e-3)
    assert found.deviations[0] == pytest.approx(np.std(np.arange(10)), rel=1e-3)
    assert len(found.hash) == 64
