"""The ingest loop: fetch, decode, sort out, profile, commit. One thread owns it; see `run`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Engine

from monitor.batch import Batch
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.diary import Diary, whereabouts
from monitor.enforcement import tripped
from monitor.memory import Memory
from monitor.partitions import EventTimes, Partition
from monitor.profiling import Collected
from monitor.registry import Registry
from monitor.source.source import Source
from monitor.stops import is_moot, reason_of
from monitor.store import committing, positions
from monitor.store.committing import Commit, Fault, ReferencesChanged
from monitor.store.positions import Claim, Place
from monitor.telemetry import Committed, LagSeen, PartitionReleased, Telemetry
from monitor.tracing.batches import BatchTrace
from monitor.tracing.tracer import step
from schemas.errors import Fenced, Unavailable, UsageError

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_S = 0.1
RETRY_S = 1.0
LOOK_S = 5.0  # between two looks whether a stopped partition may be read again
LEAVE_TIMEOUT_S = 5.0
REVOKE_TIMEOUT_S = 60.0  # well inside max.poll.interval.ms

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
        self._streams = {s.topic: s for s in configuration.streams}
        self._registry = Registry(configuration, engine)
        self._owned: dict[Place, Partition] = {}
        self._times = EventTimes()
        self._batch = Batch(configuration, engine, source, clock, self._registry, self._owned, self._times)
        self._committed_at = clock.monotonic()
        self._must_rewind = self._committing = False
        self._look_at = self._retry_at = 0.0
        self._put_back: set[Place] = set()
        self._stop = threading.Event()
        self._trace = BatchTrace(source.headers_of)
        self._diary, self._memory = Diary(clock), Memory(clock)
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
        self._batch.close()

    def abandon(self) -> None:
        """Give everything back without a commit; whoever comes next reads on from the database."""
        try:
            self._forget()
            self._owned.clear()
        finally:
            try:
                self._source.close()
            finally:
                self._batch.close()

    def step(self) -> None:
        """Fetch once, and commit if it is time."""
        self._retry()
        most = self._batch.intake.most_messages(self._configuration.ingest.batch)
        fetched = self._trace.fetch(lambda: self._source.fetch(most, FETCH_TIMEOUT_S))
        if self._must_rewind:
            self._rewind()
            return
        with self._trace.entered():
            left = self._batch.intake.take(fetched) if len(fetched) else []
        self._fetch_again(left)
        for place in (fetched.ended & self._owned.keys()) - set(left):
            self._owned[place].at_end()
        if self._due():
            self.commit()
            self._look_after_stopped()
            if not self._must_rewind:
                self._batch.take_waiting()

    def _due(self) -> bool:
        waited_ms = (self._clock.monotonic() - self._committed_at) * 1000
        return waited_ms >= self._configuration.commit_interval_ms or self._batch.is_full

    # --- messages that cannot be read yet ------------------------------------------------------------------

    def _fetch_again(self, places: list[Place]) -> None:
        """Go back to where partitions stand, and wait a little; the others are read meanwhile."""
        if not places:
            return
        # In this order: what the client has fetched ahead is dropped, and it goes on from where it is told.
        self._source.pause(places)
        for place in places:
            self._source.seek(place, self._owned[place].next_offset)
        self._put_back.update(places)
        self._retry_at = self._clock.monotonic() + RETRY_S

    def _retry(self) -> None:
        """Read on in partitions that were put back."""
        if self._put_back and self._clock.monotonic() >= self._retry_at:
            due = [place for place in self._readable() if place in self._put_back]
            self._source.unpause(due)
            self._put_back.difference_update(due)  # one that went away may come back paused

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
        claim = self._claim_as_it_is(place)
        if claim.stopped_reason and is_moot(claim.stopped_reason, self._configuration):
            self._go_on(claim)
            claim = self._claim_as_it_is(place)
        if claim.stopped_reason:
            self._diary.stopped(place, claim.next_offset, claim.stopped_reason)
        else:
            self._diary.claimed(claim)
        return Partition.of(claim, self._times.add_slot(claim.models), self._configuration.defaults.dedupe_ms)

    def _go_on(self, stopped: Claim) -> None:
        """Take up a partition that was stopped by a rule which the contract does not have any more."""
        place = stopped.place
        logger.info(
            "partition is read again: the rule that stopped it was changed",
            extra={**whereabouts(place), "offset": stopped.next_offset},
        )
        try:
            positions.resume(
                self._engine, place, next_offset=stopped.next_offset,
                topic_id=self._source.topic_id(place.topic), now_ms=self._clock.now_ms(),
            )  # fmt: skip
        except UsageError as error:
            logger.info("somebody was faster: %s", error, extra=whereabouts(place))

    def _claim_as_it_is(self, place: Place) -> Claim:
        low, high = self._source.range_of(place)
        return positions.claim(
            self._engine,
            place,
            kind=self._streams[place.topic].kind,
            topic_id=self._source.topic_id(place.topic),
            low=low,
            high=high,
            start_at_end=self._configuration.kafka.start == "latest",
            now_ms=self._clock.now_ms(),
        )

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
            logger.warning("cannot stop a partition yet: %s", error, extra=whereabouts(place))
            self._must_rewind = True
            return
        partition.stopped = True
        self._source.pause([place])
        self._diary.stopped(place, partition.next_offset, message)

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
                self._diary.released(place, partition.committed)

    def _claimed(self, place: Place) -> Partition:
        """Claim, trying again while the database or the broker is away, as long as the group lets us."""
        deadline = self._clock.monotonic() + REVOKE_TIMEOUT_S
        while True:
            try:
                return self._claim(place)
            except Unavailable as error:
                if self._clock.monotonic() > deadline or self._stop.is_set():
                    raise
                logger.warning("cannot claim yet: %s", error, extra=whereabouts(place))
                self._clock.sleep(RETRY_S)

    def _forget(self) -> None:
        """Drop everything that is not in the database."""
        self._trace.end(is_dropped=True)
        self._batch.drop()

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
            self._memory.give_back()
            return
        with self._trace.entered():
            self._commit(within_s)

    def _commit(self, within_s: float | None) -> None:
        started = self._clock.monotonic()
        with step("profile"):
            collected = self._batch.collect()
        if self._stop_strained(collected):
            return
        work, models = self._batch.gather(collected)
        self._committing = True
        try:
            with step("commit"):
                self._keep_trying(work, within_s)
        except Fenced as error:
            self._diary.fenced(work, error)
            self._must_rewind = True
        except ReferencesChanged:
            logger.info("a reference was promoted meanwhile; counting again from the last commit")
            self._must_rewind = True
        else:
            self._committed(work, models, started)
        finally:
            self._committing = False

    def _stop_strained(self, collected: Collected) -> bool:
        """Stop partitions where too many rows break a rule, before any of these rows is committed.

        Returns
        -------
        bool
            Whether there were any. What is in memory is not kept apart by partition: the others are read once
            more from their last commit.
        """
        by_slot = {p.slot: p for p in self._owned.values()}
        for strained, strain in tripped(collected.strains):
            partition = by_slot.get(strained.slot)
            if partition is not None:
                place = partition.claim.place
                self._stop_reading(partition, reason_of(strained, strain, place.topic, place.partition))
                self._must_rewind = True
        return self._must_rewind

    def _stop_reading(self, partition: Partition, reason: str) -> None:
        try:
            positions.stop(
                self._engine, partition.claim, reason, low=None, next_offset=partition.committed,
                now_ms=self._clock.now_ms(),
            )  # fmt: skip
        except (Unavailable, Fenced) as error:
            logger.warning("cannot stop a partition yet: %s", error, extra=whereabouts(partition.claim.place))
        else:
            self._diary.stopped(partition.claim.place, partition.committed, reason)

    def _keep_trying(self, work: Commit, within_s: float | None) -> None:
        """Commit, however long the database is away; nothing is fetched meanwhile."""
        deadline = None if within_s is None else self._clock.monotonic() + within_s
        unsure = False
        while not (unsure and self._settled(work)):
            try:
                if self._written(work):
                    break
            except Unavailable as error:
                self._diary.waits(error)
                unsure = True
                self._wait(deadline)
        if unsure and deadline is None:
            self._source.unpause(self._readable())

    def _written(self, work: Commit) -> bool:
        """Write everything; False if it has to be tried again because a reference was promoted."""
        try:
            committing.commit(self._engine, work, now_ms=self._clock.now_ms(), fault=self._fault)
        except ReferencesChanged:
            if not self._registry.adopt_references(work):
                raise
            return False
        return True

    def _settled(self, work: Commit) -> bool:
        try:
            return committing.settled(self._engine, work)
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
        for place, delta in by_place.items():
            partition = self._owned.get(place)
            if partition is not None:
                partition.committed_up_to(delta)
        self._batch.begin_anew()
        self._committed_at = self._clock.monotonic()
        self._source.show_position({place: delta.next_offset for place, delta in by_place.items()})
        self._telemetry.emit(Committed(self._committed_at - started, _outcomes(work)))
        self._memory.give_back()
        self._diary.committed(work, self._committed_at - started)
        self._trace.end()
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


def _outcomes(work: Commit) -> dict[tuple[str, str], int]:
    """How many events of each topic had each outcome."""
    outcomes: dict[tuple[str, str], int] = {}
    for delta in work.partitions:
        for outcome, fetched in delta.outcomes.items():
            _add(outcomes, delta.claim.place.topic, outcome, fetched + max(0, delta.replayed.get(outcome, 0)))
    for (topic, _), numbers in work.halves.moved.items():
        for outcome, number in numbers.items():
            _add(outcomes, topic, outcome, number)
    for (topic, _), repeated in work.halves.repeated.items():
        _add(outcomes, topic, "duplicates", repeated)
        outcomes[topic, "unpaired"] -= repeated
    return outcomes


def _add(outcomes: dict[tuple[str, str], int], topic: str, outcome: str, number: int) -> None:
    """Add to the counter of an outcome, which never goes back."""
    if number > 0:
        name = {"dead_lettered": "dead_letter", "duplicates": "duplicate"}.get(outcome, outcome)
        outcomes[topic, name] = outcomes.get((topic, name), 0) + number
