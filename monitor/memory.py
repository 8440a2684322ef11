"""Keeps what a process holds near to what it needs: large arrays lie apart, free memory is given back.

Allocators keep what was freed for the next time. A process that has taken over the partitions of another for
a while would hold what it needed then for ever after, in pieces all over its heap.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pyarrow as pa

from monitor.clock import Clock

EVERY_S = 30.0
LARGE_BYTES = 4 << 20
FREE_BYTES = 64 << 20  # at the end of a heap, kept until memory is given back
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


class Memory:
    """Gives free memory back, at most twice a minute.

    Parameters
    ----------
    clock : Clock
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_s = clock.monotonic() + EVERY_S
        self._trim = _trim()

    def give_back(self) -> bool:
        """Give back what is free, if it was not done just now; returns whether it was."""
        if self._clock.monotonic() < self._next_s:
            return False
        pa.default_memory_pool().release_unused()
        self._trim(0)
        self._next_s = self._clock.monotonic() + EVERY_S
        return True


def keep_large_apart() -> bool:
    """Let every array of 4 MiB and more have pages of its own from now on, which go back when it is freed.

    glibc does so at first, from 128 KiB on, but learns from every large array that is freed to keep larger
    ones in its heap, up to 32 MiB. There they leave holes, which what is small and stays then grows into.
    Arrays of one batch of events are smaller than this: new pages for each would cost more than they save.
    With a limit that is set glibc also stops to learn how much may be free at the end of a heap: left at the
    usual 128 KiB, an event would cost a sixth more.

    Returns
    -------
    bool
        Whether the C library takes it; others have rules of their own.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES) and mallopt(_M_TRIM_THRESHOLD, FREE_BYTES))
    except (AttributeError, OSError):
        return False


def _trim() -> Callable[[int], object]:
    """Find glibc's ``malloc_trim``; other C libraries give back by themselves, or cannot."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return lambda _: None
    return found
