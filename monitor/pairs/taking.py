"""Takes in requests with their responses, between two commits, as the ingest loop does what it fetches."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sqlalchemy import Engine

from monitor.clock import Clock
from monitor.config import Configuration
from monitor.config.service import Stream
from monitor.dead_letters.letters import Headers
from monitor.decode.envelope import Decoder, Envelopes, LabelEnvelopes
from monitor.decode.halves import Pair
from monitor.decode.message import About, Message
from monitor.decode.reading import Reading
from monitor.decode.translated import Translated
from monitor.intake import Intake
from monitor.pairs.giving_up import MOST_HALVES, given_up, letter_of, topics_of_halves
from monitor.partitions import EventTimes, Partition
from monitor.profiling import Profiler, Refused
from monitor.registry import Registry
from monitor.seen import Seen
from monitor.source.source import Fetched
from monitor.store.engine import reading
from monitor.store.halves import At, HalfWork, StoredHalf, complete_pairs
from monitor.store.positions import Place
from schemas.errors import Unavailable

logger = logging.getLogger(__name__)

MOST_PAIRS = 5_000  # of one commit
MOST_BYTES = 16 << 20
CLEAN_MS = 60_000  # between two looks for paired halves that need not be remembered any more

Both = tuple[StoredHalf, StoredHalf]
"""A request and its response."""


class Pairs:
    """Requests and responses whose responses are in partitions that this process owns.

    Parameters
    ----------
    configuration : Configuration
    engine : Engine
    clock : Clock
    registry : Registry
    profiler : Profiler
        Gets the events, like those that were fetched.
    owned : dict of Place to Partition
    times : EventTimes

    Attributes
    ----------
    intake : Intake
        Decodes pairs and sorts out their events; its roles belong to the next commit too.

    Guarantees
    ----------
    Nothing here outlives a failure: halves wait until the transaction that counts their events. A pair is
    taken by the owner of its response, whoever owns the request; a half is given up by its own owner.
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
        self._configuration, self._engine, self._clock, self._owned = configuration, engine, clock, owned
        self._streams = {stream.topic: stream for stream in configuration.streams}
        self._topics = topics_of_halves(configuration.streams)
        self._standing_in: dict[Place, Partition] = {}
        self._decoders: dict[str, Decoder] = {}
        self.intake = Intake(
            configuration, _Halves(), clock, registry, profiler, self._standing_in, times, self._decoders
        )
        self._work = HalfWork()
        self._taken: dict[tuple[str, int, int], _Taken] = {}
        self._clean_at_ms = 0

    @property
    def has_more(self) -> bool:
        """Whether a full batch was taken, so that there are probably more."""
        return len(self._taken) >= MOST_PAIRS or len(self._work.removed) >= MOST_HALVES

    def take(self) -> None:
        """Take in complete pairs and give up old halves, unless those before are not committed yet."""
        places = [
            (place.topic, place.partition)
            for place, partition in self._owned.items()
            if not partition.stopped and place.topic in self._topics
        ]
        if self._work.moved or not places:
            return
        try:
            with reading(self._engine) as connection:
                pairs = complete_pairs(connection, places, most=MOST_PAIRS, most_bytes=MOST_BYTES)
                lost = given_up(connection, places, self._streams, self._clock.now_ms())
        except Unavailable as error:
            logger.warning("cannot look for requests and responses yet: %s", error)
            return
        for mine in _alike(pairs):
            self._take_all(mine)
        for half, reason in lost:
            self._bury(half, "unpaired", reason)
        self._clean(places)

    def gather(self, *new: Sequence[dict[str, Any]]) -> HalfWork:
        """Return what the next commit does to halves, with the rows of those that came.

        Parameters
        ----------
        *new : sequence of dict
            Of halves.
        """
        work = replace(
            self._work,
            new=[row for rows in new for row in rows],
            paired=list(self._work.paired),
            removed=list(self._work.removed),
            letters=list(self._work.letters),
            moved={at: dict(numbers) for at, numbers in self._work.moved.items()},
        )
        now_ms = self._clock.now_ms()
        for taken in self._taken.values():
            taken.settle(work, now_ms)
        return work

    def begin_anew(self) -> None:
        """Forget what has been committed."""
        self._work = HalfWork()
        self._taken = {}
        self.intake.begin_anew()

    def drop(self) -> None:
        """Forget everything."""
        self._work = HalfWork()
        self._taken = {}
        self.intake.drop()

    def refused(self, place: Place, event: Refused) -> bool:
        """Take note of an event that only its worker could refuse; False if it is of no pair."""
        taken = self._taken.get((place.topic, place.partition, event.offset))
        if taken is None:
            return False
        taken.refused.append(event)
        return True

    # --- pairs ---------------------------------------------------------------------------------------------

    def _take_all(self, pairs: Sequence[Both]) -> None:
        """Take in pairs of the same two topics."""
        request_topic, response_topic = pairs[0][0].topic, pairs[0][1].topic
        # An id that is remembered from these very messages does not make them duplicates.
        seen = Seen(0) if _is_remembered(pairs[0]) else None
        decoder = _OfPairs((self._streams.get(request_topic), self._streams[response_topic]), pairs)
        self._decoders[response_topic] = decoder
        places = sorted({Place(response.topic, response.partition) for _, response in pairs})
        for place in places:
            self._standing_in[place] = self._owned[place].stand_in(0, seen)
        if self.intake.take(_fetched(places, [response for _, response in pairs])):
            return  # something that is needed to read them is away: they wait on
        for place in places:
            self._move_over(place)
        letters = {(row["topic"], row["partition"], row["offset"]): row for row in self.intake.dead_letters}
        self.intake.dead_letters.clear()
        for at, (request, response) in enumerate(pairs):
            place_offset = response.topic, response.partition, response.offset
            self._work.move(place_offset[:2], {"unpaired": -1})
            letter = letters.get(place_offset)
            if letter is None:
                self._taken[place_offset] = _Taken(request, response, int(decoder.events[at]))
                self._work.move((request.topic, request.partition), {"unpaired": -1, "paired": 1})
            else:
                self._work.letters.append(letter)
                self._work.removed.append(response)
                self._bury(request, letter["kind"], letter["reason"])

    def _move_over(self, place: Place) -> None:
        """Move what has happened to a stand-in over to its partition."""
        partition, stand_in = self._owned[place], self._standing_in.pop(place)
        self._work.move((place.topic, place.partition), {k: n for k, n in stand_in.outcomes.items() if n})
        if stand_in.max_event_ms is not None:
            partition.max_event_ms = max(partition.max_event_ms or 0, stand_in.max_event_ms)
        partition.last_event_at_ms = stand_in.last_event_at_ms

    def _bury(self, half: StoredHalf, kind: str, reason: str) -> None:
        """Make a dead letter of a half."""
        self._work.letters.append(letter_of(half, kind, reason, self._clock.now_ms()))
        self._work.removed.append(half)
        outcome = "future" if kind == "future" else "dead_lettered"
        self._work.move((half.topic, half.partition), {"unpaired": -1, outcome: 1})

    def _clean(self, places: Sequence[At]) -> None:
        now_ms = self._clock.now_ms()
        if now_ms >= self._clean_at_ms:
            self._clean_at_ms = now_ms + CLEAN_MS
            self._work.forget = list(places)
            self._work.forget_before_ms = now_ms - self._configuration.defaults.dedupe_ms


@dataclass
class _Taken:
    """A pair that was taken in, how many of its events count, and those that only a worker could refuse."""

    request: StoredHalf
    response: StoredHalf
    events: int
    refused: list[Refused] = field(default_factory=list)

    def settle(self, work: HalfWork, now_ms: int) -> None:
        """Write down what became of it.

        Notes
        -----
        Of a pair of which nothing is left both halves become dead letters, and can be replayed. If others of
        its events are counted, its response alone does: they must not be counted again.
        """
        both = self.request, self.response
        if not self.refused:
            work.paired += both
            return
        request_at, response_at = ((half.topic, half.partition) for half in both)
        number, (first, *_) = len(self.refused), self.refused
        work.move(response_at, {"counted": -number, "dead_lettered": number})
        letters = [letter_of(self.response, first.kind, first.reason, now_ms, is_remembered=True)]
        letters[0]["events"] = number
        if number < self.events:
            work.paired += both
        else:
            work.removed += both
            work.move(request_at, {"paired": -1, "dead_lettered": 1})
            letters.append(letter_of(self.request, first.kind, first.reason, now_ms, is_remembered=True))
        work.letters += letters


class _OfPairs:
    """Decoder of the responses of some pairs, each with its request; `events` is how many each has."""

    def __init__(self, streams: tuple[Stream | None, Stream], pairs: Sequence[Both]) -> None:
        self._translated = Translated((), _together(*streams))
        self._pairs = [
            Pair(response.format, _message(request), _message(response)) for request, response in pairs
        ]
        self.events = np.zeros(len(pairs), np.int64)

    def decode(self, _values: Sequence[bytes], _about: About | None = None) -> Envelopes:
        """Read the pairs, of whose responses these are the values."""
        found = self._translated.decode_pairs(self._pairs)
        self.events = np.bincount(found.row, minlength=len(self._pairs))
        return found

    def decode_labels(self, values: Sequence[bytes], about: About | None = None) -> LabelEnvelopes:
        """Read labels, of which there are none."""
        return self._translated.decode_labels(values, about)


class _Halves:
    """What `Intake` asks of a source, answered by stored halves."""

    def key_of(self, message: StoredHalf) -> bytes | None:
        """Key of a message."""
        return message.key

    def headers_of(self, message: StoredHalf) -> Headers:
        """Headers of a message."""
        return message.headers


def _alike(pairs: Sequence[Both]) -> list[list[Both]]:
    """Pairs of the same two topics, and apart from them those whose ids are remembered from before."""
    found: dict[tuple[str, str, bool], list[Both]] = {}
    for request, response in pairs:
        about = request.topic, response.topic, _is_remembered((request, response))
        found.setdefault(about, []).append((request, response))
    return list(found.values())


def _is_remembered(pair: Both) -> bool:
    return pair[0].is_remembered or pair[1].is_remembered


def _together(request: Stream | None, response: Stream) -> Reading:
    """What two streams say of a pair; where both do, that of the responses holds."""
    mine = response.reading()
    other = mine if request is None else request.reading()
    return Reading(
        model=mine.model or other.model,
        version=mine.version or other.version,
        fields={**other.fields, **mine.fields},
        inputs=mine.inputs or other.inputs,
        threshold=mine.threshold,
    )


def _message(half: StoredHalf) -> Message:
    return Message(half.value, half.headers, half.timestamp_ms, key=half.key, topic=half.topic)


def _fetched(places: Sequence[Place], responses: Sequence[StoredHalf]) -> Fetched:
    index = {(place.topic, place.partition): at for at, place in enumerate(places)}
    return Fetched(
        places=list(places),
        place=np.array([index[one.topic, one.partition] for one in responses], np.int64),
        offset=np.array([one.offset for one in responses], np.int64),
        timestamp_ms=np.array([one.timestamp_ms for one in responses], np.int64),
        values=[one.value for one in responses],
        raw=list(responses),
    )
