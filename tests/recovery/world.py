"""A small world for recovery tests: producers, ingest members, one database, and what must come of it.

Everything moves in one thread and by seeds, so that a failure can be run again. `World.check` computes from
the produced messages alone what the database must hold, and compares every number.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from sqlalchemy import Engine, delete, func, select

from detectors.binning import Binning, CategoricalBins, NumericBins
from detectors.cells import Cells, keys_to_floats
from detectors.hashing import hash_strings
from detectors.profile import Profile
from detectors.reference import Reference, build
from monitor.clock import ManualClock
from monitor.config import Configuration
from monitor.ingest import Ingest
from monitor.references.lifecycle import keep, promote
from monitor.source.memory import MemoryBroker, MemorySource
from monitor.store import positions
from monitor.store.engine import immediate, reading
from monitor.store.positions import OUTCOMES, Place
from monitor.store.tables import (
    dead_letter,
    metadata,
    model_version,
    partition_state,
    reference,
    reference_pointer,
    slice_profile,
    window_state,
)
from monitor.telemetry import Telemetry
from schemas.column import Kind
from schemas.errors import Fenced, Unavailable

import pyarrow as pa  # isort: skip

NOW_MS = 1_767_225_600_000  # of the clock that tests turn by hand
START_MS = NOW_MS - 3_600_000
MINUTE_MS = 60_000
HORIZON_MS = 20 * MINUTE_MS
CARRIERS = ("AA", "UA", "DL", "WN")
POINTS = (
    "begun",
    "positions",
    "models",
    "slices",
    "windows",
    "dead letters",
    "halves",
    "seen",
    "labels",
    "before commit",
    "after commit",
)


class TestClock(ManualClock):
    """A clock that can do something else while somebody sleeps."""

    __test__ = False

    def __init__(self, start_ms: int) -> None:
        super().__init__(start_ms)
        self._meanwhile: list[Callable[[], object]] = []

    def on_sleep(self, action: Callable[[], object]) -> None:
        """Do something in the middle of the next sleep."""
        self._meanwhile.append(action)

    def sleep(self, seconds: float) -> None:
        """Move on, and do what was planned."""
        super().sleep(seconds)
        waiting, self._meanwhile = self._meanwhile, []
        for action in waiting:
            action()


class Died(Exception):  # noqa: N818 - what happened to the process
    """The process ended here."""


def configuration(topics: tuple[str, ...] = ("flights",), **ingest: int) -> Configuration:
    """Two or more models on the given topics, with small batches."""
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "memory"},
            "database_url": "sqlite:///unused.db",
            "streams": [{"topic": topic, "kind": "predictions"} for topic in topics],
            "defaults": {"horizon": "20m", "windows": ["5m", "1h"], "segments": ["carrier"]},
            "ingest": {"workers": 1, "batch": 40, **ingest},
        }
    )


@dataclass
class Expected:
    """What one slice must hold."""

    rows: int = 0
    distances: Counter[int] = field(default_factory=Counter)
    carriers: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    invalid: int = 0


@dataclass
class Oracle:
    """What must come of the messages of all partitions."""

    slices: dict[tuple[str, str, int], Expected] = field(default_factory=lambda: defaultdict(Expected))
    outcomes: dict[Place, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    dead: set[tuple[str, int, int]] = field(default_factory=set)


class Faults:
    """Fails at a named point of a commit, as often as it is told to."""

    def __init__(self) -> None:
        self._planned: dict[str, list[BaseException | Callable[[], object]]] = {}
        self.met: list[str] = []

    def plan(self, point: str, error: BaseException, times: int = 1) -> None:
        """Raise at the next `times` passages of a point."""
        self._planned.setdefault(point, []).extend([error] * times)

    def do(self, point: str, action: Callable[[], object]) -> None:
        """Do something at the next passage of a point."""
        self._planned.setdefault(point, []).append(action)

    def planned(self) -> int:
        """Number of failures that are still to come."""
        return sum(map(len, self._planned.values()))

    def clear(self) -> None:
        """Let everything pass from now on."""
        self._planned.clear()

    def __call__(self, point: str) -> None:
        self.met.append(point)
        if waiting := self._planned.get(point):
            what = waiting.pop(0)
            if isinstance(what, BaseException):
                raise what
            what()


class Member:
    """One process that takes in events."""

    def __init__(self, world: World) -> None:
        self.faults = Faults()
        self.announced: list[dict[str, int]] = []
        self.source = MemorySource(world.broker, world.clock)
        self.ingest = Ingest(
            world.configuration,
            world.engine,
            self.source,
            world.clock,
            Telemetry(),
            announce=self.announced.append,
            fault=self.faults,
        )
        self.ingest.begin()


class World:
    """Broker, database and members.

    Parameters
    ----------
    engine : Engine
        An empty, migrated database.
    seed : int
    partitions : int
    topics : tuple of str
    """

    opened: ClassVar[list[World]] = []

    def __init__(
        self, engine: Engine, seed: int, partitions: int = 3, topics: tuple[str, ...] = ("flights",)
    ) -> None:
        World.opened.append(self)
        self.engine, self.random = engine, random.Random(seed)
        self.clock = TestClock(NOW_MS)
        self.configuration = configuration(topics)
        self.broker = MemoryBroker()
        self.produced: dict[Place, list[tuple[bytes, int]]] = {}
        for topic in topics:
            self.broker.create_topic(topic, partitions)
            self.produced.update({Place(topic, number): [] for number in range(partitions)})
        self.members: list[Member] = []
        self.references: dict[str, Reference] = {}
        self.kept_out: frozenset[str] = frozenset()  # carriers whose events the contract keeps out
        self.horizon_ms = HORIZON_MS
        self._serial = 0
        self._stamp_ms = START_MS

    # --- members -------------------------------------------------------------------------------------------

    def start(self, number: int = 1) -> Member:
        """Start members; returns the last one."""
        for _ in range(number):
            self.members.append(Member(self))
        return self.members[-1]

    def die(self, member: Member) -> None:
        """End a member as a killed process ends: nothing is committed or given back."""
        self.members.remove(member)
        self.broker.expel(member.source, "driftline")
        member.ingest.abandon()

    def step(self, member: Member) -> bool:
        """Let a member fetch once; returns whether it lived through it."""
        try:
            member.ingest.step()
        except (Died, Unavailable, Fenced):
            self.die(member)
            return False
        return True

    def commit(self, member: Member) -> bool:
        """Let a member commit; returns whether it lived through it."""
        try:
            member.ingest.commit()
        except (Died, Unavailable, Fenced):
            self.die(member)
            return False
        return True

    @classmethod
    def close_all(cls) -> None:
        """End all members of all worlds."""
        while cls.opened:
            world = cls.opened.pop()
            for member in list(world.members):
                world.die(member)

    def leave(self, member: Member) -> None:
        """Let a member stop in good order."""
        self.members.remove(member)
        member.ingest.leave()

    def settle(self, rounds: int = 400) -> None:
        """Let everything heal, and everybody read and commit until nothing is left to read."""
        for member in self.members:
            member.faults.clear()
        for _ in range(rounds):
            if not self.members:
                self.start()
            for member in list(self.members):
                if self.step(member):
                    self.commit(member)
            if self._is_done():
                return
        msg = f"not everything was read: {self._behind()}"
        raise AssertionError(msg)

    def _is_done(self) -> bool:
        return not self._behind()

    def _behind(self) -> dict[Place, tuple[int, int]]:
        stored = self.states()
        behind = {}
        for place in self.produced:
            state = stored.get(place)
            _, high = self.broker.range_of(place)
            if state is None or (state.stopped_reason is None and state.next_offset != high):
                behind[place] = (-1 if state is None else state.next_offset, high)
        return behind

    # --- producing -----------------------------------------------------------------------------------------

    def produce(self, number: int, place: Place | None = None) -> None:
        """Append messages: most are events, some of them late, repeated or of the future, some no events."""
        for _ in range(number):
            at = place or self.random.choice(list(self.produced))
            self._stamp_ms += self.random.randrange(0, 2_000)
            self._append(at, self._message(at))

    def _append(self, place: Place, value: bytes) -> None:
        self.produced[place].append((value, self._stamp_ms))
        self.broker.append(
            place.topic,
            place.partition,
            value,
            timestamp_ms=self._stamp_ms,
            key=b"k%d" % self._serial,
            headers=(("trace", b"\x00\xff"), ("empty", None)),
        )

    def _message(self, place: Place) -> bytes:
        kind = self.random.random()
        earlier = self.produced[place]
        if kind < 0.1 and earlier:  # the producer sent it twice
            return self.random.choice(earlier[-20:])[0]
        if kind < 0.13:
            return self.random.choice([b"", b"no json", b'{"event_id": 3}', b"\xff\xfe", b'{"model":"m"}'])
        self._serial += 1
        at_ms = self._stamp_ms - self.random.randrange(0, 2 * MINUTE_MS)
        if kind < 0.17:
            at_ms -= self.random.choice([HORIZON_MS - 1, HORIZON_MS, HORIZON_MS + 1, 5 * HORIZON_MS])
        elif kind < 0.2:
            at_ms = NOW_MS + 365 * 86_400_000
        event: dict[str, Any] = {
            "event_id": f"e{self._serial}",
            "model": self.random.choice(["flight-delay", "fares"]),
            "version": self.random.choice(["1", "1", "2"]),
            "timestamp": at_ms,
            "features": {
                "distance": self.random.randrange(0, 300),
                "carrier": self.random.choice(CARRIERS),
            },
            "prediction": self.random.randrange(2),
        }
        if self.random.random() < 0.1:
            event["features"]["distance"] = None
        elif self.random.random() < 0.02:
            return json.dumps(event).replace('"distance": ', '"distance": 9' + "9" * 5_000).encode()
        return json.dumps(event).encode()

    # --- what must come of it ------------------------------------------------------------------------------

    def oracle(self) -> Oracle:
        """Work through the messages of each partition, one by one."""
        oracle = Oracle()
        for place, messages in self.produced.items():
            newest: dict[str, int] = {}
            counted_at: dict[tuple[str, str, str], list[int]] = defaultdict(list)
            outcomes = oracle.outcomes[place]
            for offset, (value, stamp_ms) in enumerate(messages):
                outcomes["fetched"] += 1
                event = _read(value)
                if event is None:
                    outcomes["dead_lettered"] += 1
                    oracle.dead.add((place.topic, place.partition, offset))
                    continue
                model, at_ms = event["model"], event["timestamp"]
                if at_ms > NOW_MS + 300 * 86_400_000:
                    outcomes["future"] += 1
                    oracle.dead.add((place.topic, place.partition, offset))
                    continue
                late = at_ms < newest.get(model, -1) - self.horizon_ms
                newest[model] = max(newest.get(model, -1), at_ms)
                identity = (model, event["version"], event["event_id"])
                if late:
                    outcomes["late"] += 1
                    continue
                minute = stamp_ms // MINUTE_MS
                if any(minute - earlier <= 10 for earlier in counted_at[identity]):
                    outcomes["duplicates"] += 1
                    continue
                counted_at[identity].append(minute)
                expected = oracle.slices[model, event["version"], at_ms // MINUTE_MS * MINUTE_MS]
                if event["features"]["carrier"] in self.kept_out:
                    outcomes["dead_lettered"] += 1
                    oracle.dead.add((place.topic, place.partition, offset))
                    continue
                outcomes["counted"] += 1
                expected.rows += 1
                expected.carriers[event["features"]["carrier"]] += 1
                distance = event["features"]["distance"]
                if distance is None:
                    expected.missing += 1
                elif distance > 1_000:
                    expected.invalid += 1
                else:
                    expected.distances[distance] += 1
        return oracle

    # --- what came of it -----------------------------------------------------------------------------------

    def states(self) -> dict[Place, Any]:
        """Stored positions."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(partition_state)).all()
        return {Place(row.topic, row.partition): row for row in rows}

    def profiles(self) -> dict[tuple[str, str, int], list[Profile]]:
        """Stored profiles, one for each slice and reference."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(slice_profile).order_by(slice_profile.c.id)).all()
        found: dict[tuple[str, str, int, str], Profile] = {}
        for row in rows:
            hash_ = row.reference_hash or ""
            profile = Profile.from_bytes(row.bytes, self.references[hash_].binning if hash_ else None)
            assert profile.rows == row.rows
            key = (row.model, row.version, row.slice_ms, hash_)
            if key in found:
                found[key].merge(profile)
            else:
                found[key] = profile
        by_slice: dict[tuple[str, str, int], list[Profile]] = defaultdict(list)
        for (model, version, slice_ms, _), profile in found.items():
            by_slice[model, version, slice_ms].append(profile)
        return by_slice

    def check(self) -> None:
        """Compare every number in the database with the oracle."""
        oracle = self.oracle()
        for place, state in self.states().items():
            counted = {name: getattr(state, name) for name in ("fetched", *OUTCOMES)}
            wanted = {name: oracle.outcomes[place][name] for name in ("fetched", *OUTCOMES)}
            assert (place, counted) == (place, wanted)
            assert state.fetched == sum(getattr(state, name) for name in OUTCOMES)
            assert state.next_offset == len(self.produced[place])
        profiles = self.profiles()
        assert set(profiles) == set(oracle.slices)
        for key, expected in oracle.slices.items():
            check_slice(profiles[key], expected, key)
        with reading(self.engine) as connection:
            dead = connection.execute(
                select(
                    dead_letter.c.topic, dead_letter.c.partition, dead_letter.c.offset, dead_letter.c.value
                )
            ).all()
            versions = {(r.model, r.version): r for r in connection.execute(select(model_version))}
            windows = {
                (r.model, r.version, r.window, r.start_ms) for r in connection.execute(select(window_state))
            }
        assert sorted((d.topic, d.partition, d.offset) for d in dead) == sorted(oracle.dead)
        for letter in dead:
            assert letter.value == self.produced[Place(letter.topic, letter.partition)][letter.offset][0]
        first: dict[tuple[str, str], int] = {}
        for model, version, slice_ms in oracle.slices:
            first[model, version] = min(slice_ms, first.get((model, version), slice_ms))
        assert set(versions) == set(first)
        assert all(versions[key].first_slice_ms >= slice_ms for key, slice_ms in first.items())
        assert windows == {
            (model, version, name, slice_ms - slice_ms % length)
            for model, version, slice_ms in oracle.slices
            for name, length in (("5m", 5 * MINUTE_MS), ("1h", 60 * MINUTE_MS))
        }

    # --- references ----------------------------------------------------------------------------------------

    def promote(self, model: str, version: str, from_ms: int) -> bool:
        """Make a reference of what is stored on cells and put it in force; False if nothing is."""
        learned = {
            key[2]: profile
            for key, profiles in self.profiles().items()
            if key[:2] == (model, version)
            for profile in profiles
            if profile.binning is None and profile.rows
        }
        if not learned:
            return False
        picked = dict(self.random.sample(sorted(learned.items()), self.random.randint(1, len(learned))))
        new = build(picked, slice_ms=MINUTE_MS, window_ms=5 * MINUTE_MS, segments=("carrier",))
        self.references[new.hash] = new
        with immediate(self.engine) as connection:
            keep(connection, new, {}, self.clock.now_ms())
            last = connection.execute(
                select(func.max(reference_pointer.c.from_ms)).where(
                    reference_pointer.c.model == model, reference_pointer.c.version == version
                )
            ).scalar()
            return promote(
                connection,
                (model, version),
                new.hash,
                from_ms=max(from_ms, last or 0),
                by="test",
                now_ms=self.clock.now_ms(),
            )


def _read(value: bytes) -> dict[str, Any] | None:
    """Read an event, None for what is not one."""
    try:
        event: dict[str, Any] = json.loads(value.replace(b"9" * 5_000, b"9" * 50))
    except ValueError:
        return None
    if not {"event_id", "model", "timestamp", "prediction"} <= event.keys():
        return None
    return event


def check_slice(profiles: list[Profile], expected: Expected, key: object) -> None:
    """Compare the stored profiles of one slice, maybe on several references, with what it must hold."""
    assert sum(profile.rows for profile in profiles) == expected.rows, key
    numbers = list(expected.distances.elements())
    summaries = [profile.summaries["distance"] for profile in profiles if "distance" in profile.summaries]
    assert sum(s.ok for s in summaries) == len(numbers), key
    assert sum(s.sum for s in summaries) == sum(numbers), key
    assert sum(s.squares for s in summaries) == sum(x * x for x in numbers), key
    assert sum(s.invalid for s in summaries) == expected.invalid, key
    assert sum(profile.missing("distance") for profile in profiles) == expected.missing, key
    if numbers:
        assert min(s.lowest for s in summaries) == min(numbers), key
        assert max(s.highest for s in summaries) == max(numbers), key
    if len(profiles) == 1 and expected.rows:
        profile = profiles[0]
        groups = dict(zip(profile.groups, profile.group_rows.tolist(), strict=True))
        named = {f"carrier={name}" for name in expected.carriers} & groups.keys()
        for label in named:
            assert groups[label] == expected.carriers[label.removeprefix("carrier=")], key
        other = sum(n for name, n in expected.carriers.items() if f"carrier={name}" not in named)
        assert groups.get("carrier=(other)", 0) == other, key
        if profile.binning is None:
            check_cells(profile, expected, key)
        else:
            check_bins(profile, profile.binning, expected, key)


def check_cells(profile: Profile, expected: Expected, key: object) -> None:
    """Compare exact values and their numbers."""
    cells = profile.cells.get("distance", Cells.empty())  # no value yet: no column
    found, count = cells.of_group(0)
    assert cells.shift == 0, key
    assert dict(zip(keys_to_floats(found).tolist(), count.tolist(), strict=True)) == expected.distances, key
    names = hash_strings(pa.array(CARRIERS, pa.string())).tolist()
    found, count = profile.cells["carrier"].of_group(0)
    by_hash = dict(zip(found.view(np.uint64).tolist(), count.tolist(), strict=True))
    assert {CARRIERS[names.index(h)]: n for h, n in by_hash.items()} == expected.carriers, key


def check_bins(profile: Profile, binning: Binning, expected: Expected, key: object) -> None:
    """Compare the counts on the bins of a reference."""
    for name, counts in (("distance", expected.distances), ("carrier", expected.carriers)):
        at = binning.index[name]
        bins = binning.bins[at]
        stored = profile.counts[0, binning.offsets[at] : binning.offsets[at + 1]]
        wanted = np.zeros(bins.size, np.int64)
        if isinstance(bins, NumericBins):
            codes = np.searchsorted(bins.edges, [float(x) for x in counts], side="right")
        else:
            assert isinstance(bins, CategoricalBins)
            codes = bins.codes(hash_strings(pa.array(list(counts), pa.string())))
        np.add.at(wanted, codes, list(counts.values()))
        wanted[-1] = expected.invalid if name == "distance" else 0
        wanted[-2] = expected.rows - int(wanted.sum())
        assert stored.tolist() == wanted.tolist(), (key, name)


def wipe(engine: Engine) -> None:
    """Empty all tables."""
    with immediate(engine) as connection:
        for table in metadata.sorted_tables:
            connection.execute(delete(table))
    positions.ensure_counters(engine)


__all__ = [
    "MINUTE_MS",
    "NOW_MS",
    "POINTS",
    "START_MS",
    "Died",
    "Kind",
    "Member",
    "World",
    "reference",
    "wipe",
]
Action = Callable[[World], None]
