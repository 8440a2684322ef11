"""What the ingest loop remembers of the partitions it owns, between two commits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from monitor.seen import Seen
from monitor.store.committing import PartitionDelta
from monitor.store.positions import OUTCOMES, Claim, Place


@dataclass
class Partition:
    """One partition that this process owns.

    `slot` is its row in `EventTimes`. `next_offset` is where reading stands, ``claim.next_offset`` of the
    first commit or `committed` where the database stands.
    """

    claim: Claim
    slot: int
    seen: Seen
    next_offset: int
    committed: int
    max_event_ms: int | None
    reached_end: bool
    stopped: bool = False
    fetched: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    last_event_at_ms: int | None = None
    at_end_since_ms: int | None = None
    end_seen: bool = False
    replayed: dict[str, int] = field(default_factory=dict)
    stamp_ms: int | None = None

    @classmethod
    def of(cls, claim: Claim, slot: int, dedupe_ms: int) -> Partition:
        """Begin where a claim stands."""
        seen = Seen(dedupe_ms)
        seen.restore(claim.seen)
        return cls(
            claim, slot, seen, claim.next_offset, claim.next_offset, claim.max_event_ms, claim.reached_end,
            claim.stopped_reason is not None, stamp_ms=claim.stamp_ms,
        )  # fmt: skip

    def stand_in(self, next_offset: int, seen: Seen | None = None) -> Partition:
        """Return a partition that stands elsewhere; what happens to it can be moved over afterwards.

        Parameters
        ----------
        next_offset : int
            Where it stands.
        seen : Seen, optional
            What it has seen; default: the same as this one, in which its events are remembered.
        """
        return replace(
            self,
            seen=self.seen if seen is None else seen,
            next_offset=next_offset,
            fetched=0,
            outcomes=dict.fromkeys(OUTCOMES, 0),
            replayed={},
        )

    def at_end(self) -> None:
        """Note that everything there is was fetched."""
        self.end_seen = self.reached_end = True

    def delta(self, models: dict[str, tuple[int, int]], now_ms: int) -> PartitionDelta:
        """What has happened since the last commit."""
        if self.end_seen or (self.fetched == 0 and self.at_end_since_ms is not None):
            self.at_end_since_ms = self.at_end_since_ms or now_ms
        else:
            self.at_end_since_ms = None
        return PartitionDelta(
            claim=self.claim,
            from_offset=self.committed,
            next_offset=self.next_offset,
            fetched=self.fetched,
            outcomes=dict(self.outcomes),
            max_event_ms=self.max_event_ms,
            last_event_at_ms=self.last_event_at_ms,
            at_end_since_ms=self.at_end_since_ms,
            reached_end=self.reached_end,
            models=models,
            seen=self.seen.take_new(),
            forget_before_ms=self.seen.forget_before_ms if self.fetched else None,
            replayed=dict(self.replayed),
            stamp_ms=self.stamp_ms,
        )

    def committed_up_to(self, delta: PartitionDelta) -> None:
        """Begin counting anew after a commit."""
        self.committed = delta.next_offset
        self.fetched, self.outcomes, self.replayed = 0, dict.fromkeys(OUTCOMES, 0), {}
        self.end_seen = False


class EventTimes:
    """Newest event time of each model in each owned partition, as a matrix [slots, models]."""

    def __init__(self) -> None:
        self._models: dict[str, int] = {}
        self.names: list[str] = []
        self.newest: NDArray[np.int64] = np.full((4, 16), -1, np.int64)
        self.arrived: NDArray[np.int64] = np.zeros((4, 16), np.int64)
        self._touched: NDArray[np.bool_] = np.zeros((4, 16), bool)
        self._free: list[int] = []
        self._slots = 0

    def add_slot(self, models: dict[str, int]) -> int:
        """Make room for a partition that has delivered these models before."""
        slot = self._free.pop() if self._free else self._slots
        self._slots = max(self._slots, slot + 1)
        self._grow(slot + 1, 0)
        self.newest[slot], self.arrived[slot], self._touched[slot] = -1, 0, False
        index = self.index_of(models)
        self.newest[slot, index] = list(models.values())
        return slot

    def free_slot(self, slot: int) -> None:
        """Forget a partition."""
        self._touched[slot] = False
        self._free.append(slot)

    def index_of(self, models: Iterable[str]) -> NDArray[np.int64]:
        """Column of each model; new ones get one."""
        found = []
        for model in models:
            at = self._models.get(model)
            if at is None:
                at = self._models[model] = len(self.names)
                self.names.append(model)
            found.append(at)
        self._grow(0, len(self.names))
        return np.array(found, np.int64)

    def late(
        self,
        slot: NDArray[np.int64],
        model: NDArray[np.int64],
        event_ms: NDArray[np.int64],
        horizon_ms: NDArray[np.int64],
        now_ms: int,
    ) -> NDArray[np.bool_]:
        """Take in events in their order; says which of them are further back than the horizon.

        Parameters
        ----------
        slot, model : int64 arrays [n]
            Row and column of each event.
        event_ms, horizon_ms : int64 arrays [n]
        now_ms : int
            Wall clock.
        """
        before = self.newest[slot, model]
        ceiling = max(int(before.max()), int(event_ms.max()))
        late = np.zeros(len(slot), bool)
        if int(event_ms.min()) < ceiling - int(horizon_ms.min()):
            late = (
                event_ms < _running_newest(slot * len(self.newest[0]) + model, before, event_ms) - horizon_ms
            )
        self.note(slot, model, event_ms, now_ms)
        return late

    def behind(
        self,
        slot: NDArray[np.int64],
        model: NDArray[np.int64],
        event_ms: NDArray[np.int64],
        lateness_ms: NDArray[np.int64],
    ) -> NDArray[np.bool_]:
        """Say which events come after one of their stream that is newer by more than what is allowed.

        To be asked before they are taken in; see `late` for the parameters.
        """
        before = self.newest[slot, model]
        ceiling = max(int(before.max()), int(event_ms.max()))
        if int(event_ms.min()) >= ceiling - int(lateness_ms.min()):
            return np.zeros(len(slot), bool)
        newest = _running_newest(slot * len(self.newest[0]) + model, before, event_ms)
        return np.asarray(event_ms < newest - lateness_ms)

    def note(
        self, slot: NDArray[np.int64], model: NDArray[np.int64], event_ms: NDArray[np.int64], now_ms: int
    ) -> None:
        """Take in events of which none is too late; see `late`."""
        np.maximum.at(self.newest, (slot, model), event_ms)
        self.arrived[slot, model] = now_ms
        self._touched[slot, model] = True

    def take_touched(self, slot: int) -> dict[str, tuple[int, int]]:
        """Models of a partition that had events since the last call: newest event time, and arrival."""
        models = np.flatnonzero(self._touched[slot]).tolist()
        self._touched[slot] = False
        return {self.names[m]: (int(self.newest[slot, m]), int(self.arrived[slot, m])) for m in models}

    def _grow(self, slots: int, models: int) -> None:
        rows, columns = self.newest.shape
        wanted = (max(rows, slots), columns if models <= columns else max(models, 2 * columns))
        if wanted == (rows, columns):
            return
        for name, fill in (("newest", -1), ("arrived", 0), ("_touched", False)):
            old = getattr(self, name)
            new = np.full(wanted, fill, old.dtype)
            new[:rows, :columns] = old
            setattr(self, name, new)


def _running_newest(
    stream: NDArray[np.int64], before: NDArray[np.int64], event_ms: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Newest event time of each event's stream just before it."""
    order = np.argsort(stream, kind="stable")
    _, rank = np.unique(stream[order], return_inverse=True)
    floor = min(int(before.min()), int(event_ms.min()))
    width = max(int(before.max()), int(event_ms.max())) - floor + 1
    first = np.concatenate(([True], rank[1:] != rank[:-1]))
    # Shifting each stream by its rank keeps the running maximum from crossing over to the next stream.
    previous = np.where(first, before[order], np.concatenate(([0], event_ms[order][:-1])))
    previous = np.maximum(previous, before[order])
    running = np.maximum.accumulate(previous - floor + rank * width) - rank * width + floor
    newest = np.empty(len(stream), np.int64)
    newest[order] = running
    return newest


def owned_delta(places: dict[Place, Partition], times: EventTimes, now_ms: int) -> list[PartitionDelta]:
    """What has happened in all partitions since the last commit."""
    return [p.delta(times.take_touched(p.slot), now_ms) for p in places.values() if not p.stopped]
