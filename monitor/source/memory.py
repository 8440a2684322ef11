"""Messages from memory: topics, retention and consumer groups without a broker, for tests and experiments.

A `MemoryBroker` holds the topics; each `MemorySource` is one member of a consumer group. Partitions move as
Kafka's cooperative protocol moves them: a member gives up what is no longer meant for it the next time it
fetches, and only then does another one get it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from monitor.clock import Clock
from monitor.source.source import Fetched, Listener
from monitor.store.positions import Place
from schemas.errors import Unavailable, UsageError

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Record:
    """One message as the broker keeps it."""

    offset: int
    timestamp_ms: int
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()


@dataclass
class _Log:
    """One partition: the records that are kept, of which the first has offset `low`."""

    low: int = 0
    records: list[Record] = field(default_factory=list)

    @property
    def high(self) -> int:
        return self.low + len(self.records)


@dataclass
class _Topic:
    id: str
    logs: list[_Log]


@dataclass
class _Group:
    """Who reads what: `owners` as it is, `targets` as it should become."""

    members: list[MemorySource] = field(default_factory=list)
    owners: dict[Place, MemorySource] = field(default_factory=dict)
    targets: dict[Place, MemorySource] = field(default_factory=dict)
    shown: dict[Place, int] = field(default_factory=dict)


class MemoryBroker:
    """Topics and consumer groups. Safe to use from several threads.

    Attributes
    ----------
    away : bool
        While true, questions about topics are answered by `Unavailable`, as by a broker that does not answer.

    Examples
    --------
    >>> broker = MemoryBroker()
    >>> broker.create_topic("flights", partitions=2)
    >>> broker.append("flights", 1, b"{}", timestamp_ms=1_000)
    0
    >>> broker.range_of(Place("flights", 1))
    (0, 1)
    """

    def __init__(self) -> None:
        self.away = False
        self.lock = threading.RLock()
        self._ids = itertools.count(1)
        self._topics: dict[str, _Topic] = {}
        self._groups: dict[str, _Group] = {}

    # --- topics ---------------------------------------------------------------------------------------------

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Create a topic with an identity of its own.

        Raises
        ------
        UsageError
            If it exists.
        """
        with self.lock:
            if name in self._topics:
                msg = f"topic {name} exists"
                raise UsageError(msg)
            self._topics[name] = _Topic(f"topic-{next(self._ids)}", [_Log() for _ in range(partitions)])
            self._spread()

    def delete_topic(self, name: str) -> None:
        """Delete a topic with everything in it."""
        with self.lock:
            del self._topics[name]
            self._spread()

    def recreate_topic(self, name: str, partitions: int = 1) -> None:
        """Delete a topic and create it again so quickly that no member sees it gone."""
        with self.lock:
            self._topics[name] = _Topic(f"topic-{next(self._ids)}", [_Log() for _ in range(partitions)])
            self._spread()

    def add_partitions(self, name: str, number: int) -> None:
        """Add empty partitions to a topic."""
        with self.lock:
            self._topics[name].logs += [_Log() for _ in range(number)]
            self._spread()

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        timestamp_ms: int = 0,
        key: bytes | None = None,
        headers: Headers = (),
    ) -> int:
        """Append a record.

        Returns
        -------
        int
            Its offset.
        """
        with self.lock:
            log = self._topics[topic].logs[partition]
            log.records.append(Record(log.high, timestamp_ms, value, key, headers))
            return log.high - 1

    def trim(self, place: Place, before: int) -> None:
        """Forget the records before an offset, as retention does."""
        with self.lock:
            log = self._log(place)
            if log is not None and before > log.low:
                del log.records[: before - log.low]
                log.low = before

    def range_of(self, place: Place) -> tuple[int, int]:
        """First offset that is kept, and the one after the last.

        Raises
        ------
        Unavailable
            If the broker is away or there is no such partition.
        """
        with self.lock:
            log = self._log(place)
            if self.away or log is None:
                msg = f"memory broker: {place.topic}/{place.partition} cannot be reached"
                raise Unavailable(msg)
            return log.low, log.high

    def topic_id(self, name: str) -> str:
        """Identity of a topic; another one once it was deleted and created again.

        Raises
        ------
        Unavailable
            If the broker is away or there is no such topic.
        """
        with self.lock:
            if self.away or name not in self._topics:
                msg = f"memory broker: topic {name} cannot be reached"
                raise Unavailable(msg)
            return self._topics[name].id

    def read(self, place: Place, start: int, most: int) -> list[Record]:
        """Records from an offset on."""
        with self.lock:
            log = self._log(place)
            if log is None:
                return []
            return log.records[max(0, start - log.low) :][:most]

    def _log(self, place: Place) -> _Log | None:
        topic = self._topics.get(place.topic)
        return topic.logs[place.partition] if topic and place.partition < len(topic.logs) else None

    # --- groups ---------------------------------------------------------------------------------------------

    def join(self, member: MemorySource, group_id: str) -> None:
        """Make a source a member of a group."""
        with self.lock:
            self._group(group_id).members.append(member)
            self._spread()

    def leave(self, member: MemorySource, group_id: str) -> None:
        """End a membership; its partitions are free for others."""
        with self.lock:
            group = self._group(group_id)
            group.members = [other for other in group.members if other is not member]
            group.owners = {p: owner for p, owner in group.owners.items() if owner is not member}
            self._spread()

    def expel(self, member: MemorySource, group_id: str) -> None:
        """Take everything from a member that seems dead.

        It learns of it, and joins again, when it fetches next.
        """
        self.leave(member, group_id)

    def owned_by(self, member: MemorySource, group_id: str) -> set[Place]:
        """Partitions that are a member's now."""
        with self.lock:
            return {p for p, owner in self._group(group_id).owners.items() if owner is member}

    def is_member(self, member: MemorySource, group_id: str) -> bool:
        """Whether a source is a member of a group."""
        with self.lock:
            return any(other is member for other in self._group(group_id).members)

    def to_give_up(self, member: MemorySource, group_id: str) -> list[Place]:
        """Partitions that a member has and that are meant for somebody else, or gone."""
        with self.lock:
            group = self._group(group_id)
            return sorted(
                p
                for p, owner in group.owners.items()
                if owner is member and group.targets.get(p) is not member
            )

    def give_up(self, places: Sequence[Place], group_id: str) -> None:
        """Free partitions for others."""
        with self.lock:
            for place in places:
                self._group(group_id).owners.pop(place, None)

    def take(self, member: MemorySource, group_id: str) -> list[Place]:
        """Give a member the free partitions that are meant for it."""
        with self.lock:
            group = self._group(group_id)
            free = sorted(
                p for p, target in group.targets.items() if target is member and p not in group.owners
            )
            group.owners.update(dict.fromkeys(free, member))
            return free

    def show(self, offsets: dict[Place, int], group_id: str) -> None:
        """Keep the offsets of a group, for display."""
        with self.lock:
            self._group(group_id).shown.update(offsets)

    def shown(self, group_id: str) -> dict[Place, int]:
        """Offsets that a group has shown."""
        with self.lock:
            return dict(self._group(group_id).shown)

    def _group(self, group_id: str) -> _Group:
        return self._groups.setdefault(group_id, _Group())

    def _spread(self) -> None:
        """Spread the partitions evenly over the members of each group, moving as few as possible."""
        for group in self._groups.values():
            group.targets = {}
            load: dict[int, int] = {id(member): 0 for member in group.members}
            places = [
                Place(name, number)
                for name, topic in sorted(self._topics.items())
                for number in range(len(topic.logs))
                if any(name in member.topics for member in group.members)
            ]
            quota = -(-len(places) // max(1, len(group.members)))
            waiting = []
            for place in places:
                owner = group.owners.get(place)
                if owner is not None and load.get(id(owner), quota) < quota:
                    group.targets[place] = owner
                    load[id(owner)] += 1
                else:
                    waiting.append(place)
            for place in waiting:
                able = [member for member in group.members if place.topic in member.topics]
                member = min(able, key=lambda m: load[id(m)])
                group.targets[place] = member
                load[id(member)] += 1


class MemorySource:
    """A member of a consumer group of a `MemoryBroker`; keeps the promises of `monitor.source.source.Source`.

    Parameters
    ----------
    broker : MemoryBroker
    clock : Clock
        Waits while there is nothing to fetch.
    group_id : str
    """

    def __init__(self, broker: MemoryBroker, clock: Clock, group_id: str = "driftline") -> None:
        self._broker, self._clock, self._group_id = broker, clock, group_id
        self.topics: frozenset[str] = frozenset()
        self._listener: Listener | None = None
        self._positions: dict[Place, int | None] = {}
        self._paused: set[Place] = set()
        self._told_end: dict[Place, int] = {}
        self._unreadable: set[Place] = set()

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """Ask for partitions of topics."""
        self.topics, self._listener = frozenset(topics), listener
        self._broker.join(self, self._group_id)

    # --- assignment -----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Let partitions come and go, as far as the group is ready for it."""
        listener = self._listener
        if listener is None:
            return
        owned = self._broker.owned_by(self, self._group_id)
        if gone := sorted(self._positions.keys() - owned):
            self._drop(gone)
            listener.lost(gone)
        if not self._broker.is_member(self, self._group_id):
            self._broker.join(self, self._group_id)
        if unwanted := self._broker.to_give_up(self, self._group_id):
            try:
                listener.revoked(unwanted)
            finally:
                self._drop(unwanted)
                self._broker.give_up(unwanted, self._group_id)
        if new := self._broker.take(self, self._group_id):
            try:
                self._positions.update(listener.assigned(new))
            except BaseException:
                self._broker.give_up(new, self._group_id)
                raise

    def _drop(self, places: Sequence[Place]) -> None:
        for place in places:
            self._positions.pop(place, None)
            self._told_end.pop(place, None)
            self._paused.discard(place)
            self._unreadable.discard(place)

    # --- messages -------------------------------------------------------------------------------------------

    def fetch(self, limit: int, timeout_s: float) -> Fetched:
        """Messages that are there, at most `limit`; waits up to `timeout_s` for the first.

        Raises
        ------
        Exception
            Whatever a rebalance callback raised. Everything in memory must then be dropped.
        """
        self._serve()
        self._look_for_gaps()
        fetched = self._read(limit)
        if not len(fetched):
            self._clock.sleep(timeout_s)
        return fetched

    def _readable(self) -> list[tuple[Place, int, int, int]]:
        """Partitions to read, with position and range."""
        found = []
        for place, at in self._positions.items():
            if at is None or place in self._paused or place in self._unreadable:
                continue
            try:
                found.append((place, at, *self._broker.range_of(place)))
            except Unavailable:
                continue  # the next fetch asks again
        return found

    def _look_for_gaps(self) -> None:
        for place, at, low, high in self._readable():
            if self._listener is not None and not low <= at <= high:
                self._unreadable.add(place)
                self._listener.unreadable(place, "offset out of range")

    def _read(self, limit: int) -> Fetched:
        fetched = Fetched()
        index: list[int] = []
        taken: list[Record] = []
        for place, at, low, high in self._readable():
            if not low <= at <= high:
                continue
            records = self._broker.read(place, at, limit - len(taken))
            if records:
                index += [len(fetched.places)] * len(records)
                fetched.places.append(place)
                taken += records
                self._positions[place] = at = records[-1].offset + 1
            if at == high and self._told_end.get(place) != high:
                self._told_end[place] = high
                fetched.ended.add(place)
        fetched.place = np.array(index, np.int64)
        fetched.offset = np.array([record.offset for record in taken], np.int64)
        fetched.timestamp_ms = np.array([record.timestamp_ms for record in taken], np.int64)
        fetched.values = [record.value or b"" for record in taken]
        fetched.raw = taken
        return fetched

    def key_of(self, message: Record) -> bytes | None:
        """Key of a message."""
        return message.key

    def headers_of(self, message: Record) -> list[tuple[str, bytes | None]]:
        """Headers of a message."""
        return list(message.headers)

    # --- positions ------------------------------------------------------------------------------------------

    def range_of(self, place: Place) -> tuple[int, int]:
        """First offset that is kept, and the one after the last.

        Raises
        ------
        Unavailable
            If the broker does not answer.
        """
        return self._broker.range_of(place)

    def topic_id(self, topic: str) -> str:
        """Identity of a topic.

        Raises
        ------
        Unavailable
            If the broker does not answer.
        """
        return self._broker.topic_id(topic)

    def seek(self, place: Place, offset: int) -> None:
        """Go on elsewhere in a partition that is assigned."""
        if place in self._positions:
            self._positions[place] = offset
            self._told_end.pop(place, None)
            self._unreadable.discard(place)

    def pause(self, places: Sequence[Place]) -> None:
        """Fetch nothing of some partitions for a while."""
        self._paused.update(place for place in places if place in self._positions)

    def unpause(self, places: Sequence[Place]) -> None:
        """Fetch of them again."""
        self._paused.difference_update(places)

    def keep_alive(self, seconds: float) -> None:
        """Let time pass while everything is paused; partitions may come and go meanwhile."""
        self._clock.sleep(seconds)
        self._serve()

    def show_position(self, offsets: dict[Place, int]) -> None:
        """Tell the outside how far reading has come; for display only."""
        self._broker.show(offsets, self._group_id)

    def lag(self, place: Place, position: int) -> int | None:
        """Messages between a position and the end; None while the broker does not answer."""
        try:
            _, high = self._broker.range_of(place)
        except Unavailable:
            return None
        return max(0, high - position)

    def close(self) -> None:
        """Leave the group; `Listener.revoked` is called for what was assigned."""
        listener, self._listener = self._listener, None
        places = sorted(self._positions.keys() & self._broker.owned_by(self, self._group_id))
        lost = sorted(self._positions.keys() - set(places))
        try:
            if listener is not None and lost:
                listener.lost(lost)
            if listener is not None and places:
                listener.revoked(places)
        finally:
            self._drop([*places, *lost])
            self._broker.leave(self, self._group_id)
