"""Labels are paired with their predictions exactly once, whatever happens to processes and the database."""

from __future__ import annotations

import logging
import random
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from detectors.outcomes import Family
from monitor.ingest import Ingest
from monitor.labels.expiry import Expiry
from monitor.labels.pairing import FATES, Status
from monitor.source.memory import MemorySource
from monitor.source.source import Listener
from monitor.store import engine as databases
from monitor.store.engine import reading
from monitor.store.positions import Place
from monitor.store.tables import label_account, pending, truth
from monitor.telemetry import Telemetry
from schemas.errors import Unavailable
from tests.recovery import test_chaos as chaos
from tests.recovery.label_world import (
    BINARY,
    CLASSES,
    CORRECTIONS,
    FLIGHTS,
    LABEL_HORIZON_MS,
    TRUTH,
    LabelWorld,
    stored_records,
)
from tests.recovery.world import MINUTE_MS, POINTS, Died, World, wipe


@pytest.mark.parametrize("roams", [False, True], ids=["keyed", "roaming"])
def test_without_faults_everything_is_paired_once(engine: Engine, roams: bool) -> None:
    world = LabelWorld(engine, seed=1, roams=roams)
    member = world.start()
    for _ in range(10):
        world.produce(60)
        world.step(member)
        world.commit(member)
    world.produce_all()
    world.settle()
    world.check()
    assert set(member.faults.met) == set(POINTS)
    assert world.members == [member]
    wanted = world.joined()
    assert {record.family for record in wanted.records} == set(Family)
    assert set(wanted.status.values()) == set(Status)


def read_first(world: LabelWorld, topic: str, produce: Callable[[], object]) -> None:
    """Read one of the topics to its end, and then the others."""
    member = world.start()
    world.step(member)
    others = [place for place in world.produced if place.topic != topic]
    member.source.pause(others)
    produce()
    wanted = {place: len(messages) for place, messages in world.produced.items()}
    while any(world.states()[place].next_offset < wanted[place] for place in wanted if place not in others):
        assert world.step(member)
        assert world.commit(member)
    assert all(world.states()[place].next_offset == 0 for place in others)
    member.source.unpause(others)
    world.settle()


@pytest.mark.parametrize("first", [FLIGHTS, TRUTH, CORRECTIONS])
def test_one_topic_is_read_before_the_others(engine: Engine, first: str) -> None:
    """All predictions before all labels, or some labels before anything else."""
    world = LabelWorld(engine, seed=2)

    def produce() -> None:
        world.produce(400)
        world.produce_all()

    read_first(world, first, produce)
    world.check()


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_in_a_commit_is_continued_by_the_next(engine: Engine, point: str) -> None:
    world = LabelWorld(engine, seed=3)
    for turn in range(4):
        member = world.start()
        world.produce(80)
        world.step(member)
        world.step(member)
        if turn < 3:
            member.faults.plan(point, Died(point))
            assert not world.commit(member)
    world.produce_all()
    world.settle()
    world.check()


@pytest.mark.parametrize("point", POINTS)
def test_a_database_that_is_away_in_a_commit_is_waited_for(engine: Engine, point: str) -> None:
    """After COMMIT nobody knows whether it was kept: it must not be paired again."""
    world = LabelWorld(engine, seed=4)
    member = world.start()
    for _ in range(4):
        world.produce(80)
        world.step(member)
        world.step(member)
        member.faults.plan(point, Unavailable("away"), times=2 if point != "after commit" else 1)
        assert world.commit(member)
        assert not member.faults.planned()
    assert world.members == [member]
    world.produce_all()
    world.settle()
    world.check()


def test_a_stalled_member_is_fenced_and_its_labels_are_paired_by_the_other(engine: Engine) -> None:
    world = LabelWorld(engine, seed=5)
    stalled, other = world.start(), world.start()
    for _ in range(4):
        world.produce(60)
        for member in (stalled, other):
            world.step(member)
    world.broker.expel(stalled.source, "driftline")
    for _ in range(2):
        world.produce(30)
        world.step(other)
    world.commit(other)
    with reading(engine) as connection:
        before = connection.execute(select(func.count()).select_from(truth)).scalar()
    assert world.commit(stalled)  # does not know yet, and must not write anything
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(truth)).scalar() == before
    world.produce_all()
    world.settle()
    world.check()


def test_label_partitions_lost_while_a_commit_waits_for_the_database(engine: Engine) -> None:
    world = LabelWorld(engine, seed=6)
    member, other = world.start(), world.start()
    for _ in range(4):
        world.produce(60)
        for each in (member, other):
            world.step(each)

    def expelled() -> None:
        world.broker.expel(member.source, "driftline")
        world.step(other)
        world.commit(other)

    member.faults.plan("labels", Unavailable("away"))
    world.clock.on_sleep(expelled)
    world.commit(member)
    world.produce_all()
    world.settle()
    world.check()


@pytest.mark.full
def test_a_revoked_partition_whose_commit_fails_is_read_again_by_its_next_owner(engine: Engine) -> None:
    world = LabelWorld(engine, seed=7)
    member = world.start()
    world.produce(200)
    world.step(member)
    world.step(member)
    member.faults.plan("labels", Unavailable("away"), times=1_000)
    other = world.start()
    world.step(member)  # tries for a minute, then gives the partitions up
    world.step(other)
    assert world.broker.owned_by(other.source, "driftline")
    world.produce_all()
    world.settle()
    world.check()


def test_a_promotion_counts_labels_once(engine: Engine) -> None:
    """What is refused because a reference was promoted is paired when it is counted again."""
    world = LabelWorld(engine, seed=8)
    member = world.start()
    world.produce(200)
    world.settle()
    for _ in range(2):
        world.produce(100)
        world.step(member)
        assert world.promote(BINARY, "1", 0)
        world.commit(member)
    world.produce_all()
    world.settle()
    world.check()


def test_what_is_forgotten_after_the_horizon_changes_no_outcomes(engine: Engine) -> None:
    """Labels whose prediction never came are orphans then; a process that dies meanwhile loses nothing."""
    world = LabelWorld(engine, seed=12)
    world.start()
    for turn in range(6):
        world.produce(60)
        for member in list(world.members):
            member.faults.plan(POINTS[turn], Died("killed"))
            world.step(member)
            world.commit(member)
        world.start()
        sweep(world)
    world.produce_all()
    world.settle()
    world.check()
    wanted = world.joined()
    accounts = fates(engine)
    world.clock.advance(3 * LABEL_HORIZON_MS)
    for _ in range(3):
        for member in world.members:
            assert world.step(member)
            assert world.commit(member)
    sweep(world)
    with reading(engine) as connection:
        assert stored_records(connection) == wanted.records
        assert not connection.execute(select(pending)).all()
        assert not connection.execute(select(truth)).all()
    for place, after in fates(engine).items():
        before = accounts[place]
        orphaned = {"waiting": 0, "orphaned": before["waiting"]}
        assert after == {**before, **orphaned}


def sweep(world: LabelWorld) -> None:
    """Go round the tables of the join once."""
    expiry = Expiry(world.configuration, world.engine, world.clock)
    while expiry.sweep(at_once=True):
        pass


def fates(engine: Engine) -> dict[int, dict[str, int]]:
    """Counts of label events by partition."""
    with reading(engine) as connection:
        rows = connection.execute(select(label_account)).all()
    return {row.place: {name: getattr(row, name) for name in FATES} for row in rows}


# --- any schedule -------------------------------------------------------------------------------------------


def add_partition(world: World, rng: random.Random) -> None:
    """A topic, maybe one of labels, gets one more partition."""
    topic = rng.choice([FLIGHTS, TRUTH, CORRECTIONS])
    number = sum(place.topic == topic for place in world.produced)
    if number < 5:
        world.broker.add_partitions(topic, 1)
        world.produced[Place(topic, number)] = []


ACTIONS: dict[Callable[[World, random.Random], None], int] = {
    **{action: weight for action, weight in chaos.ACTIONS.items() if action is not chaos.add_partition},
    add_partition: 1,
}
STEPS = 30


def run(engine: Engine, seed: int) -> None:
    """Run one schedule and compare everything with the oracle."""
    rng = random.Random(seed)
    world = LabelWorld(engine, seed, roams=rng.random() < 0.5)
    for action in rng.choices(list(ACTIONS), list(ACTIONS.values()), k=STEPS):
        action(world, rng)
    if rng.random() < 0.8:
        world.produce_all()
    world.settle()
    for member in list(world.members):
        world.leave(member)
    world.check()


def run_all(engine: Engine, seeds: range) -> None:
    """Run several schedules, each in an empty database."""
    for seed in seeds:
        wipe(engine)
        try:
            run(engine, seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize("block", [0, pytest.param(1, marks=pytest.mark.full)])
def test_any_schedule_pairs_everything_once(block: int, migrated_sqlite: Path, tmp_path: Path) -> None:
    path = tmp_path / "driftline.db"
    shutil.copy(migrated_sqlite, path)
    engine = databases.create(f"sqlite:///{path}", patience_s=5)
    try:
        run_all(engine, range(10 * block, 10 * block + 10))
    finally:
        engine.dispose()


def test_schedules_pair_everything_once_on_both_databases(engine: Engine) -> None:
    run_all(engine, range(1_000, 1_002))


@pytest.mark.full
@pytest.mark.timeout(1_800)
def test_many_more_schedules_pair_everything_once(engine: Engine) -> None:
    run_all(engine, range(10_000, 10_300))


# --- at the same time ---------------------------------------------------------------------------------------


def test_two_processes_that_commit_both_sides_at_once_do_not_miss_each_other(
    engine: Engine, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One has the predictions and the other the labels of the same events, committed at the same instant."""
    world = LabelWorld(engine, seed=9)
    caplog.set_level(logging.WARNING)
    rounds, each = 10 if database_url.startswith("sqlite") else 30, 40
    for round_ in range(rounds):
        for number in range(each):
            _produce_both(world, f"{round_}-{number}", number)
    at_the_same_time(world, database_url, rounds)
    assert "deadlock" not in caplog.text
    world.settle()
    world.check()
    with reading(engine) as connection:
        accounts = connection.execute(select(label_account)).all()
    assert sum(row.waiting for row in accounts) == 0
    assert sum(row.matched for row in accounts) == rounds * each


def test_two_processes_that_meet_new_classes_at_once_do_not_wait_in_a_circle(
    engine: Engine, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Their models differ, but both have the same new classes, met in different orders."""
    world = LabelWorld(engine, seed=10)
    caplog.set_level(logging.WARNING)
    rounds = 8 if database_url.startswith("sqlite") else 20
    for round_ in range(rounds):
        names = [f"class {round_}-{number}" for number in range(40)]
        at_ms = world.clock.now_ms() - 30 * MINUTE_MS + round_
        for number, name in enumerate(names):
            event = {
                "event_id": f"{round_}-{number}", "model": BINARY, "version": "1", "timestamp": at_ms,
                "features": {"distance": number, "carrier": "AA"}, "prediction": name,
            }  # fmt: skip
            world.append(Place(FLIGHTS, 0), event)
            label = {"event_id": name, "model": CLASSES, "timestamp": at_ms, "label": names[-1 - number]}
            world.append(Place(TRUTH, 0), label)
    at_the_same_time(world, database_url, rounds)
    assert "deadlock" not in caplog.text
    world.settle()
    world.check()


def at_the_same_time(world: LabelWorld, url: str, rounds: int) -> None:
    """Read predictions and labels in two threads with connections of their own, and join at the same instant.

    On PostgreSQL both are in the middle of their transactions then; SQLite has one writer.
    """
    begin, join = (threading.Barrier(2, timeout=240) for _ in range(2))
    failures: list[BaseException] = []

    def fault(point: str) -> None:
        if point == "seen" and not url.startswith("sqlite"):
            join.wait()

    def work(ingest: Ingest) -> None:
        try:
            for _ in range(rounds):
                begin.wait()
                ingest.step()
                ingest.commit()
        except BaseException as error:
            failures.append(error)
            begin.abort()
            join.abort()

    engines = [databases.create(url, patience_s=240) for _ in range(2)]
    processes = [
        Ingest(world.configuration, made, OneTopic(world, topic), world.clock, Telemetry(), fault=fault)
        for made, topic in zip(engines, (FLIGHTS, TRUTH), strict=True)
    ]
    for process in processes:
        process.begin()
    threads = [threading.Thread(target=work, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process, made in zip(processes, engines, strict=True):
        process.abandon()
        made.dispose()
    if failures:
        raise failures[0]


class OneTopic(MemorySource):
    """A member that reads one of the topics only."""

    def __init__(self, world: LabelWorld, topic: str) -> None:
        super().__init__(world.broker, world.clock)
        self._topic = topic

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """Ask for partitions of the topic."""
        assert self._topic in topics
        super().subscribe([self._topic], listener)


def _produce_both(world: LabelWorld, id_: str, number: int) -> None:
    model = (BINARY, CLASSES)[number % 2]
    names = (("0", "1"), ("low", "high"))[number % 2]
    at_ms = world.clock.now_ms() - 30 * MINUTE_MS + number
    both = {"event_id": id_, "model": model}
    outputs = {"prediction": names[number % 3 % 2], "features": {"distance": number, "carrier": "AA"}}
    world.append(Place(FLIGHTS, number % 3), {**both, **outputs, "version": "1", "timestamp": at_ms})
    label = {"label": names[number % 5 % 2], "timestamp": at_ms + 5_000}
    world.append(Place(TRUTH, number % 3), {**both, **label})
