"""Which values were frequent: mergeable Misra–Gries counters with a certain error bound."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from detectors.tensor import IntArray
from schemas.errors import ProfileError, UsageError

_VERSION = 1
_HEADER = struct.Struct("<BIQQI")  # version, capacity, error, total, number of counters
_COUNTER = struct.Struct("<QI")  # count, bytes of the value that follow


class FrequentItem(NamedTuple):
    """A value and its count: ``lower ≤ true count ≤ upper``; the estimate is the lower bound."""

    value: str
    estimate: int
    lower: int
    upper: int


@dataclass
class FrequentItems:
    """Keep the most frequent values of a stream in a fixed number of counters.

    Parameters
    ----------
    capacity : int
        Most values kept, 1 or more. While no more than this many different values are seen, every count is
        exact.

    Raises
    ------
    UsageError
        If `capacity` is below 1.

    Attributes
    ----------
    total : int
        Rows counted.
    error : int
        Most rows that any value's count can be short of, kept or not.

    Notes
    -----
    When more than `capacity` counters are in use, the (capacity + 1)-th largest count is
    subtracted from all of them and those that reach zero are dropped. Each such step takes at least (capacity
    + 1) times what it adds to the error, hence ``error ≤ (total − Σ counters) / (capacity + 1)``, over any
    sequence of updates and merges.

    References
    ----------
    .. [1] J. Misra, D. Gries, "Finding repeated elements", Science of Computer Programming 2 (1982).
    .. [2] P. Agarwal, G. Cormode, Z. Huang, J. Phillips, Z. Wei, K. Yi, "Mergeable summaries", PODS 2012,
       section 3.

    Examples
    --------
    >>> frequent = FrequentItems(capacity=2)
    >>> frequent.update(["UA", "DL", "B6"], np.array([50, 30, 4]))
    >>> frequent.items()  # doctest: +ELLIPSIS
    [FrequentItem(value='UA', estimate=46, lower=46, upper=50), ...]
    >>> frequent.total, frequent.error
    (84, 4)
    """

    capacity: int = 64
    total: int = field(default=0, init=False)
    error: int = field(default=0, init=False)
    _counters: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.capacity < 1:
            msg = f"capacity: {self.capacity} (1 or more is allowed)"
            raise UsageError(msg)

    def update(self, values: Sequence[str], counts: IntArray) -> None:
        """Add the different values of one batch.

        Parameters
        ----------
        values : sequence of str
            Different values; each at most once.
        counts : IntArray
            How many rows held each value, 0 or more.

        Raises
        ------
        UsageError
            If lengths differ, a count is negative, or a value that matters is given twice.

        Notes
        -----
        The batch is first cut to its own `capacity` largest counts with array operations, so that a batch of
        100,000 different values costs no Python loop over them.
        """
        counts = np.asarray(counts, dtype=np.int64)
        if counts.shape != (len(values),):
            msg = f"counts: shape {counts.shape} for {len(values)} values (one count for each is allowed)"
            raise UsageError(msg)
        if counts.min(initial=0) < 0:
            msg = f"counts: {counts.min()} (0 or more is allowed)"
            raise UsageError(msg)
        cut = _cut(counts, self.capacity)
        kept = np.flatnonzero(counts > cut).tolist()
        names: Iterable[str] = values if len(kept) == len(values) else (values[row] for row in kept)
        batch = dict(zip(names, (counts[kept] - cut).tolist(), strict=True))
        if len(batch) != len(kept):
            msg = "values: a value is given twice (each different value once is allowed)"
            raise UsageError(msg)
        self._add(batch, cut, int(counts.sum()))

    def merge(self, other: FrequentItems) -> FrequentItems:
        """Counters of both streams together; neither operand changes.

        Raises
        ------
        ProfileError
            If the capacities differ.
        """
        if other.capacity != self.capacity:
            msg = f"frequent items of capacity {self.capacity} and {other.capacity} cannot be merged"
            raise ProfileError(msg)
        merged = FrequentItems(self.capacity)
        for part in (self, other):
            merged.total += part.total
            merged.error += part.error
        merged._counters = dict(self._counters)
        merged._add(other._counters, 0, 0)
        return merged

    def items(self) -> list[FrequentItem]:
        """Kept values, most frequent first, equal counts in order of value.

        Any value that is not kept occurred at most `error` times.
        """
        ranked = sorted(self._counters.items(), key=lambda item: (-item[1], item[0]))
        return [FrequentItem(value, count, count, count + self.error) for value, count in ranked]

    def to_bytes(self) -> bytes:
        """Serialise: version, capacity, error, total, then each counter in order of value."""
        parts = [_HEADER.pack(_VERSION, self.capacity, self.error, self.total, len(self._counters))]
        for value, count in sorted(self._counters.items()):
            text = value.encode("utf-8", "surrogatepass")
            parts += (_COUNTER.pack(count, len(text)), text)
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> FrequentItems:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ProfileError
            If the bytes are of another version, cut off, or not frequent items.
        """
        if not data or data[0] != _VERSION:
            msg = f"not frequent items of version {_VERSION}: {data[:8].hex() or 'no bytes'}"
            raise ProfileError(msg)
        try:
            return cls._read(data)
        except (struct.error, UnicodeDecodeError, UsageError) as error:
            msg = f"frequent items cannot be read: {error}"
            raise ProfileError(msg) from error

    @classmethod
    def _read(cls, data: bytes) -> FrequentItems:
        _, capacity, error, total, size = _HEADER.unpack_from(data)
        frequent = cls(capacity)
        frequent.error, frequent.total = error, total
        at = _HEADER.size
        for _ in range(size):
            count, length = _COUNTER.unpack_from(data, at)
            at += _COUNTER.size + length
            frequent._counters[data[at - length : at].decode("utf-8", "surrogatepass")] = count
        if at != len(data) or len(frequent._counters) != size or size > capacity:
            msg = f"frequent items: {len(data)} bytes do not hold {size} counters of at most {capacity}"
            raise ProfileError(msg)
        return frequent

    def _add(self, counters: Mapping[str, int], error: int, total: int) -> None:
        self.error += error
        self.total += total
        if self._counters:
            for value, count in counters.items():
                self._counters[value] = self._counters.get(value, 0) + count
        else:
            self._counters = dict(counters)
        if len(self._counters) <= self.capacity:
            return
        cut = _cut(np.array(list(self._counters.values()), dtype=np.int64), self.capacity)
        if cut:
            self._counters = {value: count - cut for value, count in self._counters.items() if count > cut}
            self.error += cut


def _cut(counts: IntArray, capacity: int) -> int:
    """Return the (capacity + 1)-th largest count, 0 where there is none."""
    if len(counts) <= capacity:
        return 0
    place = len(counts) - 1 - capacity
    return int(np.partition(counts, place)[place])
