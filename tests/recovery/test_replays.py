"""Replays of dead letters that are cut off at any point lose nothing and count nothing twice."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from monitor.config import Configuration
from monitor.dead_letters.marking import mark
from monitor.store import engine as databases
from monitor.store.engine import immediate, reading
from monitor.store.positions import OUTCOMES, Place
from monitor.store.queries.dead_letters import Wanted
from monitor.store.tables import dead_letter, label_account, slice_profile
from schemas.errors import Unavailable
from tests.recovery.world import MINUTE_MS, POINTS, Died, Member, World

BATCH = (("content-type", b"application/cloudevents-batch+json"),)
BROKEN = (b"", b"no json", b'{"specversion": "1.0"}')


def configuration(format_: str) -> Configuration:
    """Predictions and labels; every format can be read, or JSON alone."""
    more = {"format": "auto", "model": "m", "version": "1"} if format_ == "auto" else {}
    return Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "memory"},
            "database_url": "sqlite:///unused.db",
            "streams": [
                {"topic": "flights", "kind": "predictions", **more},
                {"topic": "truth", "kind": "labels", **more},
            ],
            "defaults": {"horizon": "20m", "windows": ["5m"]},
            "ingest": {"workers": 1, "batch": 40},
        }
    )


class ReplayWorld(World):
    """Events that all can read, batches that only a mended decoder can read, and what nobody can.

    Every event that can ever be read has to be counted once in the end, in the slice of its time.
    """

    def __init__(self, engine: Engine, seed: int) -> None:
        super().__init__(engine, seed, partitions=2, topics=("flights", "truth"))
        self.configuration = configuration("json")
        self.events: Counter[Place] = Counter()
        self.repeated: Counter[Place] = Counter()
        self.broken: Counter[Place] = Counter()
        self.minutes: Counter[int] = Counter()

    def mend(self) -> None:
        """Let the next processes read more."""
        for member in list(self.members):
            self.die(member)
        self.configuration = configuration("auto")

    def produce(self, number: int, place: Place | None = None) -> None:
        """Append messages."""
        for _ in range(number):
            at = place or self.random.choice(list(self.produced))
            self._stamp_ms += self.random.randrange(0, 500)
            kind = self.random.random()
            if kind < 0.1:
                self.broken[at] += 1
                self._send(at, self.random.choice(BROKEN))
            elif kind < 0.5:
                self._send_batch(at)
            else:
                self._send_json(at)

    def _send(self, place: Place, value: bytes, headers: Any = ()) -> None:
        self.produced[place].append((value, self._stamp_ms))
        self.broker.append(place.topic, place.partition, value, timestamp_ms=self._stamp_ms, headers=headers)

    def _next(self, place: Place) -> tuple[str, int]:
        self._serial += 1
        at_ms = self._stamp_ms - self.random.randrange(0, 15 * MINUTE_MS)
        self.events[place] += 1
        if place.topic == "flights":
            self.minutes[at_ms // MINUTE_MS * MINUTE_MS] += 1
        return f"e{self._serial}", at_ms

    def _send_json(self, place: Place) -> None:
        id_, at_ms = self._next(place)
        about = {"prediction": 1, "version": "1"} if place.topic == "flights" else {"label": 1}
        event = {"event_id": id_, "model": "m", "timestamp": at_ms, **about}
        self._send(place, json.dumps(event).encode())

    def _send_batch(self, place: Place) -> None:
        data = {"prediction": 1} if place.topic == "flights" else {"label": 1}
        events = []
        for _ in range(self.random.randrange(1, 5)):
            id_, at_ms = self._next(place)
            about = {"specversion": "1.0", "id": id_, "source": "/s", "type": "t"}
            events.append({**about, "data": {**data, "timestamp": at_ms}})
        if self.random.random() < 0.1 and place.topic == "flights":
            events.append(events[0])
            self.repeated[place] += 1
        self._send(place, json.dumps(events).encode(), BATCH)

    def mark(self) -> int:
        """Mark what can be marked."""
        with immediate(self.engine) as connection:
            return mark(connection, Wanted()).marked

    def turn(self, member: Member) -> bool:
        """Let a member step once it is time for a commit, which is when letters are taken, and commit."""
        self.clock.advance(5_000)
        return self.step(member) and self.commit(member)

    def settle_letters(self) -> None:
        """Let everything heal, until no letter is marked any more."""
        for _ in range(60):
            self.settle()
            if not self._marked():
                return
            for member in list(self.members):
                self.turn(member)
        message = f"{self._marked()} letters are still marked"
        raise AssertionError(message)

    def _marked(self) -> int:
        query = select(func.count()).select_from(dead_letter).where(dead_letter.c.status == "marked")
        with reading(self.engine) as connection:
            return int(connection.execute(query).scalar_one())

    def check_identity(self) -> None:
        """Every event has one outcome, at any time."""
        for state in self.states().values():
            assert state.fetched == sum(getattr(state, name) for name in OUTCOMES)

    def check(self) -> None:
        """Compare the database with what was sent, once everything could be read."""
        self.check_identity()
        for place, state in self.states().items():
            assert {name: getattr(state, name) for name in ("fetched", *OUTCOMES)} == {
                "fetched": self.events[place] + self.repeated[place] + self.broken[place],
                "counted": self.events[place],
                "late": 0,
                "future": 0,
                "dead_lettered": self.broken[place],
                "duplicates": self.repeated[place],
                "unpaired": 0,
                "paired": 0,
            }
        with reading(self.engine) as connection:
            slices = connection.execute(select(slice_profile.c.slice_ms, slice_profile.c.rows)).all()
            labels = connection.execute(select(label_account)).all()
            status = connection.execute(select(dead_letter.c.status)).scalars().all()
        found: Counter[int] = Counter()
        for slice_ms, rows in slices:
            found[slice_ms] += rows
        assert found == self.minutes
        truths = {Place(row.topic, row.partition): row.waiting for row in labels}
        assert truths == {place: n for place, n in self.events.items() if place.topic == "truth"}
        assert set(status) <= {"waiting", "refused", "replayed"}
        assert len(status) - Counter(status)["replayed"] == sum(self.broken.values())


def begun(engine: Engine, seed: int) -> ReplayWorld:
    """A world with dead letters, marked, and a decoder that was mended."""
    world = ReplayWorld(engine, seed)
    world.produce(120)
    world.settle()
    world.check_identity()
    world.mend()
    assert world.mark()
    return world


def test_letters_are_replayed_while_messages_come(engine: Engine) -> None:
    world = begun(engine, seed=1)
    member = world.start()
    world.step(member)
    for _ in range(4):
        world.produce(20)
        assert world.turn(member)
        world.check_identity()
    world.settle_letters()
    world.check()


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_in_a_replay_is_continued_by_the_next(engine: Engine, point: str) -> None:
    world = begun(engine, seed=2)
    for _ in range(2):
        member = world.start()
        world.step(member)
        world.clock.advance(5_000)
        world.step(member)
        assert member.ingest._batch.replay.settled or point == "after commit"
        member.faults.plan(point, Died(point))
        assert not world.commit(member)
        world.check_identity()
    world.settle_letters()
    world.check()


@pytest.mark.parametrize("point", POINTS)
def test_a_database_that_is_away_in_a_replay_is_waited_for(engine: Engine, point: str) -> None:
    world = begun(engine, seed=3)
    member = world.start()
    world.step(member)
    world.clock.advance(5_000)
    world.step(member)
    assert member.ingest._batch.replay.settled
    member.faults.plan(point, Unavailable("away"), times=2 if point != "after commit" else 1)
    assert world.commit(member)
    assert not member.faults.planned()
    assert world.members == [member]
    world.settle_letters()
    world.check()


def test_a_stalled_process_is_fenced_and_its_letters_are_replayed_by_another(engine: Engine) -> None:
    world = begun(engine, seed=4)
    stalled = world.start()
    world.step(stalled)
    world.clock.advance(5_000)
    world.step(stalled)
    assert stalled.ingest._batch.replay.settled
    world.broker.expel(stalled.source, "driftline")
    other = world.start()
    for _ in range(3):
        world.turn(other)
    assert stalled.ingest._batch.replay.settled
    world.commit(stalled)
    world.check_identity()
    world.settle_letters()
    world.check()


def test_a_letter_is_replayed_once_even_if_two_own_its_partition(engine: Engine) -> None:
    """The letter's own guard: its row is changed by whoever comes first."""
    world = begun(engine, seed=5)
    member = world.start()
    world.step(member)
    world.clock.advance(5_000)
    world.step(member)
    held = member.ingest._batch.replay.settled
    with immediate(engine) as connection:
        connection.execute(
            dead_letter.update().where(dead_letter.c.id == held[0].id).values(status="replayed", attempts=1)
        )
    before = {place: state.counted for place, state in world.states().items()}
    assert world.commit(member)  # refused as a whole: it reads on from the database
    assert {place: state.counted for place, state in world.states().items()} == before
    with immediate(engine) as connection:
        connection.execute(
            dead_letter.update().where(dead_letter.c.id == held[0].id).values(status="marked", attempts=0)
        )
    world.settle_letters()
    world.check()


def run_schedule(engine: Engine, seed: int) -> None:
    """Let anything happen to processes while letters are marked and replayed."""
    rng = random.Random(seed)
    world = ReplayWorld(engine, seed)
    for turn in range(30):
        if turn == 12:
            world.settle()
            world.mend()
        if not world.members:
            world.start()
        member = rng.choice(world.members)
        action = rng.random()
        if action < 0.25:
            world.produce(rng.randrange(1, 15))
        elif action < 0.4 and turn >= 12:
            world.mark()
        elif action < 0.5:
            fault = rng.choice([Died("killed"), Unavailable("away")])
            member.faults.plan(rng.choice(POINTS), fault)
        elif action < 0.55:
            world.die(member)
        elif action < 0.6 and len(world.members) < 3:
            world.start()
        elif action < 0.7:
            world.commit(member)
        elif action < 0.8:
            world.step(member)
        else:
            world.turn(member)
        world.check_identity()
    world.settle()
    world.mark()
    world.settle_letters()
    world.check()


@pytest.mark.parametrize("block", [0, *(pytest.param(block, marks=pytest.mark.full) for block in (1, 2, 3))])
def test_any_schedule_replays_everything_once(block: int, migrated_sqlite: Path, tmp_path: Path) -> None:
    for seed in range(block * 10, block * 10 + 10):
        path = tmp_path / f"{seed}.db"
        shutil.copy(migrated_sqlite, path)
        engine = databases.create(f"sqlite:///{path}")
        try:
            run_schedule(engine, seed)
        finally:
            World.close_all()
            engine.dispose()


def test_schedules_replay_everything_once_on_both_databases(engine: Engine) -> None:
    run_schedule(engine, 1_000)
