"""What is fuzzed: a name, inputs to begin with, and what has to be true of every input."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_S = 5.0  # processor time, of one input
MOST_GROWTH = 768 << 20  # of the most memory that the process ever had, by one input
LONGEST_INPUT = 1 << 16


@dataclass(frozen=True)
class Target:
    """One thing that reads what others wrote.

    Parameters
    ----------
    name : str
    seeds : tuple of bytes
        Inputs that it reads, made from the examples of the formats.
    check : callable
        Raises `AssertionError` where something is not as promised, and whatever should never be raised.
    surroundings : int
        Bytes in front that do not belong to the document, but say what is around it.
    """

    name: str
    seeds: tuple[bytes, ...]
    check: Callable[[bytes], None]
    surroundings: int = 0

    def try_(self, data: bytes) -> None:
        """Check one input, also that it takes neither long nor much memory.

        Raises
        ------
        AssertionError
            If something is not as promised.
        """
        before_kib, started_s = _most_kib(), time.process_time()
        self.check(data)
        spent_s, grown = time.process_time() - started_s, (_most_kib() - before_kib) << 10
        assert spent_s <= LONGEST_S, f"{self.name}: {spent_s:.1f} s for an input of {len(data)} bytes"
        assert grown <= MOST_GROWTH, f"{self.name}: {grown >> 20} MiB for an input of {len(data)} bytes"


def _most_kib() -> int:
    """Most memory that the process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
