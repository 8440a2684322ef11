"""Recognises events that come twice in a partition, by 64-bit hashes of their ids in buckets of time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Buckets = NDArray[np.int64]

BUCKET_MS = 60_000
_FORMAT = np.dtype([("hash", "<u8"), ("bucket", "<i8")])


class Seen:
    """Event ids of one partition that came within a window of time.

    An event is a duplicate if the same id was counted in the partition at most `window_ms` before (in whole
    minutes, by the timestamps of the Kafka records). Timestamps that go back are taken for the newest
    one before them. The answer depends neither on how messages are batched nor on when they are stored.

    Parameters
    ----------
    window_ms : int
        How long an id is remembered; 0 remembers nothing.

    Notes
    -----
    Sorted runs of geometrically growing size: an event costs a few binary searches. Memory is 16 bytes an
    event of the window, and at most a third more for what is older: such ids go when two runs become one,
    or once they are a quarter of their run.
    """

    def __init__(self, window_ms: int) -> None:
        self._width = -(-window_ms // BUCKET_MS)
        self._runs: list[tuple[Hashes, Buckets]] = []
        self._new: list[tuple[Hashes, Buckets]] = []
        self._newest = self._stored_newest = 0

    def restore(self, stored: list[tuple[int, bytes]]) -> None:
        """Take over what `take_new` gave out before."""
        self._newest = self._stored_newest = max(
            (newest_ms // BUCKET_MS for newest_ms, _ in stored), default=0
        )
        if joined := b"".join(data for _, data in stored):
            rows = np.frombuffer(joined, _FORMAT)
            none = np.zeros(0, np.uint64), np.zeros(0, np.int64)
            run = self._joined(none, (rows["hash"].astype(np.uint64), rows["bucket"].astype(np.int64)))
            self._runs = [run] if len(run[0]) else []

    def check(self, hashes: Hashes, timestamps_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which events are duplicates; the others are remembered.

        Parameters
        ----------
        hashes : uint64 array [n]
        timestamps_ms : int64 array [n]
            Of the records.
        """
        if not self._width or not len(hashes):
            return np.zeros(len(hashes), bool)
        buckets = np.maximum(np.maximum.accumulate(timestamps_ms // BUCKET_MS), self._newest)
        is_later = int(buckets[-1]) > self._newest
        self._newest = int(buckets[-1])
        order = np.argsort(hashes)
        ordered = hashes[order]
        same = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
        if len(same):  # equal ids must stay in the order in which they came
            order = np.argsort(hashes, kind="stable")
        when = buckets[order]
        twice = np.zeros(len(hashes), bool)
        for known, since in self._runs:
            at = np.searchsorted(known, ordered)
            at[at == len(known)] = len(known) - 1
            hit = np.flatnonzero(known[at] == ordered)
            if len(hit):
                self._match(known, since, ordered, when, at, hit, twice)
        if len(same):
            self._within(ordered, when, same, twice)
        if is_later:  # not before: the first events of a batch may repeat what is too old for its last
            self._forget()
        fresh = ~twice
        self._add(ordered[fresh], when[fresh])
        duplicates = np.zeros(len(hashes), bool)
        duplicates[order] = twice
        return duplicates

    def _match(
        self,
        known: Hashes,
        since: Buckets,
        ordered: Hashes,
        when: Buckets,
        at: NDArray[np.intp],
        hit: NDArray[np.intp],
        twice: NDArray[np.bool_],
    ) -> None:
        # The same id may have been counted again after the window: look at every entry of it.
        for step in range(len(known)):
            position = at[hit] + step
            alive = position < len(known)
            alive[alive] = known[position[alive]] == ordered[hit[alive]]
            hit, position = hit[alive], position[alive]
            if not len(hit):
                return
            twice[hit] |= when[hit] - since[position] <= self._width

    def _within(
        self, ordered: Hashes, when: Buckets, same: NDArray[np.intp], twice: NDArray[np.bool_]
    ) -> None:
        """Look for ids that come more than once in this batch."""
        counted = -1  # the last event of the id that counts
        last = -1
        for i in same.tolist():
            if i - 1 != last:
                counted = i - 1 if not twice[i - 1] else -1
            last = i
            if twice[i]:
                continue
            if counted >= 0 and when[i] - when[counted] <= self._width:
                twice[i] = True
            else:
                counted = i

    def _add(self, hashes: Hashes, buckets: Buckets) -> None:
        if not len(hashes):
            return
        self._new.append((hashes, buckets))
        run = hashes, buckets
        while self._runs and len(self._runs[-1][0]) <= 2 * len(run[0]):
            run = self._joined(self._runs.pop(), run)
        self._runs.append(run)

    def _forget(self) -> None:
        runs = []
        for hashes, buckets in self._runs:
            alive = buckets >= self._oldest
            held = int(np.count_nonzero(alive))
            if 4 * held <= 3 * len(hashes):
                hashes, buckets = hashes[alive], buckets[alive]
            if held:
                runs.append((hashes, buckets))
        self._runs = runs

    def _joined(self, a: tuple[Hashes, Buckets], b: tuple[Hashes, Buckets]) -> tuple[Hashes, Buckets]:
        hashes, buckets = np.concatenate((a[0], b[0])), np.concatenate((a[1], b[1]))
        alive = buckets >= self._oldest
        if not alive.all():
            hashes, buckets = hashes[alive], buckets[alive]
        order = np.argsort(hashes, kind="stable")  # which merges what is in order already
        return hashes[order], buckets[order]

    def take_new(self) -> list[tuple[int, bytes]]:
        """Hashes added since the last call, as rows of (start of the newest bucket of all in ms, bytes)."""
        if not self._new and self._newest == self._stored_newest:
            return []
        rows = np.empty(sum(len(h) for h, _ in self._new), _FORMAT)
        if self._new:
            rows["hash"] = np.concatenate([h for h, _ in self._new])
            rows["bucket"] = np.concatenate([b for _, b in self._new])
        self._new, self._stored_newest = [], self._newest
        return [(self._newest * BUCKET_MS, rows.tobytes())]

    @property
    def _oldest(self) -> int:
        """The first bucket that is still needed."""
        return self._newest - self._width

    @property
    def forget_before_ms(self) -> int:
        """Rows of older buckets are not needed any more."""
        return self._oldest * BUCKET_MS
