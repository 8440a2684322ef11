"""Vectors in samples: cut by key, the same however they came, and watched by what a reference knows."""

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.effects import compare
from detectors.profile import profile_batch
from detectors.reference import Reference, build
from detectors.sample import LIST_NUMBERS, Sample, SampleState, union
from schemas.batch import INVALID, MISSING, OK, Batch, Lists
from schemas.column import ColumnSpec, Kind
from schemas.verdict import Lane

E = ColumnSpec("e", Kind.VECTOR)
HOUR = 3_600_000
FLOATS = pa.list_(pa.float64())


def batch(vectors, keys, event_ms=None):
    """Rows of one column of vectors; None: missing."""
    n = len(vectors)
    status = np.array([MISSING if v is None else OK for v in vectors], np.uint8)
    return Batch(
        event_ms=np.zeros(n, np.int64) if event_ms is None else event_ms,
        numeric=(), numbers=np.zeros((0, n)), status=np.zeros((0, n), np.uint8),
        vectors=((E, status),), keys=np.array(keys, np.uint64),
        lists={"e": Lists(pa.array([None if v is None else list(v) for v in vectors], FLOATS))},
    )  # fmt: skip


def again(sample):
    return Sample.from_state(msgspec.msgpack.decode(msgspec.msgpack.encode(sample.state()), type=SampleState))


LENGTHS = st.lists(st.none() | st.integers(0, 900), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 6), st.randoms(use_true_random=False), st.data())
def test_the_same_lists_are_kept_however_rows_came(lengths, most, random, data):
    rng = np.random.default_rng(len(lengths))
    vectors = [None if n is None else rng.normal(size=n).astype(np.float32) for n in lengths]
    keys = rng.choice(10**6, len(lengths), replace=False)
    whole = Sample(most)
    whole.add(batch(vectors, keys))
    order = list(range(len(lengths)))
    random.shuffle(order)
    cut = data.draw(st.integers(0, len(order)))
    merged = Sample(most)
    for part in (order[:cut], order[cut:]):
        sample = Sample(most)
        sample.add(batch([vectors[i] for i in part], keys[part]))
        merged.merge(again(sample))
    assert merged.state() == whole.state()
    kept = whole.lists("e")
    by_key = [vectors[i] for i in np.argsort(keys)[:most]]
    room = np.cumsum([0 if v is None else len(v) for v in by_key]) <= LIST_NUMBERS * most
    wanted = [None if v is None else v.tolist() for v in by_key[: len(room) if room.all() else room.argmin()]]
    assert ([] if kept is None else kept[1].to_pylist()) == wanted


def test_lists_take_bounded_room():
    rng = np.random.default_rng(1)
    sample = Sample(32)
    sample.add(batch(rng.normal(size=(500, 768)), np.arange(500)))
    assert sample.rows == 32
    kept = sample.lists("e")
    assert kept is not None
    assert len(kept[1]) == LIST_NUMBERS * 32 // 768 == 5
    assert len(msgspec.msgpack.encode(sample.state())) < 4 * LIST_NUMBERS * 32 + 2_000
    # Slices with fewer vectors lower the threshold for all: of each the same share.
    other = Sample(32)
    other.add(batch(rng.normal(size=(3, 768)), [2, 400, 401]))
    both = union([sample, other])
    found = both.lists("e")
    assert found is not None
    assert found[0].keys is not None
    assert found[0].keys.tolist() == [0, 1, 2, 2, 3, 4]


@pytest.fixture(scope="module")
def reference():
    """Four clusters of vectors of eight numbers, in 28 windows."""
    slices = {}
    for window in range(28):
        slices[window * HOUR] = profile_of(window)
    return build(slices, slice_ms=HOUR, window_ms=HOUR)


CENTRES = np.random.default_rng(0).normal(size=(4, 8)) * 3


def profile_of(window, shift=0.0, n=300):
    rng = np.random.default_rng([5, window])
    vectors = CENTRES[rng.integers(0, 4, n)] + 0.5 * rng.normal(size=(n, 8))
    vectors[:, 0] += shift
    rows = batch(vectors, rng.integers(0, 2**63, n), np.full(n, window * HOUR))
    return profile_batch(rows, HOUR, sample_rows=200)[window * HOUR]


def effects_of(reference, profile):
    moved, _ = profile.rebinned(reference.binning, reference.hash)
    window = reference.window(moved.counts, reference.relations.of(profile.sample).counts)
    tensor = reference.tensor
    found = compare(tensor.counts, window, tensor.layout, tensor.sd)
    return dict(zip(tensor.layout.columns, found.psi_debiased[0].tolist(), strict=True)), window


def test_what_is_watched_of_vectors(reference):
    names = [f"e[{x}]" for x in ("norm", "cluster", "pc1", "pc2", "pc3", "pc4", "reconstruction_error")]
    layout = reference.tensor.layout
    assert set(layout.columns) == {"e", *names}
    assert all(layout.lanes[layout.columns.index(name)] is Lane.MULTIVARIATE for name in names)
    again = Reference.from_bytes(reference.to_bytes())
    assert again.hash == reference.hash
    assert (again.tensor.counts == reference.tensor.counts).all()
    assert (again.tensor.windows == reference.tensor.windows).all()
    quiet, window = effects_of(again, profile_of(50))
    assert max(quiet.values()) < 0.05
    assert window.sum() == 300 + 7 * LIST_NUMBERS * 200 // LIST_NUMBERS  # all rows, and the sampled ones


def test_vectors_that_moved_are_seen(reference):
    moved, _ = effects_of(reference, profile_of(51, shift=4.0))
    assert moved["e"] < 0.01
    assert moved["e[reconstruction_error]"] > 0.5
    assert moved["e[norm]"] > 0.1


def test_vectors_that_cannot_be_read_are_invalid_and_missing_ones_missing(reference):
    n = 40
    vectors = [None] * 10 + [[1.0] * 3] * 10 + [[float("nan")] * 8] * 10 + CENTRES[[0] * 10].tolist()
    sample = Sample(100)
    sample.add(batch(vectors, np.arange(n)))
    counts = reference.relations.of(sample).counts[0]
    derived = reference.relations.derived
    for at, name in enumerate(derived.index):
        mine = counts[derived.offsets[at] : derived.offsets[at + 1]]
        assert (mine[-2], mine[-1], mine.sum()) == (10, 20, n), name


def test_wrong_status_codes_are_never_made(reference):
    rng = np.random.default_rng(9)
    sample = Sample(50)
    sample.add(batch(rng.normal(size=(20, 8)) * 1e31, np.arange(20)))
    counts = reference.relations.of(sample).counts[0]
    assert counts[-1] == 20  # beyond what 32 bits hold: invalid
    assert INVALID == 2
