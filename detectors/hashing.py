"""driftline64 v1: a 64-bit hash of strings and numbers, computed for a whole Arrow array at once.

A value always has the same hash, whatever batch, process or machine it is seen in, so sketches and duplicate
filters can be stored and merged. It is not keyed and gives no protection against someone who looks for
collisions.

Definition
----------
All arithmetic is modulo 2⁶⁴.

1. ``mix(z)``: ``z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB; z ^= z >> 31``.
2. ``absorb(h, w) = mix((h ^ w) + 0x9E3779B97F4A7C15)``.
3. The bytes of a string are read as little-endian 8-byte words; the last word is filled up with zero bytes.
4. ``chain`` of at most 64 words: start from the seed and absorb the words in order.
5. While there are more than 64 words, each block of 64 (the last may be shorter) is replaced by its chain.
6. The hash is ``absorb(chain(words), length in bytes)``.

Numbers are one word (their IEEE 754 bits, with one zero and one NaN) absorbed by another seed.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pyarrow as pa

from detectors.tensor import FloatArray, HashArray, IntArray
from schemas.errors import UsageError

ALGORITHM = "driftline64 v1"
NULL_HASH = 0x6E756C6C2D763121
STRING_SEED = 0x6472696674363431
NUMBER_SEED = 0x6E756D6265723634
BLOCK_WORDS = 64

_OffsetType: TypeAlias = np.dtype[np.int32] | np.dtype[np.int64]

_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
_TAIL_MASKS = np.array([2**64 - 1, *(2 ** (8 * size) - 1 for size in range(1, 8))], dtype=np.uint64)
_ROWS_AT_ONCE = 8_192  # keeps the working arrays in the processor's cache


def hash_strings(array: pa.Array) -> HashArray:
    """Hash every string of an Arrow array.

    Parameters
    ----------
    array : pa.Array
        UTF-8 strings or binary with 32- or 64-bit offsets, or a dictionary of them; sliced arrays and nulls
        are fine.

    Returns
    -------
    HashArray
        One uint64 a row; `NULL_HASH` where the row is null.

    Raises
    ------
    UsageError
        If the array holds anything else.

    Notes
    -----
    The loop runs over word indexes, at most 64 at a time, never over rows; a very long string
    costs the same a byte as a short one.

    References
    ----------
    .. [1] G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. The
       finaliser in `mix` uses the constants of D. Stafford's variant 13 given there.

    Examples
    --------
    >>> hashes = hash_strings(pa.array(["UA", None, "UA"]))
    >>> f"{hashes[0]:016x}", bool(hashes[0] == hashes[2]), int(hashes[1]) == NULL_HASH
    ('28fdc47632416648', True, True)
    """
    if pa.types.is_dictionary(array.type):
        return _hash_dictionary(array)
    offset_type = _offset_type(array.type)
    hashes = np.empty(len(array), dtype=np.uint64)
    for begin in range(0, len(array), _ROWS_AT_ONCE):
        data, starts, lengths = _extents(array.slice(begin, _ROWS_AT_ONCE), offset_type)
        words, firsts, counts = _words(data, starts, lengths)
        chains = _chain_long(words, firsts, counts)
        hashes[begin : begin + len(chains)] = _absorb(chains, lengths.view(np.uint64))
    if array.null_count:
        hashes[array.is_null().to_numpy(zero_copy_only=False)] = NULL_HASH
    return hashes


def hash_numbers(values: FloatArray) -> HashArray:
    """Hash every number of an array; equal numbers have equal hashes, and different numbers never collide.

    Parameters
    ----------
    values : FloatArray
        Any float64 values. ``-0.0`` counts as ``0.0`` and all NaNs as one value.

    Returns
    -------
    HashArray
        One uint64 a value.

    Examples
    --------
    >>> hashes = hash_numbers(np.array([0.0, -0.0, np.nan, -np.nan]))
    >>> len(np.unique(hashes))
    2
    """
    normal = np.asarray(values, dtype=np.float64) + 0.0  # -0.0 + 0.0 is 0.0
    normal[np.isnan(normal)] = np.nan
    return _absorb(np.full(normal.shape, NUMBER_SEED, dtype=np.uint64), normal.view(np.uint64))


def combine_hashes(state: HashArray, word: HashArray) -> HashArray:
    """Hash pairs of hashes, element by element; the order counts."""
    return _absorb(state, word)


def _hash_dictionary(array: pa.DictionaryArray) -> HashArray:
    entries = np.append(hash_strings(array.dictionary), np.uint64(NULL_HASH))
    indices = array.indices.cast(pa.int64()).fill_null(len(entries) - 1)
    places: IntArray = indices.to_numpy(zero_copy_only=False)
    return entries[places]


def _offset_type(kind: pa.DataType) -> _OffsetType:
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return np.dtype(np.int32)
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return np.dtype(np.int64)
    msg = f"cannot hash an array of {kind} as strings (string and binary are allowed)"
    raise UsageError(msg)


def _extents(array: pa.Array, offset_type: _OffsetType) -> tuple[HashArray, IntArray, IntArray]:
    """Words that begin at each byte of the data, and where each row starts and how long it is, in bytes."""
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, offset_type, len(array) + 1, array.offset * offset_type.itemsize)
    begin, end = int(offsets[0]), int(offsets[-1])
    data = memoryview(b"" if data_buffer is None else data_buffer)[begin:end]
    offsets = offsets.astype(np.int64) - begin
    return _unaligned_words(data), offsets[:-1], np.diff(offsets)


def _unaligned_words(data: memoryview) -> HashArray:
    """Copy `data`, add zeros, and view it so that element i is the 8-byte word that begins at byte i."""
    padded = np.empty(len(data) + 8, dtype=np.uint8)
    padded[: len(data)] = np.frombuffer(data, dtype=np.uint8)
    padded[len(data) :] = 0
    return np.ndarray((len(data) + 1,), dtype="<u8", buffer=padded, strides=(1,))


def _words(data: HashArray, starts: IntArray, lengths: IntArray) -> tuple[HashArray, IntArray, IntArray]:
    """All words of all rows in one array, and where each row's words begin and how many they are."""
    counts = (lengths + 7) >> 3
    ends = np.cumsum(counts)
    firsts = ends - counts
    at = np.repeat(starts - 8 * firsts, counts)
    at += np.arange(len(at)) << 3
    words = data[at]
    filled = lengths > 0
    words[ends[filled] - 1] &= _TAIL_MASKS[lengths[filled] & 7]
    return words, firsts, counts


def _chain_long(words: HashArray, firsts: IntArray, counts: IntArray) -> HashArray:
    """Chain of every row; rows of more than `BLOCK_WORDS` words are replaced by their blocks' chains."""
    is_long = counts > BLOCK_WORDS
    if not is_long.any():
        return _chain(words, firsts, counts)
    blocks = -(-counts[is_long] // BLOCK_WORDS)
    block_firsts = np.cumsum(blocks) - blocks
    inside = BLOCK_WORDS * (np.arange(blocks.sum()) - np.repeat(block_firsts, blocks))
    rest = np.repeat(counts[is_long], blocks) - inside
    digests = _chain(words, np.repeat(firsts[is_long], blocks) + inside, np.minimum(rest, BLOCK_WORDS))
    chains = np.empty(len(counts), dtype=np.uint64)
    chains[is_long] = _chain_long(digests, block_firsts, blocks)
    chains[~is_long] = _chain(words, firsts[~is_long], counts[~is_long])
    return chains


def _chain(words: HashArray, firsts: IntArray, counts: IntArray) -> HashArray:
    """Absorb each row's words, at most `BLOCK_WORDS`, in order, starting from the seed."""
    chains = np.full(len(counts), STRING_SEED, dtype=np.uint64)
    shared = int(counts.min()) if len(counts) else 0
    for index in range(shared):
        chains = _absorb(chains, words[firsts + index])
    if shared == counts.max(initial=0):
        return chains
    longest_first = (BLOCK_WORDS - counts).astype(np.uint8)  # so that the rows still active lead
    order = np.argsort(longest_first, kind="stable")
    active_rows = len(counts) - np.cumsum(np.bincount(counts, minlength=1))
    for index in range(shared, len(active_rows) - 1):
        active = order[: active_rows[index]]
        chains[active] = _absorb(chains[active], words[firsts[active] + index])
    return chains


def _absorb(state: HashArray, word: HashArray) -> HashArray:
    mixed = state ^ word
    mixed += _INCREMENT
    mixed ^= mixed >> np.uint64(30)
    mixed *= _FIRST_FACTOR
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND_FACTOR
    mixed ^= mixed >> np.uint64(31)
    return mixed
