"""Rows picked from a table are those that a stream of the same events would have kept."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.profile import Profile, profile_batch
from detectors.sample import EVERY_KEY, MOST_ROWS, Sample, union
from monitor.frames import samples
from monitor.frames.samples import TableSamples
from schemas.batch import MISSING, Batch, Categories
from schemas.column import ColumnSpec, Kind

MINUTE = 60_000
HALF, HOUR = 30 * MINUTE, 60 * MINUTE


def batch(
    rows: int, seed: int = 0, *, until_ms: int = HOUR, from_ms: int = 0, keys: int = 2**64 - 1
) -> Batch:
    """Events in any order; the more of them the later."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-2, 3, rows).astype(np.int32)
    status = np.where(rng.random((1, rows)) < 0.1, MISSING, 0).astype(np.uint8)
    return Batch(
        event_ms=(from_ms + (until_ms - from_ms) * np.sqrt(rng.random(rows))).astype(np.int64),
        numeric=(ColumnSpec("x", Kind.NUMERIC),),
        numbers=np.where(status == 0, rng.normal(size=(1, rows)), 0.0),
        status=status,
        categorical=(ColumnSpec("c", Kind.CATEGORICAL),),
        categories=(Categories(codes, pa.array(["a", "b", "c"])),),
        segments={"origin": Categories(codes, pa.array(["EWR", "JFK", "LGA"]))},
        keys=rng.integers(0, keys, rows, np.uint64),
    )


def parts_of(whole: Batch, parts: int, seed: int = 0) -> list[Batch]:
    """Cut a batch at random; some parts may be empty."""
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(whole) + 1, parts - 1))
    return [whole.take(rows) for rows in np.split(np.arange(len(whole)), cuts) if len(rows)]


def streamed(
    parts: list[Batch], slice_ms: int, slice_rows: int, starts: np.ndarray, length_ms: int
) -> dict[int, Sample]:
    """The samples of windows as the service makes them: of stored slices, added up."""
    slices: dict[int, Profile] = {}
    for part in parts:
        for start, profile in profile_batch(part, slice_ms, sample_rows=slice_rows).items():
            again = Profile.from_bytes(profile.to_bytes())
            slices.setdefault(start, Profile(sample_rows=slice_rows)).merge(again)
    return {
        start: union(slices[at].sample for at in sorted(slices) if start <= at < start + length_ms)
        for start in starts.tolist()
    }


def picked(
    parts: list[Batch], slice_ms: int, slice_rows: int, every_ms: int, starts: np.ndarray, length_ms: int
) -> dict[int, Sample]:
    table = TableSamples(slice_ms, slice_rows, every_ms)
    for part in parts:
        table.add(part)
    return table.windows(starts, length_ms)


def told(sample: Sample) -> tuple[int, list[str]]:
    """Threshold and rows of a sample, whatever the order of the values of its categories."""
    found = sample.batch
    if found is None:
        return sample.threshold, []
    assert found.keys is not None
    values = [found.keys, found.event_ms, found.numbers[0], found.status[0]]
    for categories in (*found.categories, (found.segments or {})["origin"]):
        names = np.array([*categories.values.to_pylist(), "<invalid>", "<missing>"], object)
        values.append(names[categories.codes])
    return sample.threshold, sorted(repr(row) for row in zip(*(v.tolist() for v in values), strict=True))


def assert_same(mine: dict[int, Sample], theirs: dict[int, Sample]) -> None:
    assert list(mine) == list(theirs)
    for start, sample in mine.items():
        assert told(sample) == told(theirs[start])
        assert sample.most == MOST_ROWS


def starts_of(whole: Batch, every_ms: int, length_ms: int) -> np.ndarray:
    """All windows with a row."""
    first = int(whole.event_ms.min()) // every_ms * every_ms - length_ms + every_ms
    last = int(whole.event_ms.max()) // every_ms * every_ms
    return np.arange(first, last + 1, every_ms)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sort rows out often."""
    monkeypatch.setattr(samples, "_PENDING_ROWS", 2_500)


@pytest.mark.parametrize("slice_rows", [1, 32, 320, 4_096])
@pytest.mark.parametrize("order", ["sorted", "shuffled", "backwards"])
def test_a_table_in_any_order_gives_the_rows_of_the_stream(
    small_steps: None, slice_rows: int, order: str
) -> None:
    whole = batch(24_000, until_ms=HALF)
    by_time = np.argsort(whole.event_ms, kind="stable")
    rows = {"sorted": by_time, "shuffled": np.arange(24_000), "backwards": by_time[::-1]}[order]
    length_ms = 10 * MINUTE
    starts = starts_of(whole, length_ms, length_ms)
    parts = parts_of(whole.take(rows), 10)
    mine = picked(parts, MINUTE, slice_rows, length_ms, starts, length_ms)
    assert_same(mine, streamed(parts, MINUTE, slice_rows, starts, length_ms))
    one_piece = picked([whole], MINUTE, slice_rows, length_ms, starts, length_ms)
    assert_same(mine, one_piece)
    sizes = [sample.rows for sample in mine.values()]
    assert 0 < min(sizes) < max(sizes) <= MOST_ROWS


def test_more_rows_than_a_window_takes_are_thinned_out_like_in_the_stream(small_steps: None) -> None:
    whole = batch(90_000, until_ms=20 * MINUTE)
    starts = starts_of(whole, 10 * MINUTE, 10 * MINUTE)
    parts = parts_of(whole, 8)
    for slice_rows in (600, 4_096, 100_000):  # a slice alone can fill the window
        mine = picked(parts, MINUTE, slice_rows, 10 * MINUTE, starts, 10 * MINUTE)
        assert_same(mine, streamed(parts, MINUTE, slice_rows, starts, 10 * MINUTE))
        assert all(0 < sample.rows <= MOST_ROWS for sample in mine.values())
    assert [sample.rows for sample in mine.values()] == [MOST_ROWS, MOST_ROWS]


@pytest.mark.parametrize(("slice_rows", "every"), [(32, 5), (320, 15), (2_000, 15), (4_096, 30)])
def test_windows_that_overlap_share_their_rows(small_steps: None, slice_rows: int, every: int) -> None:
    whole = batch(40_000)
    every_ms, length_ms = every * MINUTE, 30 * MINUTE
    starts = starts_of(whole, every_ms, length_ms)
    assert len(starts) == 60 // every + 30 // every - 1
    parts = parts_of(whole, 8)
    mine = picked(parts, MINUTE, slice_rows, every_ms, starts, length_ms)
    assert_same(mine, streamed(parts, MINUTE, slice_rows, starts, length_ms))


def test_events_from_before_1970_have_slices_too(small_steps: None) -> None:
    whole = batch(5_000, from_ms=-HOUR, until_ms=HOUR)
    starts = starts_of(whole, 30 * MINUTE, 30 * MINUTE)
    parts = parts_of(whole, 5)
    mine = picked(parts, MINUTE, 20, 30 * MINUTE, starts, 30 * MINUTE)
    assert starts[0] < 0
    assert_same(mine, streamed(parts, MINUTE, 20, starts, 30 * MINUTE))


@given(
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 9)), min_size=1, max_size=60),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([(6, 6), (3, 6), (2, 12), (1, 4)]),
    st.integers(1, 5),
    st.sampled_from([1, 10, 1_000]),
)
def test_rows_with_the_same_key_are_in_or_out_together(rows, slice_rows, windows, parts, pending):
    every_ms, length_ms = (MINUTE * n for n in windows)
    whole = replace(
        batch(len(rows)),
        event_ms=np.array([minute for minute, _ in rows], np.int64) * MINUTE,
        keys=np.array([key for _, key in rows], np.uint64),
    )
    cut = parts_of(whole, parts)
    starts = starts_of(whole, every_ms, length_ms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "_PENDING_ROWS", pending)
        mine = picked(cut, MINUTE, slice_rows, every_ms, starts, length_ms)
    assert_same(mine, streamed(cut, MINUTE, slice_rows, starts, length_ms))


def test_repeated_keys_at_the_limit_of_a_window(small_steps: None) -> None:
    whole = batch(30_000, until_ms=10 * MINUTE, keys=3_000)  # each key about ten times
    starts = np.zeros(1, np.int64)
    for slice_rows in (500, 5_000):
        mine = picked(parts_of(whole, 20), MINUTE, slice_rows, 10 * MINUTE, starts, 10 * MINUTE)
        assert_same(mine, streamed([whole], MINUTE, slice_rows, starts, 10 * MINUTE))
        assert 0 < mine[0].rows < MOST_ROWS


def test_no_rows_are_picked_where_none_are_kept() -> None:
    whole = batch(1_000)
    starts = starts_of(whole, 30 * MINUTE, 30 * MINUTE)
    mine = picked([whole], MINUTE, 0, 30 * MINUTE, starts, 30 * MINUTE)
    assert list(mine) == starts.tolist()
    assert [(sample.rows, sample.most) for sample in mine.values()] == [(0, 0)] * len(starts)
    assert all(sample.rows == 0 for sample in streamed([whole], MINUTE, 0, starts, 30 * MINUTE).values())


def test_windows_without_rows_have_empty_samples() -> None:
    starts = np.array([-HOUR, 0, HOUR], np.int64)
    assert [sample.rows for sample in TableSamples(MINUTE, 32, HOUR).windows(starts, HOUR).values()] == [
        0
    ] * 3
    mine = picked([batch(100)], MINUTE, 32, HOUR, starts, HOUR)
    assert [sample.rows for sample in mine.values()] == [0, 100, 0]
    assert mine[-HOUR].threshold == EVERY_KEY


def test_rows_without_keys_are_not_picked() -> None:
    mine = picked([replace(batch(100), keys=None)], MINUTE, 32, HOUR, np.zeros(1, np.int64), HOUR)
    assert mine[0].rows == 0


def test_what_is_kept_is_bounded(small_steps: None) -> None:
    table = TableSamples(MINUTE, 100_000, HOUR)
    thin = TableSamples(MINUTE, 5, HOUR)
    for seed in range(20):
        table.add(batch(5_000, seed))
        thin.add(batch(5_000, seed))
    assert sum(len(part) for part in table._kept) <= MOST_ROWS + 1
    assert sum(len(part) for part in thin._kept) <= 60 * 6
