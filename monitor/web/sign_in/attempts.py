"""Slows down those who guess: a bucket of attempts for every address, in memory, of a bounded number."""

from __future__ import annotations

import threading
from collections import OrderedDict

from monitor.clock import Clock

MOST_ADDRESSES = 10_000


class Attempts:
    """Counts attempts; a full bucket is there again after a while.

    Parameters
    ----------
    clock : Clock
    most : int
        Attempts at once.
    refill_s : float
        Seconds after which one more is allowed.

    Examples
    --------
    >>> from monitor.clock import ManualClock
    >>> clock = ManualClock()
    >>> attempts = Attempts(clock, most=2, refill_s=3.0)
    >>> [attempts.take("10.0.0.1") for _ in range(3)], attempts.take("10.0.0.2")
    ([True, True, False], True)
    >>> clock.sleep(3)
    >>> attempts.take("10.0.0.1")
    True
    """

    def __init__(self, clock: Clock, most: int, refill_s: float) -> None:
        self._clock, self._most, self._refill_s = clock, most, refill_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, address: str) -> bool:
        """Use one attempt up; whether there was one."""
        with self._lock:
            left = self._refilled(address)
            self._remember(address, max(0.0, left - 1) if left >= 1 else left)
            return left >= 1

    def is_out(self, address: str) -> bool:
        """Whether an address has no attempts left at the moment."""
        with self._lock:
            return self._refilled(address) < 1

    @property
    def retry_after_s(self) -> int:
        """Seconds after which it is worth trying again."""
        return max(1, round(self._refill_s))

    def _refilled(self, address: str) -> float:
        now = self._clock.monotonic()
        left, at = self._left.get(address, (float(self._most), now))
        return min(float(self._most), left + (now - at) / self._refill_s)

    def _remember(self, address: str, left: float) -> None:
        self._left[address] = left, self._clock.monotonic()
        self._left.move_to_end(address)
        while len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
