"""Quantile sketches of many sorted values at once.

The sketch is KLL from `datasketches`, which takes one value after the other and holds the interpreter's lock
meanwhile. For thousands of sorted values its result can be written down directly: compacting a sorted block
h times keeps one value of each 2^h, all at the same random place. That is done here by one strided view, put
into the bytes of a sketch, and merged.
"""

from __future__ import annotations

import struct

import numpy as np
from datasketches import kll_floats_sketch
from numpy.typing import NDArray

K = 128  # rank error about 2 %, 1.7 KiB
MANY = 2_048  # values from which writing a sketch down is quicker
_MOST = 2 * K  # values kept of a block
_AT_ONCE = 16_384  # up to here what is kept, and the tails, find room in the levels
_SMALLEST_LEVEL = 8
# Preamble of the published format, version 1: words of the preamble, version, family, flags, K,
# smallest level, unused, number of values, smallest K, number of levels, unused.
_PREAMBLE = struct.Struct("<BBBBHBBQHBB")


def add_sorted(sketch: kll_floats_sketch, ordered: NDArray[np.float32]) -> None:
    """Add values to a sketch.

    Parameters
    ----------
    sketch : kll_floats_sketch
        Of size `K`.
    ordered : float32 array [n]
        Ascending, finite.

    Notes
    -----
    The few values that do not fill a block of 2^h are the lowest and the highest ones; they are kept as they
    are. The place within the blocks depends on the values alone, so equal batches give equal sketches.

    References
    ----------
    .. [1] Z. Karnin, K. Lang, E. Liberty, "Optimal quantile approximation in streams", FOCS 2016.
    """
    if len(ordered) < MANY:
        sketch.update(ordered)
        return
    parts = len(ordered) // _AT_ONCE + 1
    for part in range(parts):
        sketch.merge(kll_floats_sketch.deserialize(_written(ordered[part::parts])))


def _written(ordered: NDArray[np.float32]) -> bytes:
    n = len(ordered)
    height = (n // _MOST).bit_length()
    step = 1 << height
    rest = n % step
    middle = ordered[rest // 2 : n - (rest - rest // 2)]
    place = (
        int(np.bitwise_xor.reduce(np.ascontiguousarray(ordered).view(np.uint32))) * 0x9E3779B1 % 2**32 * step
        >> 32
    )
    kept = middle[place::step]
    tails = np.concatenate((ordered[: rest // 2], ordered[n - (rest - rest // 2) :]))
    # The levels fill the end of the room: level 0 with the tails, empty ones, the highest with the rest.
    room = sum(_capacity(depth) for depth in range(height + 1))
    first = room - len(kept) - len(tails)
    levels = [first, *[first + len(tails)] * height]
    return b"".join(
        (
            _PREAMBLE.pack(5, 1, 15, 0, K, _SMALLEST_LEVEL, 0, n, K, height + 1, 0),
            np.array(levels, "<u4").tobytes(),
            np.array([ordered[0], ordered[-1]], "<f4").tobytes(),
            tails.astype("<f4").tobytes(),
            kept.astype("<f4").tobytes(),
        )
    )


def _capacity(depth: int) -> int:
    """Room of the level that is `depth` below the highest: K · (2/3)^depth, rounded as the format says."""
    two_thirds: int = (2 * K << depth) // 3**depth
    return max(_SMALLEST_LEVEL, (two_thirds + 1) >> 1)
