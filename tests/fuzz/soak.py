"""Reads the same inputs again and again, to see whether memory grows."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from tests.fuzz.target import Target

WARM_UP = 3
MOST_LEAKED = 8 << 20  # of all rounds together


def leaked(target: Target, inputs: Sequence[bytes], rounds: int) -> int:
    """Bytes by which memory has grown after `rounds` of all inputs, caches being full before them."""
    before = 0
    for number in range(WARM_UP + rounds):
        if number == WARM_UP:
            before = resident_bytes()
        for data in inputs:
            target.try_(data)
    return resident_bytes() - before


def resident_bytes() -> int:
    """Memory in use, everything given back that can be."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
