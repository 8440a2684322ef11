"""Gives memory that is free back to the operating system, now and then.

Allocators keep what was freed for the next time. A process that has taken over the partitions of another for
a while would hold what it needed then for ever after, in pieces all over its heap.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pyarrow as pa

from monitor.clock import Clock

EVERY_S = 30.0


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


def _trim() -> Callable[[int], object]:
    """Find glibc's ``malloc_trim``; other C libraries give back by themselves, or cannot."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return lambda _: None
    return found
