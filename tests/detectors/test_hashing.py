"""driftline64 v1 equals its definition, whatever the batch, and scatters well."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.hashing import BLOCK_WORDS, NULL_HASH, NUMBER_SEED, STRING_SEED, hash_numbers, hash_strings
from schemas.errors import UsageError

MASK = 2**64 - 1
GOLDEN = ["1046348a43d4dfef", "28fdc47632416648", "9d7b873824562d75", "a809a6fe3aca6ac6"]
TYPES = [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()]


def absorb(state: int, word: int) -> int:
    z = ((state ^ word) + 0x9E3779B97F4A7C15) & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def chain(words: list[int]) -> int:
    state = STRING_SEED
    for word in words:
        state = absorb(state, word)
    return state


def by_definition(value: bytes) -> int:
    words = [int.from_bytes(value[at : at + 8], "little") for at in range(0, len(value), 8)]
    while len(words) > BLOCK_WORDS:
        words = [chain(words[at : at + BLOCK_WORDS]) for at in range(0, len(words), BLOCK_WORDS)]
    return absorb(chain(words), len(value))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.none() | st.text(max_size=30) | st.integers(0, 1200).map("é".__mul__), max_size=30),
    st.integers(0, 5),
    st.sampled_from(TYPES),
)
def test_equals_the_definition_in_any_slice(values, skip, kind):
    data = [None if value is None else value.encode() for value in values]
    array = pa.array(data, pa.binary()).cast(kind).slice(skip)
    expected = [NULL_HASH if value is None else by_definition(value) for value in data[skip:]]
    assert hash_strings(array).tolist() == expected


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 511, 512, 513, 1024, 32_768, 32_769, 100_001])
def test_equals_the_definition_at_every_boundary(size):
    value = bytes(at * 31 % 251 for at in range(size))
    assert hash_strings(pa.array([b"x", value, None, b""])).tolist() == [
        by_definition(b"x"),
        by_definition(value),
        NULL_HASH,
        by_definition(b""),
    ]


def test_stored_hashes_stay_what_they_are():
    hashes = hash_strings(pa.array(["", "UA", "0" * 16, "é" * 400]))
    assert [f"{value:016x}" for value in hashes.tolist()] == GOLDEN


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=40), st.integers(1, 10))
def test_does_not_depend_on_the_batch(values, size):
    parts = [hash_strings(pa.array(values[at : at + size])) for at in range(0, len(values), size)]
    assert np.array_equal(np.concatenate(parts), hash_strings(pa.array(values)))


def test_does_not_depend_on_how_many_rows_are_hashed_at_once():
    values = [f"{row}" * (row % 7) for row in range(20_000)]
    one_by_one = [by_definition(value.encode()) for value in values]
    assert hash_strings(pa.array(values)).tolist() == one_by_one


def test_dictionary_arrays_hash_like_their_values():
    values = pa.array(["UA", None, "DL", "UA", ""])
    encoded = values.dictionary_encode()
    assert np.array_equal(hash_strings(encoded), hash_strings(values))
    assert np.array_equal(hash_strings(encoded.slice(1, 3)), hash_strings(values.slice(1, 3)))


def test_empty_arrays_and_bytes_under_a_null():
    assert hash_strings(pa.array([], pa.string())).shape == (0,)
    assert hash_strings(pa.array([], pa.string()).dictionary_encode()).shape == (0,)
    assert hash_strings(pa.nulls(3, pa.string())).tolist() == [NULL_HASH] * 3
    buffers = [b"\x02", np.array([0, 3, 5], "<i4"), b"abcde"]
    hidden = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(buffer) for buffer in buffers])
    assert hash_strings(hidden).tolist() == [NULL_HASH, by_definition(b"de")]


@pytest.mark.parametrize("array", [pa.array([1, 2]), pa.array([[1]]), pa.array([1.5]).dictionary_encode()])
def test_other_types_are_refused_by_name(array):
    with pytest.raises(UsageError, match="cannot hash an array of"):
        hash_strings(array)


def test_one_changed_bit_changes_half_of_the_hash():
    generator = np.random.default_rng(1)
    for size in (1, 8, 13, 24):
        rows = generator.integers(0, 256, (400, size), dtype=np.uint8)
        before = hash_strings(pa.array([row.tobytes() for row in rows]))
        for bit in range(0, 8 * size, 5):
            changed = rows.copy()
            changed[:, bit // 8] ^= np.uint8(1 << bit % 8)
            after = hash_strings(pa.array([row.tobytes() for row in changed]))
            flipped = np.unpackbits((before ^ after).view(np.uint8)).reshape(400, 64)
            assert abs(flipped.mean() - 0.5) < 0.02
            assert abs(flipped.mean(axis=0) - 0.5).max() < 0.13  # 5 standard errors of 400 coin flips


def test_similar_identifiers_neither_collide_nor_cluster():
    hashes = hash_strings(pa.array([f"event-{row:012d}" for row in range(200_000)]))
    assert len(np.unique(hashes)) == 200_000
    for shift in (0, 24, 56):
        buckets = np.bincount((hashes >> np.uint64(shift) & np.uint64(255)).astype(np.intp), minlength=256)
        assert ((buckets - 200_000 / 256) ** 2).sum() / (200_000 / 256) < 360  # χ² with 255 degrees, p = 1e-5


def test_zero_bytes_at_the_end_matter():
    assert len(set(hash_strings(pa.array([b"\0" * size for size in range(40)])).tolist())) == 40


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(), max_size=20))
def test_numbers_equal_the_definition(values):
    array = np.array(values, dtype=np.float64)
    normal = [np.nan if value != value else value + 0.0 for value in values]
    expected = [absorb(NUMBER_SEED, int(np.float64(value).view(np.uint64))) for value in normal]
    before = array.tobytes()
    assert hash_numbers(array).tolist() == expected
    assert array.tobytes() == before


def test_every_nan_is_one_value_and_both_zeros_are_one():
    bits = np.array([0x7FF8000000000000, 0xFFF8000000000001, 0x7FF8000000000123], dtype=np.uint64)
    assert len(set(hash_numbers(bits.view(np.float64)).tolist())) == 1
    assert len(set(hash_numbers(np.array([0.0, -0.0])).tolist())) == 1
    assert len(set(hash_numbers(np.arange(-5_000.0, 5_000.0)).tolist())) == 10_000
