"""The ingest loop: fetch, decode, sort out, profile, commit. One thread owns it; see `run`."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Engine

from detectors.hashing import hash_strings
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.decode import catalog
from monitor.decode.batch import Events
from monitor.decode.envelope import Envelopes
from monitor.partitions import EventTimes, Partition, owned_delta
from monitor.profiling import Key, Profiler
from monitor.registry import Registry
from monitor.source.source import Fetched, Source
from monitor.store import positions
from monitor.store.positions import Commit, Fault, PartitionDelta, Place, ReferencesChanged, SliceDelta
from monitor.telemetry import Committed, LagSeen, PartitionReleased, Telemetry
from schemas.errors import Fenced, Unavailable

logger = logging.getLogger(__name__)

FULL = 4_096  # events of one model version that are worth a task of their own
WAITING = 200_000  # events that may wait for more of their model version
FETCH_TIMEOUT_S = 0.1
RETRY_S = 1.0
LOOK_S = 5.0  # between two looks whether a stopped partition may be read again
LEAVE_TIMEOUT_S = 5.0
REVOKE_TIMEOUT_S = 60.0  # well inside max.poll.interval.ms
LONGEST_DEAD_LETTER = 1_048_576

Announce = Callable[[dict[str, int]], None]


class Ingest:
    """Reads prediction events from a source into partial profiles in the database, each event exactly once.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    source : Source
        Not subscribed yet.
    clock : Clock
    telemetry : Telemetry
    announce : callable
        Told, after each commit, the newest event time of each model that was committed.
    fault : callable
        Called at every step of a commit; tests raise from it.

    Notes
    -----
    Nothing in memory outlives a failure: whatever goes wrong, the partitions are claimed anew and reading
    goes on from where the database stands.
    """

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        source: Source,
        clock: Clock,
        telemetry: Telemetry,
        announce: Announce = lambda _models: None,
        fault: Fault = lambda _point: None,
    ) -> None:
        self._configuration, self._engine, self._source, self._clock = configuration, engine, source, clock
        self._telemetry, self._announce, self._fault = telemetry, announce, fault
        self._streams = {s.topic: s for s in configuration.streams if s.kind == "predictions"}
        self._decoders = {s.topic: catalog.build(s.format) for s in self._streams.values()}
        self._registry = Registry(configuration, engine)
        self._profiler = Profiler(configuration.ingest.workers)
        self._owned: dict[Place, Partition] = {}
        self._times = EventTimes()
        self._waiting: dict[Key, Events] = {}
        self._roles: dict[Key, str] = {}
        self._dead: list[dict[str, Any]] = []
        self._waiting_events = 0
        self._uncommitted = self._held_bytes = 0
        self._committed_at = clock.monotonic()
        self._must_rewind = self._committing = False
        self._look_at = 0.0
        self._stop = threading.Event()
        self.has_joined = False

    # --- the loop ------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Read until told to stop; then commit and leave.

        Raises
        ------
        Exception
            On anything unforeseen; partitions were given back without a commit, and a new `Ingest` may go on.
        """
        self._stop = stop
        try:
            self.begin()
            while not stop.is_set():
                self.step()
            self.leave()
        except BaseException:
            self.abandon()
            raise

    def begin(self) -> None:
        """Read what the database knows of models, and ask for partitions."""
        self._registry.load()
        self._source.subscribe(sorted(self._streams), self)

    def leave(self) -> None:
        """Commit, and give everything back."""
        self._stop.set()
        self.commit(within_s=LEAVE_TIMEOUT_S)
        self._source.close()
        self._profiler.close()

    def abandon(self) -> None:
        """Give everything back without a commit; whoever comes next reads on from the database."""
        try:
            self._forget()
            self._owned.clear()
        finally:
            try:
                self._source.close()
            finally:
                self._profiler.close()

    def step(self) -> None:
        """Fetch once, and commit if it is time."""
        fetched = self._source.fetch(self._configuration.ingest.batch, FETCH_TIMEOUT_S)
        if self._must_rewind:
            self._rewind()
            return
        if len(fetched):
            self._take(fetched)
        for place in fetched.ended & self._owned.keys():
            self._owned[place].at_end()
        if self._due():
            self.commit()
            self._look_after_stopped()

    def _due(self) -> bool:
        waited_ms = (self._clock.monotonic() - self._committed_at) * 1000
        return (
            waited_ms >= self._configuration.commit_interval_ms
            or self._uncommitted >= self._configuration.ingest.commit_events
            or self._profiler.size_bytes + self._held_bytes >= self._configuration.ingest.memory_mib << 20
        )

    # --- partitions come and go ----------------------------------------------------------------------------

    def assigned(self, places: list[Place]) -> dict[Place, int | None]:
        """Claim partitions in the database, and say where to begin."""
        starts: dict[Place, int | None] = {}
        for place in places:
            partition = self._claimed(place)
            self._owned[place] = partition
            self.has_joined = True
            starts[place] = None if partition.stopped else partition.next_offset
        return starts

    def _claim(self, place: Place) -> Partition:
        low, high = self._source.range_of(place)
        claim = positions.claim(
            self._engine,
            place,
            kind=self._streams[place.topic].kind,
            topic_id=self._source.topic_id(place.topic),
            low=low,
            high=high,
            start_at_end=self._configuration.kafka.start == "latest",
            now_ms=self._clock.now_ms(),
        )
        if claim.stopped_reason:
            logger.error("partition stopped: %s", claim.stopped_reason)
        return Partition.of(claim, self._times.add_slot(claim.models), self._configuration.defaults.dedupe_ms)

    def revoked(self, places: list[Place]) -> None:
        """Commit before partitions go to somebody else."""
        if self._committing:
            self._must_rewind = True  # in the middle of a commit that cannot be finished now
        elif not self._must_rewind:
            self.commit(within_s=LEAVE_TIMEOUT_S if self._stop.is_set() else REVOKE_TIMEOUT_S)
        self._release(places)

    def lost(self, places: list[Place]) -> None:
        """Drop everything: what is in memory is not kept apart by partition."""
        self._must_rewind = True
        self._release(places)

    def unreadable(self, place: Place, reason: str) -> None:
        """Stop a partition whose position is not in Kafka any more, and record the gap."""
        partition = self._owned.get(place)
        if partition is None or partition.stopped:
            return
        self.commit()
        if self._must_rewind:
            return  # the next claim finds the gap, or the source says so again
        message = (
            f"position {partition.next_offset} of {place.topic}/{place.partition} is not in Kafka: {reason}"
        )
        try:
            low, _ = self._source.range_of(place)
            positions.stop(
                self._engine,
                partition.claim,
                message,
                low=low,
                next_offset=partition.committed,
                now_ms=self._clock.now_ms(),
            )
        except (Unavailable, Fenced) as error:
            logger.warning("cannot stop %s/%d yet: %s", place.topic, place.partition, error)
            self._must_rewind = True
            return
        partition.stopped = True
        self._source.pause([place])
        logger.error("partition stopped: %s", message)

    def _look_after_stopped(self) -> None:
        """Read on in partitions whose gap has been accepted meanwhile."""
        stopped = [place for place, partition in self._owned.items() if partition.stopped]
        if not stopped or self._clock.monotonic() < self._look_at:
            return
        self._look_at = self._clock.monotonic() + LOOK_S
        try:
            self._must_rewind |= not all(positions.is_stopped(self._engine, place) for place in stopped)
        except Unavailable as error:
            logger.warning("cannot look after stopped partitions: %s", error)

    def _release(self, places: list[Place]) -> None:
        for place in places:
            partition = self._owned.pop(place, None)
            if partition is not None:
                self._times.free_slot(partition.slot)
                self._telemetry.emit(PartitionReleased(place.topic, place.partition))

    def _claimed(self, place: Place) -> Partition:
        """Claim, trying again while the database or the broker is away, as long as the group lets us."""
        deadline = self._clock.monotonic() + REVOKE_TIMEOUT_S
        while True:
            try:
                return self._claim(place)
            except Unavailable as error:
                if self._clock.monotonic() > deadline or self._stop.is_set():
                    raise
                logger.warning("cannot claim yet: %s", error)
                self._clock.sleep(RETRY_S)

    def _forget(self) -> None:
        """Drop everything that is not in the database."""
        self._profiler.drop()
        self._waiting.clear()
        self._dead.clear()
        self._roles.clear()
        self._waiting_events = self._uncommitted = self._held_bytes = 0

    def _rewind(self) -> None:
        """Begin anew from the database with all our partitions; if it is away, at the next step."""
        self._forget()
        try:
            self._registry.load()
            for place in list(self._owned):
                self._claim_again(place)
        except Unavailable as error:
            logger.warning("cannot read on yet: %s", error)
            self._source.pause(list(self._owned))
            self._source.keep_alive(RETRY_S)
            return
        self._must_rewind = False
        self._source.unpause(self._readable())
        self._committed_at = self._clock.monotonic()

    def _claim_again(self, place: Place) -> None:
        partition = self._claim(place)
        self._times.free_slot(self._owned[place].slot)
        self._owned[place] = partition
        if partition.stopped:
            self._source.pause([place])
        else:
            self._source.seek(place, partition.next_offset)

    # --- events --------------------------------------------------------------------------------------------

    def _take(self, fetched: Fetched) -> None:
        """Sort out what was fetched, topic by topic."""
        owned = [self._owned.get(place) for place in fetched.places]
        next_offsets = np.array([-1 if p is None or p.stopped else p.next_offset for p in owned])
        wanted = (next_offsets[fetched.place] >= 0) & (fetched.offset >= next_offsets[fetched.place])
        topics = {place.topic for place in fetched.places}
        for topic in topics:
            rows = np.flatnonzero(
                wanted & np.array([p.topic == topic for p in fetched.places])[fetched.place]
            )
            if len(rows):
                self._take_topic(topic, fetched, None if len(rows) == len(fetched) else rows)
        for at, partition in enumerate(owned):
            mine = wanted & (fetched.place == at)
            if partition is not None and mine.any():
                partition.next_offset = int(fetched.offset[mine][-1]) + 1
                partition.fetched += int(mine.sum())
                partition.end_seen = False
        self._uncommitted += len(fetched)
        self._held_bytes += sum(map(len, fetched.values))

    def _take_topic(self, topic: str, fetched: Fetched, rows: NDArray[np.intp] | None) -> None:
        values = fetched.values if rows is None else [fetched.values[row] for row in rows.tolist()]
        place, offset = (x if rows is None else x[rows] for x in (fetched.place, fetched.offset))
        stamp = fetched.timestamp_ms if rows is None else fetched.timestamp_ms[rows]
        raw = fetched.raw if rows is None else [fetched.raw[row] for row in rows.tolist()]
        envelopes = self._decoders[topic].decode(values)
        for row, reason in envelopes.problems:
            self._bury(
                fetched.places[place[row]],
                "undecodable",
                reason,
                int(offset[row]),
                values[row],
                raw[row],
                int(stamp[row]),
            )
        if not len(envelopes):
            return
        groups = _Groups(envelopes)
        keep = self._sort_out(envelopes, groups, fetched, place, stamp, offset, values, raw)
        for key, picked in groups.kept(keep):
            events = self._waiting.get(key)
            if events is None:
                events = self._waiting[key] = Events()
            before = len(events)
            # Partition indexes of a fetch mean nothing later: slots do.
            slots = np.array([p.slot if (p := self._owned.get(x)) else -1 for x in fetched.places], np.int64)
            events.extend(envelopes, picked, values, slots[place], offset)
            self._roles[key] = envelopes.role[-1 if picked is None else picked[-1]]
            self._waiting_events += len(events) - before
            if len(events) >= FULL:
                self._submit(key)
        if self._waiting_events >= WAITING:
            self._submit_all()

    def _sort_out(
        self,
        envelopes: Envelopes,
        groups: _Groups,
        fetched: Fetched,
        place: NDArray[np.int64],
        stamp: NDArray[np.int64],
        offset: NDArray[np.int64],
        values: list[bytes],
        raw: Any,
    ) -> NDArray[np.bool_]:
        """Tell future, late and repeated events from those that count; moves event time."""
        now_ms = self._clock.now_ms()
        places, event_ms = place[envelopes.row], envelopes.event_ms
        settings = [self._configuration.for_model(model) for model in groups.models]
        future = event_ms > now_ms + np.array([s.skew_ms for s in settings])[groups.model]
        for at in np.flatnonzero(future).tolist():
            row = int(envelopes.row[at])
            reason = f"timestamp {int(event_ms[at])} ms is later than the clock allows"
            self._bury(
                fetched.places[places[at]],
                "future",
                reason,
                int(offset[row]),
                values[row],
                raw[row],
                int(stamp[row]),
            )
        partitions = [self._owned.get(p) for p in fetched.places]
        slots = np.array([0 if p is None else p.slot for p in partitions], np.int64)
        due = np.flatnonzero(~future)
        late = np.zeros(len(event_ms), bool)
        if len(due):
            late[due] = self._times.late(
                slots[places[due]],
                self._times.index_of(groups.models)[groups.model[due]],
                event_ms[due],
                np.array([s.horizon_ms for s in settings])[groups.model[due]],
                now_ms,
            )
        repeated = np.zeros(len(event_ms), bool)
        identity = envelopes.id_hash ^ groups.salt
        # A record from the future would make the partition forget every id before it.
        came_ms = np.minimum(stamp, now_ms)[envelopes.row]
        for at, partition in enumerate(partitions):
            if partition is None:
                continue
            mine = places == at
            open_ = np.flatnonzero(mine & ~future & ~late)
            if len(open_):
                repeated[open_] = partition.seen.check(identity[open_], came_ms[open_])
            if mine.any():
                self._count(partition, mine, future, late, repeated, event_ms, now_ms)
        return ~(future | late | repeated)

    def _count(
        self,
        partition: Partition,
        mine: NDArray[np.bool_],
        future: NDArray[np.bool_],
        late: NDArray[np.bool_],
        repeated: NDArray[np.bool_],
        event_ms: NDArray[np.int64],
        now_ms: int,
    ) -> None:
        total = int(mine.sum())
        numbers = {"late": late, "future": future, "duplicates": repeated}
        for outcome, which in numbers.items():
            number = int((mine & which).sum())
            partition.outcomes[outcome] += number
            total -= number
        partition.outcomes["counted"] += total
        times = event_ms[mine & ~future]
        if len(times):
            partition.max_event_ms = max(partition.max_event_ms or 0, int(times.max()))
            partition.last_event_at_ms = now_ms

    def _bury(
        self, place: Place, kind: str, reason: str, offset: int, value: bytes, raw: Any, stamp: int
    ) -> None:
        """Keep a message that cannot be counted. Future ones are counted where they are told apart."""
        partition = self._owned.get(place)
        if partition is not None and kind == "undecodable":
            partition.outcomes["dead_lettered"] += 1
        headers = [] if raw is None else self._source.headers_of(raw)
        encoded = [[name, None if v is None else base64.b64encode(v).decode()] for name, v in headers]
        self._dead.append(
            {
                "topic": place.topic,
                "partition": place.partition,
                "offset": offset,
                "kind": kind,
                "reason": reason,
                "key": None if raw is None else self._source.key_of(raw),
                "value": value[:LONGEST_DEAD_LETTER],
                "value_bytes": len(value),
                "timestamp_ms": stamp,
                "stored_at_ms": self._clock.now_ms(),
                "headers": json.dumps(encoded),
            }
        )

    def _submit(self, key: Key) -> None:
        events = self._waiting.pop(key)
        self._waiting_events -= len(events)
        self._profiler.submit(key, self._registry.state_of(key), events)

    def _submit_all(self) -> None:
        for key in list(self._waiting):
            self._submit(key)

    # --- committing ----------------------------------------------------------------------------------------

    def commit(self, within_s: float | None = None) -> None:
        """Write everything since the last commit, in one transaction.

        Parameters
        ----------
        within_s : float, optional
            How long to keep trying while the database is away; default: until it is back.
        """
        if self._must_rewind:
            return  # what is in memory is not whole any more
        if not self._owned:
            self._committed_at = self._clock.monotonic()
            return
        started = self._clock.monotonic()
        work, models = self._gather()
        self._committing = True
        try:
            self._keep_trying(work, within_s)
        except Fenced as error:
            logger.warning("%s; reading on from the database", error)
            self._must_rewind = True
        except ReferencesChanged:
            logger.info("a reference was promoted meanwhile; counting again from the last commit")
            self._must_rewind = True
        else:
            self._committed(work, models, started)
        finally:
            self._committing = False

    def _gather(self) -> tuple[Commit, dict[str, int]]:
        """Collect what the workers made, and put the transaction together."""
        self._submit_all()
        collected = self._profiler.collect()
        by_slot = {p.slot: p for p in self._owned.values()}
        for slot, offset, value, reason in collected.refused:
            partition = by_slot.get(slot)
            if partition is not None:
                partition.outcomes["counted"] -= 1
                self._bury(
                    partition.claim.place, "undecodable", reason, offset, value, None, self._clock.now_ms()
                )
        slices = [
            SliceDelta(model, version, slice_ms, profile.reference_hash, profile.rows, data)
            for ((model, version, slice_ms), profile), data in zip(
                collected.profiles, collected.data, strict=True
            )
        ]
        now_ms = self._clock.now_ms()
        deltas = owned_delta(self._owned, self._times, now_ms)
        work = Commit(
            partitions=deltas,
            slices=slices,
            windows=self._windows(slices),
            dead_letters=list(self._dead),
            references_seen=self._registry.references_seen,
            **self._registry.news(collected.profiles, self._roles, now_ms),
        )
        return work, _newest(deltas)

    def _windows(self, slices: list[SliceDelta]) -> list[dict[str, Any]]:
        """Windows that the slices belong to."""
        touched: dict[tuple[str, str, str, int], dict[str, Any]] = {}
        for model, version, slice_ms in {(s.model, s.version, s.slice_ms) for s in slices}:
            for spec in self._configuration.for_model(model).windows:
                for start in spec.starts_covering(slice_ms):
                    touched[model, version, str(spec), start] = {
                        "model": model, "version": version, "window": str(spec), "start_ms": start,
                        "end_ms": start + spec.length_ms, "touched": 1, "judged": 0, "revision": 0,
                    }  # fmt: skip
        return [touched[key] for key in sorted(touched)]

    def _keep_trying(self, work: Commit, within_s: float | None) -> None:
        """Commit, however long the database is away; nothing is fetched meanwhile."""
        deadline = None if within_s is None else self._clock.monotonic() + within_s
        unsure = False
        while not (unsure and self._settled(work)):
            try:
                if self._written(work):
                    break
            except Unavailable as error:
                logger.warning("commit waits: %s", error)
                unsure = True
                self._wait(deadline)
        if unsure and deadline is None:
            self._source.unpause(self._readable())

    def _written(self, work: Commit) -> bool:
        """Write everything; False if it has to be tried again because a reference was promoted."""
        try:
            positions.commit(self._engine, work, now_ms=self._clock.now_ms(), fault=self._fault)
        except ReferencesChanged:
            if not self._registry.adopt_references(work):
                raise
            return False
        return True

    def _settled(self, work: Commit) -> bool:
        try:
            return positions.settled(self._engine, work)
        except Unavailable:
            return False

    def _wait(self, deadline: float | None) -> None:
        """Let time pass without falling out of the consumer group."""
        if deadline is not None:
            if self._clock.monotonic() > deadline:
                msg = "the database is away for too long"
                raise Fenced(msg)
            self._clock.sleep(RETRY_S)
            return
        self._source.pause(self._readable())
        self._source.keep_alive(RETRY_S)
        if self._must_rewind or self._stop.is_set():
            msg = "partitions moved while the database was away"
            raise Fenced(msg)

    def _readable(self) -> list[Place]:
        return [place for place, partition in self._owned.items() if not partition.stopped]

    def _committed(self, work: Commit, models: dict[str, int], started: float) -> None:
        by_place = {delta.claim.place: delta for delta in work.partitions}
        outcomes: dict[tuple[str, str], int] = {}
        for place, delta in by_place.items():
            partition = self._owned.get(place)
            if partition is not None:
                partition.committed_up_to(delta)
            for outcome, number in delta.outcomes.items():
                if number:
                    name = "dead_letter" if outcome == "dead_lettered" else outcome.removesuffix("s")
                    key = place.topic, "duplicate" if outcome == "duplicates" else name
                    outcomes[key] = outcomes.get(key, 0) + number
        self._dead.clear()
        self._roles.clear()
        self._uncommitted = self._held_bytes = 0
        self._committed_at = self._clock.monotonic()
        self._source.show_position({place: delta.next_offset for place, delta in by_place.items()})
        self._telemetry.emit(Committed(self._committed_at - started, outcomes))
        for place, partition in self._owned.items():
            lag = self._source.lag(place, partition.next_offset)
            if lag is not None:
                self._telemetry.emit(LagSeen(place.topic, place.partition, lag))
        if models:
            self._announce(models)
        try:
            self._registry.committed(work)
        except Unavailable as error:
            logger.warning("%s; reading on from the database", error)
            self._must_rewind = True


class _Groups:
    """Model versions of the events of one fetch.

    `models` are the distinct models, `model` the index of each event's; `salt` keeps equal event ids of
    different model versions apart.
    """

    def __init__(self, envelopes: Envelopes) -> None:
        models, versions = envelopes.model, envelopes.version
        n = len(models)
        self._single = models.count(models[0]) == n and versions.count(versions[0]) == n
        if self._single:
            self.models, self.model = [models[0]], np.zeros(n, np.int64)
            self._keys, self._group = [(models[0], versions[0])], self.model
        else:
            known: dict[Key, int] = {}
            group = [known.setdefault(key, len(known)) for key in zip(models, versions, strict=True)]
            self._keys, self._group = list(known), np.array(group, np.int64)
            index: dict[str, int] = {}
            of_key = [index.setdefault(model, len(index)) for model, _ in known]
            self.models, self.model = list(index), np.array(of_key, np.int64)[self._group]
        names = pa.array([f"{len(model)}\n{model}\n{version}" for model, version in self._keys], pa.string())
        self.salt = hash_strings(names)[self._group]

    def kept(self, keep: NDArray[np.bool_]) -> list[tuple[Key, list[int] | None]]:
        """Events to keep, by model version; None stands for all events of the fetch."""
        every = bool(keep.all())
        if self._single:
            return [(self._keys[0], None if every else np.flatnonzero(keep).tolist())] if keep.any() else []
        rows = np.arange(len(keep)) if every else np.flatnonzero(keep)
        order = rows[np.argsort(self._group[rows], kind="stable")]
        bounds = np.flatnonzero(np.diff(self._group[order])) + 1
        return [
            (self._keys[self._group[part[0]]], part.tolist()) for part in np.split(order, bounds) if len(part)
        ]


def _newest(deltas: list[PartitionDelta]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for delta in deltas:
        for model, (event_ms, _) in delta.models.items():
            newest[model] = max(newest.get(model, 0), event_ms)
    return newest
