"""Whole numbers as few bytes: differences in the smallest integer type that holds them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack(values: NDArray[np.integer]) -> bytes:
    """Write differences in the smallest integer type that holds them; the first byte is its size.

    Examples
    --------
    >>> pack(np.array([300, 301, 301])).hex(), unpack(pack(np.array([300, 301, 301]))).tolist()
    ('022c0101000000', [300, 301, 301])
    """
    flat = np.ascontiguousarray(values, np.int64).ravel()
    if not flat.any():
        return b"\x01" + bytes(len(flat))
    delta = np.empty_like(flat)
    delta[0] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=delta[1:])
    low, high = int(np.minimum.reduce(delta)), int(np.maximum.reduce(delta))
    for size in (1, 2, 4):
        if -(1 << (8 * size - 1)) <= low and high < 1 << (8 * size - 1):
            return bytes([size]) + delta.astype(f"<i{size}").tobytes()
    return b"\x08" + delta.astype("<i8").tobytes()


def unpack(data: bytes) -> NDArray[np.int64]:
    """Read what `pack` wrote."""
    return np.cumsum(np.frombuffer(data, f"<i{data[0]}", offset=1), dtype=np.int64)
