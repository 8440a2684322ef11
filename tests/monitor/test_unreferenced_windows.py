"""Contracts hold from the first window on, also while the reference is still being learned."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.explain import Explainer
from tests.monitor.test_contracts_judged import Contracted
from tests.monitor.test_judge import MINUTE_MS, START_MS

AGE = {"age": {"min": 0, "max": 120}}
RULED = {("type", "age"), ("range", "age"), ("required", "age"), ("probability", "score")}


def judged(world: Contracted) -> list[tuple[Any, ...]]:
    return world.rows(
        f'SELECT "window", (start_ms - {START_MS}) / {MINUTE_MS}, revision, reference_hash IS NULL, rows '
        'FROM judgement ORDER BY "window", start_ms, revision'
    )


@pytest.fixture
def world(database_url: str) -> Any:
    made = Contracted(database_url, columns=AGE)
    yield made
    made.close()


def test_windows_before_the_reference_are_judged_by_the_contract_alone(world: Contracted) -> None:
    world.emit(0, 22, every=25, age=130)
    world.judge.sweep()
    assert judged(world) == [("10m", 0, 1, 1, 100), ("10m", 10, 1, 1, 100)]
    assert set(world.verdicts(0)) == RULED
    assert world.broken(0) == world.broken(10) == {("range", "age")}
    assert world.incidents() == [("warn", "firing", "age")]
    world.emit(22, 60)
    world.judge.sweep()
    assert [row[:4] for row in judged(world) if row[0] == "10m"] == [
        *(("10m", start, 1, 1) for start in range(0, 60, 10)), ("10m", 60, 1, 0), ("10m", 70, 1, 0),
    ]  # fmt: skip
    assert [row[1:4] for row in judged(world) if row[0] == "30m"] == [(0, 1, 1), (30, 1, 1)]
    assert [state for _, state, _ in world.incidents()] == ["resolved"]


def test_it_does_not_matter_when_they_are_judged(world: Contracted, tmp_path: Any) -> None:
    """A backlog that is read in one go, with a reference at its end, misses nothing."""
    other = Contracted(f"sqlite:///{tmp_path}/other.db", columns=AGE)
    for one, at_once in ((world, False), (other, True)):
        for start in range(0, 100, 10):
            bad = {"age": -3} if start in (20, 70) else {}
            one.emit(start, 10, **bad)
            if not at_once:
                one.judge.sweep()
        one.judge.sweep()
    assert judged(world) == judged(other)
    assert [(one[:4]) for one in judged(world) if one[1] >= 60] == [
        ("10m", 60, 1, 0), ("10m", 70, 1, 0), ("10m", 80, 1, 0), ("30m", 60, 1, 0),
    ]  # fmt: skip
    for start in (20, 70):
        assert world.verdicts(start) == other.verdicts(start)
        assert ("range", "age") in world.broken(start)
    assert [one[1:] for one in world.incidents()] == [one[1:] for one in other.incidents()]
    other.close()


def test_late_events_revise_them(world: Contracted) -> None:
    world.emit(0, 22, every=25, age=130)
    world.judge.sweep()
    world.emit(0, 5)
    world.judge.sweep()
    assert [row for row in judged(world) if row[1] == 0 and row[0] == "10m"] == [
        ("10m", 0, 1, 1, 100), ("10m", 0, 2, 1, 150),
    ]  # fmt: skip
    assert world.verdicts(0)["range", "age"][:3] == ("drift", 150, 4.0)


def test_results_come_out_the_same_once_more(world: Contracted) -> None:
    world.emit(0, 22, every=25, age=130)
    world.judge.sweep()
    ((number,),) = world.rows(
        f"SELECT id FROM result WHERE detector = 'contract.range' AND start_ms = {START_MS} "
        "AND \"window\" = '10m'"
    )
    explainer = Explainer(world.configuration, world.engine, world.clock)
    _, (explained,) = explainer.explain(str(number))
    assert explained.is_identical
    assert explained.stored["reference_hash"] is None


def test_without_a_contract_they_wait_for_the_reference(database_url: str) -> None:
    world = Contracted(database_url)
    world.emit(0, 30, every=5, score=7)
    world.judge.sweep()
    assert judged(world) == []
    world.close()
