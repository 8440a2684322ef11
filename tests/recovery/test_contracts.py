"""Rows that a contract keeps out, and partitions that it stops: exactly once, wherever a process dies."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, delete

from monitor.config import Configuration
from monitor.dead_letters.marking import mark
from monitor.store import engine as databases
from monitor.store.engine import immediate
from monitor.store.positions import Place, resume
from monitor.store.queries.dead_letters import Wanted
from monitor.store.tables import dead_letter
from schemas.errors import Unavailable
from tests.recovery.world import CARRIERS, MINUTE_MS, POINTS, Died, Member, World

HORIZON_MS = 10 * 24 * 60 * MINUTE_MS
KEPT_OUT = frozenset({"WN", "DL"})


class Guarded(World):
    """A world whose contract acts on the events of some carriers."""

    def __init__(self, engine: Engine, seed: int, **rule: Any) -> None:
        super().__init__(engine, seed, partitions=2)
        self.horizon_ms = HORIZON_MS
        self.change({"allowed": rule})
        if rule["action"] == "quarantine":
            self.kept_out = KEPT_OUT

    def change(self, rules: dict[str, Any], *, allowed: tuple[str, ...] = ("AA", "UA")) -> None:
        """Give the next processes another contract."""
        document = self.configuration.model_dump(by_alias=True, exclude_unset=True)
        document["defaults"] |= {
            "horizon": "10d", "columns": {"carrier": {"values": list(allowed), "rules": rules}}
        }  # fmt: skip
        for member in list(self.members):
            self.die(member)
        self.configuration = Configuration.model_validate(document)

    def allow_all(self) -> None:
        """Change the contract so that nothing is kept out any more, and replay what was."""
        self.settle()
        self.change({}, allowed=CARRIERS)
        with immediate(self.engine) as connection:
            assert mark(connection, Wanted(kind="contract")).marked
        self.kept_out = frozenset()

    def turn(self, member: Member) -> bool:
        """Let a member step once it is time for a commit, which is when letters are taken, and commit."""
        self.clock.advance(5_000)
        return self.step(member) and self.commit(member)

    def check_replayed(self) -> None:
        """Everything was counted, once, and the letters say so."""
        self.settle()
        for member in list(self.members) or [self.start()]:
            for _ in range(4):
                self.turn(member)
        with immediate(self.engine) as connection:
            left = connection.execute(
                delete(dead_letter).where(
                    dead_letter.c.status == "replayed", dead_letter.c.kind == "contract"
                )
            )
        assert left.rowcount
        self.check()


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_in_a_commit_keeps_the_same_rows_out(engine: Engine, point: str) -> None:
    world = Guarded(engine, 31, action="quarantine")
    for turn in range(3):
        member = world.start()
        world.produce(60)
        world.step(member)
        world.step(member)
        if turn < 2:
            member.faults.plan(point, Died(point))
            assert not world.commit(member)
    world.settle()
    world.check()


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_while_it_takes_them_in_after_all(engine: Engine, point: str) -> None:
    world = Guarded(engine, 32, action="quarantine")
    world.produce(120)
    world.allow_all()
    for _ in range(2):
        member = world.start()
        world.step(member)
        world.clock.advance(5_000)
        world.step(member)
        member.faults.plan(point, Died(point))
        assert not world.commit(member)
    world.check_replayed()


@pytest.mark.parametrize(
    ("action", "point"),
    [
        # Both stop a partition in the same way: at the end of a commit either is tried, before it one.
        pytest.param(action, point, marks=[] if action == "stop" or "commit" in point else pytest.mark.full)
        for action in ("stop", "quarantine")
        for point in POINTS
    ],
)
def test_a_partition_that_was_stopped_goes_on_exactly_once(engine: Engine, point: str, action: str) -> None:
    world = Guarded(engine, 33, action=action, stop={"share": 0.2, "rows": 10})
    first = Place("flights", 0)
    world.produce(60)
    for _ in range(2):
        member = world.start()
        for _ in range(2):
            world.step(member)
        member.faults.plan(point, Died(point))
        world.commit(member)
        world.step(member) if member in world.members else None
    world.settle()
    stopped = {place for place, state in world.states().items() if state.stopped_reason is not None}
    assert first in stopped
    assert world.states()[first].next_offset < len(world.produced[first])
    for place in stopped:
        at = world.states()[place].next_offset
        resume(
            engine, place, next_offset=at, topic_id=world.broker.topic_id("flights"),
            now_ms=world.clock.now_ms(), judged_from=len(world.produced[place]),
        )  # fmt: skip
    for member in list(world.members):
        world.die(member)
    member = world.start()
    world.step(member)
    member.faults.plan(point, Died(point))
    world.commit(member)
    world.settle()
    world.check()


def run_schedule(engine: Engine, seed: int) -> None:
    """Let anything happen to processes while rows are kept out and taken in after all."""
    rng = random.Random(seed)
    world = Guarded(engine, seed, action="quarantine")
    for turn in range(24):
        if turn == 12:
            world.produce(10)
            _one_bad(world)
            world.allow_all()
        if not world.members:
            world.start()
        member = rng.choice(world.members)
        action = rng.random()
        if action < 0.3:
            world.produce(rng.randrange(1, 20))
        elif action < 0.45:
            fault = rng.choice([Died("killed"), Unavailable("away")])
            member.faults.plan(rng.choice(POINTS), fault)
        elif action < 0.5:
            world.die(member)
        elif action < 0.6 and len(world.members) < 3:
            world.start()
        elif action < 0.8:
            world.step(member)
        else:
            world.turn(member)
    world.check_replayed()


def _one_bad(world: Guarded) -> None:
    event = {
        "event_id": "bad", "model": "fares", "version": "1", "timestamp": world._stamp_ms,
        "features": {"distance": 1, "carrier": "WN"}, "prediction": 1,
    }  # fmt: skip
    world._append(Place("flights", 0), json.dumps(event).encode())


@pytest.mark.parametrize("block", [0, pytest.param(1, marks=pytest.mark.full)])
def test_any_schedule_counts_everything_once(block: int, migrated_sqlite: Path, tmp_path: Path) -> None:
    for seed in range(block * 8, block * 8 + 8):
        path = tmp_path / f"{seed}.db"
        shutil.copy(migrated_sqlite, path)
        engine = databases.create(f"sqlite:///{path}")
        try:
            run_schedule(engine, seed)
        finally:
            World.close_all()
            engine.dispose()


def test_a_schedule_counts_everything_once_on_both_databases(engine: Engine) -> None:
    run_schedule(engine, 900)
