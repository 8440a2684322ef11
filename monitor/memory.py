"""Keeps what a process holds near to what it needs.

Few heaps, large arrays apart, small pages, and free memory given back.

Allocators keep what was freed for the next time. A process that has taken over the partitions of another for
a while would hold what it needed then for ever after, in pieces all over its heap.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pyarrow as pa

from monitor.clock import Clock

EVERY_S = 1.0
LARGE_BYTES = 4 << 20
FREE_BYTES = 64 << 20  # at the end of a heap, kept until memory is given back
HEAPS = 2
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
_PR_SET_THP_DISABLE = 41  # prctl.h of Linux


class Memory:
    """Gives free memory back, at most once a second; that takes some milliseconds.

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
        pool = pa.default_memory_pool()
        if pool.backend_name != "system":  # which would call malloc_trim itself
            pool.release_unused()
        self._trim(0)
        self._next_s = self._clock.monotonic() + EVERY_S
        return True


def share_heaps() -> bool:
    """Let all threads, and Arrow, take memory from two heaps, and arrays of 4 MiB and more lie apart.

    glibc gives nearly every thread a heap of its own, and Arrow has an allocator with one for each thread as
    well. Each of them grows to what it held at its worst moment. Two together hold what all need at once.

    What lies apart has pages of its own, which go back when it is freed; a large array does if no heap has as
    much free. glibc does so at first, from 128 KiB on, but learns from every large array that is
    freed to keep larger ones in its heap, up to 32 MiB. There they leave holes, which what is small and stays
    then grows into. Arrays of one batch of events are smaller than this: new pages for each would cost more
    than they save. With a limit that is set glibc also stops to learn how much may be free at the end of a
    heap: left at the usual 128 KiB, an event would cost a sixth more.

    Heaps that there are stay: call this before threads are started.

    Returns
    -------
    bool
        Whether the C library takes it; others have rules of their own, and Arrow keeps its allocator there.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    options = {_M_ARENA_MAX: HEAPS, _M_MMAP_THRESHOLD: LARGE_BYTES, _M_TRIM_THRESHOLD: FREE_BYTES}
    if not all(mallopt(option, value) for option, value in options.items()):
        return False
    pa.set_memory_pool(pa.system_memory_pool())
    return True


def small_pages() -> bool:
    """Let memory come in pages of 4 KiB alone, whatever the system and libraries would like.

    numpy asks for huge pages wherever it puts an array of 4 MiB or more, and the wish stays with the
    addresses when something else is put there. From then on a byte takes 2 MiB there, and holes that were
    given back may be filled with huge pages again. Programs that are started from this one inherit it.

    Returns
    -------
    bool
        Whether the system takes it.
    """
    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return False
    return not prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)


def _trim() -> Callable[[int], object]:
    """Find glibc's ``malloc_trim``; other C libraries give back by themselves, or cannot."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return lambda _: None
    return found
