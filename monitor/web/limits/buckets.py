"""Token buckets: everybody may do something so often at once, and so often a second in the long run."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict

from monitor.clock import Clock

MOST_KEYS = 10_000
ALMOST = 1 - 1e-9  # of a token: sums of fractions come to a little less than they should


class Buckets:
    """A token bucket for each key; all are full at first.

    Parameters
    ----------
    clock : Clock
    most : int
        Tokens in a full bucket.
    refill_s : float
        Seconds after which there is one more.

    Guarantees
    ----------
    In any span of time, a key is given no more than `most` tokens and one for every `refill_s`, as long as it
    is among the `MOST_KEYS` keys that asked last; others are forgotten. Asking takes constant time.

    Examples
    --------
    >>> from monitor.clock import ManualClock
    >>> clock = ManualClock()
    >>> buckets = Buckets(clock, most=2, refill_s=3.0)
    >>> [buckets.take("10.0.0.1") for _ in range(3)], buckets.take("10.0.0.2")
    ([True, True, False], True)
    >>> buckets.retry_after_s("10.0.0.1")
    3
    >>> clock.sleep(3)
    >>> buckets.take("10.0.0.1")
    True
    """

    def __init__(self, clock: Clock, most: int, refill_s: float) -> None:
        self._clock, self._most, self._refill_s = clock, float(most), refill_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, key: str) -> bool:
        """Take a token; whether there was one."""
        with self._lock:
            left, now = self._now_left(key)
            is_there = left >= ALMOST
            self._left[key] = max(left - 1, 0.0) if is_there else left, now
            self._left.move_to_end(key)
            if len(self._left) > MOST_KEYS:
                self._left.popitem(last=False)
            return is_there

    def is_out(self, key: str) -> bool:
        """Whether a key has no tokens at the moment."""
        with self._lock:
            return self._now_left(key)[0] < ALMOST

    def retry_after_s(self, key: str) -> int:
        """Whole seconds until there is a token; at least one, as the header `Retry-After` says it."""
        with self._lock:
            missing = 1 - self._now_left(key)[0]
        return max(1, math.ceil(missing * self._refill_s))

    def _now_left(self, key: str) -> tuple[float, float]:
        now = self._clock.monotonic()
        known = self._left.get(key)
        if known is None:
            return self._most, now
        left, at = known
        return min(self._most, left + (now - at) / self._refill_s), now
