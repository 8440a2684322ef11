"""Work that is done once for each reference, known by its identity: comparing its counts would cost more."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Generic, TypeVar

Kept = TypeVar("Kept")
Known = TypeVar("Known")

MOST_KEPT = 64


class _Same(Generic[Known]):
    """Something as a key: the same object, not an equal one."""

    def __init__(self, known: Known) -> None:
        self.known = known

    def __hash__(self) -> int:
        return id(self.known)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.known is self.known


def once(function: Callable[[Known], Kept]) -> Callable[[Known], Kept]:
    """Let a function of one object be called once for each, as long as not too many come in between.

    Examples
    --------
    >>> calls = []
    >>> count = once(lambda rows: calls.append(1) or len(rows))
    >>> rows = [1, 2]
    >>> count(rows), count(rows), len(calls)
    (2, 2, 1)
    """

    @lru_cache(maxsize=MOST_KEPT)
    def of_same(key: _Same[Known]) -> Kept:
        return function(key.known)

    @wraps(function)
    def kept(known: Known) -> Kept:
        return of_same(_Same(known))

    return kept
