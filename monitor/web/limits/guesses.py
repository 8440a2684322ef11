"""Slows down those who guess secrets, at all doors together: tokens of the API, of events, signatures."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from monitor.clock import Clock
from monitor.web.limits.buckets import Buckets
from monitor.web.limits.sources import source_of
from monitor.web.problems import Refused

MOST_WRONG, REFILL_S = 20, 3.0
MOST_REMEMBERED = 1_000


class Guesses:
    """Counts wrong secrets by address.

    Parameters
    ----------
    clock : Clock

    Notes
    -----
    An address that has used its guesses up is refused before its secret is looked at, so that it does not
    learn whether that was right. Whoever shares it can still use what was right there before.
    """

    def __init__(self, clock: Clock) -> None:
        self._wrong = Buckets(clock, MOST_WRONG, REFILL_S)
        self._right: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = Lock()

    def check(self, address: str, hash_: str = "") -> None:
        """Refuse those who have guessed too often.

        Parameters
        ----------
        address : str
            Where the request comes from.
        hash_ : str
            Hash of the secret; empty if it is never the same twice, as signatures are.

        Raises
        ------
        Refused
            429, and when to come again.
        """
        source = source_of(address)
        if not self._wrong.is_out(source) or (source, hash_) in self._right:
            return
        after = {"Retry-After": str(self._wrong.retry_after_s(source))}
        raise Refused(429, "too many wrong tokens came from this address", headers=after)

    def wrong(self, address: str, hash_: str = "") -> None:
        """Count a wrong secret."""
        source = source_of(address)
        with self._lock:
            self._right.pop((source, hash_), None)
        self._wrong.take(source)

    def right(self, address: str, hash_: str) -> None:
        """Remember a secret that was right."""
        key = (source_of(address), hash_)
        with self._lock:
            self._right[key] = None
            self._right.move_to_end(key)
            if len(self._right) > MOST_REMEMBERED:
                self._right.popitem(last=False)
