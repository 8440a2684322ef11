"""Takes marked dead letters in again, between two commits, as the ingest loop takes in what it fetches."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Engine

from monitor.clock import Clock
from monitor.config import Configuration
from monitor.dead_letters.judging import ArrivalTimes
from monitor.dead_letters.letters import REFUSED, REPLAYED, Headers, Letter, Settled, marked
from monitor.decode import catalog
from monitor.decode.message import Message
from monitor.intake import Intake
from monitor.partitions import EventTimes, Partition
from monitor.profiling import Profiler, Refused
from monitor.registry import Registry
from monitor.seen import Seen
from monitor.source.source import Fetched
from monitor.store.engine import reading
from monitor.store.positions import Place
from schemas.errors import Unavailable

logger = logging.getLogger(__name__)

MOST_LETTERS = 250  # of one commit
MOST_BYTES = 8 << 20
COLUMN = {
    "undecodable": "dead_lettered", "unpaired": "dead_lettered", "future": "future",
    "contract": "dead_lettered",
}  # fmt: skip
"""Where a letter of each kind is counted."""


class Replay:
    """Marked letters of the partitions that this process owns.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    registry : Registry
    profiler : Profiler
        Gets the events, like those that were fetched.
    owned : dict of Place to Partition
        Their counters move with each letter.
    times : EventTimes

    Attributes
    ----------
    intake : Intake
        Decodes letters and sorts out their events; its labels and roles belong to the next commit too.
    settled : list of Settled
        What has become of the letters since the last commit.

    Guarantees
    ----------
    Nothing here outlives a failure: letters stay marked until the transaction that counts their events.
    """

    def __init__(
        self,
        configuration: Configuration,
        engine: Engine,
        clock: Clock,
        registry: Registry,
        profiler: Profiler,
        owned: Mapping[Place, Partition],
        times: EventTimes,
    ) -> None:
        self._configuration, self._engine, self._owned = configuration, engine, owned
        self._times = ArrivalTimes(times)
        self._standing_in: dict[Place, Partition] = {}
        self.intake = Intake(
            configuration, _Letters(), clock, registry, profiler, self._standing_in, self._times,
            is_replay=True,
        )  # fmt: skip
        self.settled: list[Settled] = []

    @property
    def has_more(self) -> bool:
        """Whether a full batch was taken, so that more are probably marked."""
        return len(self.settled) >= MOST_LETTERS

    def take(self) -> None:
        """Take in a batch of marked letters, unless the one before is not committed yet."""
        places = [(p.topic, p.partition) for p, partition in self._owned.items() if not partition.stopped]
        if self.settled or not places:
            return
        try:
            with reading(self._engine) as connection:
                letters = marked(connection, places, most=MOST_LETTERS, most_bytes=MOST_BYTES)
            self._replay_all(letters)
        except Unavailable as error:
            logger.warning("cannot replay dead letters yet: %s", error)

    def begin_anew(self) -> None:
        """Forget what has been committed."""
        self.settled = []
        self.intake.begin_anew()

    def drop(self) -> None:
        """Forget everything."""
        self.settled = []
        self.intake.drop()

    def refused(self, place: Place, event: Refused) -> bool:
        """Take note of an event that only its worker could refuse; False if it is of no letter."""
        for letter in self.settled:  # workers hardly ever find anything
            if (letter.topic, letter.partition, letter.offset) == (
                place.topic,
                place.partition,
                event.offset,
            ):
                break
        else:
            return False
        _add(self._owned[place].replayed, {"counted": -1, "dead_lettered": 1})
        letter.events += 1
        letter.is_remembered = True
        letter.status, letter.kind, letter.reason = REFUSED, event.kind, event.reason
        return True

    # --- one letter ----------------------------------------------------------------------------------------

    def _replay_all(self, letters: Sequence[Letter]) -> None:
        away: set[str] = set()
        for letter in letters:
            if letter.topic not in away and not self._replay(letter):
                away.add(letter.topic)

    def _replay(self, letter: Letter) -> bool:
        """Take a letter; False if something that is needed to read it is away: it stays marked."""
        if letter.is_remembered and (reason := self._counted_besides(letter)):
            self._refuse(letter, letter.kind, reason, letter.events)
            return True
        place = Place(letter.topic, letter.partition)
        partition = self._owned[place]
        # An id that is remembered from this very letter does not make it a duplicate.
        seen = Seen(0) if letter.is_remembered else None
        stand_in = self._standing_in[place] = partition.stand_in(letter.offset, seen)
        self._times.arrived_ms = letter.timestamp_ms
        before = len(self.intake.halves)
        if self.intake.take(_fetched(place, letter)):
            return False
        for row in self.intake.halves[before:]:
            row["is_remembered"] = letter.is_remembered
        self._settle(letter, stand_in.outcomes)
        _add(partition.replayed, stand_in.outcomes)
        _add(partition.replayed, {COLUMN[letter.kind]: -letter.events})
        if stand_in.max_event_ms is not None:
            known_ms = int(self._times.known(np.array(stand_in.max_event_ms)))
            partition.max_event_ms = max(partition.max_event_ms or 0, known_ms)
        return True

    def _settle(self, letter: Letter, outcomes: dict[str, int]) -> None:
        if self.intake.dead_letters:
            row = self.intake.dead_letters[0]
            self.intake.dead_letters.clear()
            self._refuse(letter, row["kind"], row["reason"], sum(outcomes.values()))
            return
        outcome = ", ".join(f"{number} {name}" for name, number in outcomes.items() if number)
        self.settled.append(_settled(letter, REPLAYED, outcome=outcome or "no events"))

    def _refuse(self, letter: Letter, kind: str, reason: str, events: int) -> None:
        self.settled.append(_settled(letter, REFUSED, kind=kind, reason=reason, events=events))

    def _counted_besides(self, letter: Letter) -> str | None:
        """Say what else of a letter's message was counted, so that it cannot be taken once more."""
        stream = next(one for one in self._configuration.streams if one.topic == letter.topic)
        decoder = catalog.build(stream.format, stream.reading())
        read = decoder.decode_labels if stream.kind == "labels" else decoder.decode
        about = Message(letter.value, letter.headers, letter.timestamp_ms, key=letter.key, topic=letter.topic)
        number = len(read([letter.value], lambda _: about))
        return f"its message holds {number} events, of which others were counted" if number > 1 else None


class _Letters:
    """What `Intake` asks of a source, answered by letters."""

    def key_of(self, message: Letter) -> bytes | None:
        """Key of a message."""
        return message.key

    def headers_of(self, message: Letter) -> Headers:
        """Headers of a message."""
        return message.headers


def _fetched(place: Place, letter: Letter) -> Fetched:
    return Fetched(
        places=[place],
        place=np.zeros(1, np.int64),
        offset=np.array([letter.offset], np.int64),
        timestamp_ms=np.array([letter.timestamp_ms], np.int64),
        values=[letter.value],
        raw=[letter],
    )


def _settled(letter: Letter, status: str, **more: Any) -> Settled:
    about = {name: getattr(letter, name) for name in ("id", "topic", "partition", "offset", "attempts")}
    return Settled(**about, status=status, **{"is_remembered": letter.is_remembered, **more})


def _add(numbers: dict[str, int], more: Mapping[str, int]) -> None:
    for name, number in more.items():
        numbers[name] = numbers.get(name, 0) + number
