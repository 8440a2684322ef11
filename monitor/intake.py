"""Sorts out what was fetched: decodes it, tells events apart, and keeps them until they are profiled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.hashing import hash_strings
from monitor.clock import Clock
from monitor.config import Configuration
from monitor.dead_letters.letters import written_headers
from monitor.decode import catalog
from monitor.decode.batch import Events, Messages, ReadPlace
from monitor.decode.envelope import Decoder, Envelopes, LabelEnvelopes
from monitor.decode.halves import Half
from monitor.decode.message import About, Message
from monitor.labels.labelling import label_rows, model_id, place_id
from monitor.labels.pairing import LabelRows
from monitor.labels.pending import Terms
from monitor.partitions import EventTimes, Partition
from monitor.profiling import Key, Profiler
from monitor.registry import Registry
from monitor.source.source import Fetched
from monitor.store.positions import Place
from monitor.tracing.tracer import step
from schemas.errors import Unavailable

logger = logging.getLogger(__name__)

FULL = 4_096  # events of one model version that are worth a task of their own
LARGEST = 50_000  # events of a task: a few messages may hold more, for all workers
WAITING = 500_000  # events that may wait for more of their model version
LONGEST_DEAD_LETTER = 1_048_576


class KeysAndHeaders(Protocol):
    """Looks into messages of a fetch."""

    def key_of(self, message: Any) -> bytes | None:
        """Key of a message."""
        ...

    def headers_of(self, message: Any) -> list[tuple[str, bytes | None]]:
        """Headers of a message."""
        ...


class Intake:
    """Everything between a fetch and the profiles.

    Parameters
    ----------
    configuration : Configuration
    source : KeysAndHeaders
        Asked for keys and headers of messages that become dead letters.
    clock : Clock
    registry : Registry
    profiler : Profiler
        Gets events of a model version together, as soon as there are many.
    owned : dict of Place to Partition
        Partitions that this process owns; their counters and positions move here.
    times : EventTimes
    decoders : mapping of str to Decoder, optional
        Of each topic; default: those that the streams say.
    is_replay : bool
        Whether the messages are dead letters that are taken in again.

    Attributes
    ----------
    dead_letters : list of dict
        Rows for messages that cannot be counted.
    halves : list of dict
        Rows for requests and responses that came alone.
    roles : dict
        Latest role of each model version.
    labels : list of LabelRows
        In the order of their arrival.
    label_models : dict of int to str
        Models that they are about, by id.
    terms : Terms
        What hashes in them stand for.
    events, held_bytes : int
        Events taken since the last commit, where a message without any counts as one, and the size of their
        messages.
    """

    def __init__(
        self,
        configuration: Configuration,
        source: KeysAndHeaders,
        clock: Clock,
        registry: Registry,
        profiler: Profiler,
        owned: dict[Place, Partition],
        times: EventTimes,
        decoders: Mapping[str, Decoder] | None = None,
        *,
        is_replay: bool = False,
    ) -> None:
        self._configuration, self._source, self._clock = configuration, source, clock
        self._registry, self._profiler = registry, profiler
        self._owned, self._times, self._is_replay = owned, times, is_replay
        self._decoders = (
            {stream.topic: catalog.build(stream.format, stream.reading()) for stream in configuration.streams}
            if decoders is None
            else decoders
        )
        self._label_topics = {stream.topic for stream in configuration.streams if stream.kind == "labels"}
        self._waiting: dict[Key, Events] = {}
        self._waiting_events = 0
        self.dead_letters: list[dict[str, Any]] = []
        self.halves: list[dict[str, Any]] = []
        self.roles: dict[Key, str] = {}
        self.labels: list[LabelRows] = []
        self.label_models: dict[int, str] = {}
        self.terms = Terms()
        self.events = self.held_bytes = 0
        self._events_of_message = 1.0

    def begin_anew(self) -> None:
        """Forget what has been committed."""
        self.dead_letters.clear()
        self.halves.clear()
        self.roles.clear()
        self.labels.clear()
        self.label_models.clear()
        self.terms = Terms()
        self.events = self.held_bytes = 0

    def drop(self) -> None:
        """Forget everything, also what waits to be profiled."""
        self._waiting.clear()
        self._waiting_events = 0
        self.begin_anew()

    def most_messages(self, batch: int) -> int:
        """How many messages to fetch, at most `batch`: fewer, if the last ones held many events each."""
        return max(1, min(batch, int(LARGEST / self._events_of_message)))

    def take(self, fetched: Fetched) -> list[Place]:
        """Sort out what was fetched, topic by topic.

        Returns
        -------
        list of Place
            Partitions of which nothing was taken, because something that their messages need is away. They
            must be fetched again from where they stand.
        """
        owned = [self._owned.get(place) for place in fetched.places]
        next_offsets = np.array([-1 if p is None or p.stopped else p.next_offset for p in owned])
        wanted = (next_offsets[fetched.place] >= 0) & (fetched.offset >= next_offsets[fetched.place])
        topics = list(dict.fromkeys(place.topic for place in fetched.places))
        left: set[str] = set()
        before = self.events
        for topic in topics:
            rows = np.flatnonzero(
                wanted & np.array([p.topic == topic for p in fetched.places])[fetched.place]
            )
            part = _Part(fetched, None if len(rows) == len(fetched) else rows)
            if len(rows) and not self._taken(topic, part):
                left.add(topic)
        self._events_of_message = max(1.0, (self.events - before) / max(1, len(fetched)))
        for at, partition in enumerate(owned):
            mine = wanted & (fetched.place == at)
            if partition is not None and mine.any() and fetched.places[at].topic not in left:
                partition.next_offset = int(fetched.offset[mine][-1]) + 1
                partition.fetched += int(mine.sum())
                partition.end_seen = False
                partition.stamp_ms = max(partition.stamp_ms or 0, int(fetched.timestamp_ms[mine].max()))
        return [
            p.claim.place for p in owned if p is not None and not p.stopped and p.claim.place.topic in left
        ]

    def _taken(self, topic: str, part: _Part) -> bool:
        """Take messages of one topic, all or none; none if something that is needed to read them is away."""
        try:
            with step("decode", {"messaging.destination.name": topic}):
                sort_out = self._read(topic, part)
        except Unavailable as error:
            logger.warning("messages cannot be read yet: %s", error, extra={"topic": topic})
            return False
        with step("check", {"messaging.destination.name": topic}):
            sort_out()
        self.events += len(part.values)
        self.held_bytes += sum(map(len, part.values))
        return True

    def _read(self, topic: str, part: _Part) -> Callable[[], None]:
        """Decode messages, which changes nothing here; returns what is to be done with them."""
        decoder, about = self._decoders[topic], self._about(part)
        if topic in self._label_topics:
            return partial(self._take_labels, part, decoder.decode_labels(part.values, about))
        return partial(self._take_predictions, part, decoder.decode(part.values, about))

    def _take_predictions(self, part: _Part, envelopes: Envelopes) -> None:
        self._bury_problems(part, envelopes.problems)
        self._hold(part, envelopes.halves)
        self._count_further(part, envelopes.row)
        if not len(envelopes):
            return
        groups = _Groups(envelopes)
        sorted_out = self._sort_out(envelopes, groups, part)
        messages = self._messages(part)
        if sorted_out.repeated.any():
            for key, picked in groups.kept(sorted_out.repeated):
                every = envelopes.event_ms
                self._waiting_of(key).repeated_ms.append(every if picked is None else every[picked])
        for key, picked in groups.kept(sorted_out.keep):
            for piece in _pieces(picked, len(envelopes)):
                events = self._waiting_of(key)
                before = len(events)
                # Partition indexes of a fetch mean nothing later: slots do.
                events.extend(envelopes, piece, messages, sorted_out.behind)
                self._waiting_events += len(events) - before
                if len(events) >= FULL:
                    self._submit([key])
            self.roles[key] = envelopes.role[-1 if picked is None else picked[-1]]
        if self._waiting_events >= WAITING:
            self.submit_all()

    def _waiting_of(self, key: Key) -> Events:
        """Events of a model version that wait to be profiled."""
        events = self._waiting.get(key)
        if events is None:
            events = self._waiting[key] = Events(is_replay=self._is_replay)
        return events

    def _take_labels(self, part: _Part, envelopes: LabelEnvelopes) -> None:
        fetched = part.fetched
        self._bury_problems(part, envelopes.problems)
        self._count_further(part, envelopes.row)
        if not len(envelopes):
            return
        models = list(dict.fromkeys(envelopes.model))
        settings = {model: self._configuration.for_model(model) for model in models}
        now_ms = self._clock.now_ms()
        place = part.place[envelopes.row]
        position = {model: at for at, model in enumerate(models)}
        index = np.array([position[model] for model in envelopes.model], np.int64)
        latest = np.array([now_ms + settings[model].skew_ms for model in models])
        future = _of_whole_messages(envelopes.label_ms > latest[index], envelopes.row)
        self._bury_future(part, envelopes.row, envelopes.label_ms, future)
        columns = self._times.index_of(models)[index]
        due = np.flatnonzero(~future)
        if len(due):
            slots = self._slots(fetched)[place[due]]
            self._times.note(slots, columns[due], envelopes.label_ms[due], now_ms)
        none = np.zeros(len(future), bool)
        for at, partition in enumerate(self._partitions(fetched)):
            mine = place == at
            if partition is not None and mine.any():
                self._count(partition, mine, future, none, none, envelopes.label_ms, now_ms)
        ids = np.array([place_id(p.topic, p.partition) for p in fetched.places], np.int64)
        horizons = {model: settings[model].labels.horizon_ms for model in models}
        labels = label_rows(envelopes, ids[place], horizons, self.terms)
        self.labels.append(labels.take(due))
        self.label_models |= {model_id(model): model for model in models}

    def _about(self, part: _Part) -> About:
        """What formats may ask of a message."""

        def message(row: int) -> Message:
            raw = part.raw[row]
            topic = part.fetched.places[part.place[row]].topic
            if raw is None:
                return Message(part.values[row], (), int(part.stamp[row]), topic=topic)
            headers, key = self._source.headers_of(raw), self._source.key_of(raw)
            return Message(part.values[row], headers, int(part.stamp[row]), key=key, topic=topic)

        return message

    def _count_further(self, part: _Part, row: NDArray[np.int64]) -> None:
        """Count events that come with others in a message as fetched too."""
        further = np.maximum(np.bincount(row, minlength=len(part.values)) - 1, 0)
        if not further.any():
            return
        self.events += int(further.sum())
        for at, partition in enumerate(self._partitions(part.fetched)):
            if partition is not None:
                partition.fetched += int(further[part.place == at].sum())

    def _hold(self, part: _Part, halves: Sequence[tuple[int, Half]]) -> None:
        """Keep requests and responses that came alone; whether one is a repetition, the database knows."""
        for row, half in halves:
            place, raw = part.fetched.places[part.place[row]], part.raw[row]
            partition = self._owned.get(place)
            if partition is not None:
                partition.outcomes["unpaired"] += 1
            headers = [] if raw is None else self._source.headers_of(raw)
            self.halves.append(
                {
                    "pair": half.digest,
                    "side": half.side,
                    "status": "waiting",
                    "format": half.format,
                    "name": half.key,
                    "topic": place.topic,
                    "partition": place.partition,
                    "offset": int(part.offset[row]),
                    "key": None if raw is None else self._source.key_of(raw),
                    "value": part.values[row],
                    "value_bytes": len(part.values[row]),
                    "headers": written_headers(headers),
                    "timestamp_ms": int(part.stamp[row]),
                    "stored_at_ms": self._clock.now_ms(),
                    "is_remembered": False,
                }
            )

    def _bury_problems(self, part: _Part, problems: Sequence[tuple[int, str]]) -> None:
        for row, reason in problems:
            self._bury_row(part, row, "undecodable", reason)

    def _bury_future(
        self, part: _Part, row: NDArray[np.int64], event_ms: NDArray[np.int64], future: NDArray[np.bool_]
    ) -> None:
        _, first = np.unique(row, return_index=True)
        for at in first[future[first]].tolist():  # once for each message
            reason = f"timestamp {int(event_ms[at])} ms is later than the clock allows"
            self._bury_row(part, int(row[at]), "future", reason, int((row == row[at]).sum()))

    def _bury_row(self, part: _Part, row: int, kind: str, reason: str, events: int = 1) -> None:
        place = part.fetched.places[part.place[row]]
        offset, stamp = int(part.offset[row]), int(part.stamp[row])
        self.bury(place, kind, reason, offset, part.values[row], part.raw[row], stamp, events=events)

    def _messages(self, part: _Part) -> Messages:
        places = {
            partition.slot: ReadPlace(place.topic, place.partition, partition.claim.judged_from)
            for place in part.fetched.places
            if (partition := self._owned.get(place)) is not None
        }
        slots = self._slots(part.fetched)[part.place]
        return Messages(part.values, part.raw, slots, part.offset, part.stamp, places)

    def _partitions(self, fetched: Fetched) -> list[Partition | None]:
        return [self._owned.get(place) for place in fetched.places]

    def _slots(self, fetched: Fetched) -> NDArray[np.int64]:
        return np.array([-1 if p is None else p.slot for p in self._partitions(fetched)], np.int64)

    def _sort_out(self, envelopes: Envelopes, groups: _Groups, part: _Part) -> _Sorted:
        """Tell future, late and repeated events from those that count; moves event time."""
        now_ms = self._clock.now_ms()
        places, event_ms = part.place[envelopes.row], envelopes.event_ms
        settings = [self._configuration.for_model(model) for model in groups.models]
        latest = now_ms + np.array([s.skew_ms for s in settings])[groups.model]
        future = _of_whole_messages(event_ms > latest, envelopes.row)
        self._bury_future(part, envelopes.row, event_ms, future)
        due = np.flatnonzero(~future)
        late, behind = np.zeros((2, len(event_ms)), bool)
        if len(due):
            stream = (
                self._slots(part.fetched)[places[due]],
                self._times.index_of(groups.models)[groups.model[due]],
                event_ms[due],
            )
            limits = np.array([(s.lateness_ms, s.horizon_ms) for s in settings])[groups.model[due]]
            behind[due] = self._times.behind(*stream, limits[:, 0])
            late[due] = self._times.late(*stream, limits[:, 1], now_ms)
        repeated = np.zeros(len(event_ms), bool)
        identity = envelopes.id_hash ^ groups.salt
        # A record from the future would make the partition forget every id before it.
        came_ms = np.minimum(part.stamp, now_ms)[envelopes.row]
        for at, partition in enumerate(self._partitions(part.fetched)):
            if partition is None:
                continue
            mine = places == at
            open_ = np.flatnonzero(mine & ~future & ~late)
            if len(open_):
                repeated[open_] = partition.seen.check(identity[open_], came_ms[open_])
            if mine.any():
                self._count(partition, mine, future, late, repeated, event_ms, now_ms)
        return _Sorted(~(future | late | repeated), repeated, behind)

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

    def bury(
        self,
        place: Place,
        kind: str,
        reason: str,
        offset: int,
        value: bytes,
        raw: Any,
        stamp: int,
        *,
        events: int = 1,
        is_remembered: bool = False,
    ) -> None:
        """Keep a message that cannot be counted. Future ones are counted where they are told apart."""
        partition = self._owned.get(place)
        if partition is not None and kind != "future":
            partition.outcomes["dead_lettered"] += events
        headers = [] if raw is None else self._source.headers_of(raw)
        self.dead_letters.append(
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
                "headers": written_headers(headers),
                "events": events,
                "is_remembered": is_remembered,
            }
        )

    def _submit(self, keys: Sequence[Key]) -> None:
        work = [(key, self._registry.state_of(key), self._waiting.pop(key)) for key in keys]
        self._waiting_events -= sum(len(events) for _, _, events in work)
        self._profiler.submit(work)

    def submit_all(self) -> None:
        """Hand over everything that waits to be profiled; a task for each model would cost too much."""
        keys: list[Key] = []
        total = 0
        for key, events in list(self._waiting.items()):
            keys.append(key)
            total += len(events)
            if total >= FULL:
                self._submit(keys)
                keys, total = [], 0
        if keys:
            self._submit(keys)


def _of_whole_messages(which: NDArray[np.bool_], row: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Extend what is true of an event to all events of its message, which is kept or not as a whole."""
    if not which.any():
        return which
    found: NDArray[np.bool_] = np.isin(row, row[which])
    return found


class _Sorted(NamedTuple):
    """Which events count, which of the others came once more, and which came out of order."""

    keep: NDArray[np.bool_]
    repeated: NDArray[np.bool_]
    behind: NDArray[np.bool_]


def _pieces(picked: list[int] | None, n: int) -> Iterator[list[int] | slice | None]:
    """Parts of what was picked from `n` events, None being all, of which none is too large for a task."""
    if picked is None and n <= LARGEST:
        yield None
        return
    for first in range(0, n if picked is None else len(picked), LARGEST):
        piece = slice(first, first + LARGEST)
        yield piece if picked is None else picked[piece]


class _Part:
    """Messages of one topic in a fetch, in columns; `place` is the index into the places of the fetch."""

    def __init__(self, fetched: Fetched, rows: NDArray[np.intp] | None) -> None:
        self.fetched = fetched
        if rows is None:
            self.values, self.raw = fetched.values, fetched.raw
            self.place, self.offset, self.stamp = fetched.place, fetched.offset, fetched.timestamp_ms
        else:
            at = rows.tolist()
            self.values = [fetched.values[row] for row in at]
            self.raw = [fetched.raw[row] for row in at]
            self.place, self.offset = fetched.place[rows], fetched.offset[rows]
            self.stamp = fetched.timestamp_ms[rows]


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
