"""Any order, partitions, repetitions and crashes of halves end in the same profiles and accounts."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from detectors.profile import Profile
from monitor.store import engine as databases
from monitor.store import positions
from monitor.store.schema import upgrade
from monitor.store.tables import slice_profile
from tests.monitor.pair_world import Bench
from tests.recovery.world import POINTS, Died

IDS = ("a", "b", "c", "d")
TIMES = {id_: f"2026-01-01T00:0{at}:00Z" for at, id_ in enumerate(IDS)}
REQUESTS: dict[str, Any] = {
    "a": {"instances": [[1, 2]]},
    "b": {"instances": [[3, 4], [5, 6]]},
    "c": {"instances": [[7, 8]]},
    "d": {"instances": [[9, 9]]},
}
RESPONSES = {id_: {"predictions": [1] * len(body["instances"])} for id_, body in REQUESTS.items()}


@dataclass(frozen=True)
class Half:
    """One message."""

    id: str
    side: str
    partition: int


halves = st.builds(Half, st.sampled_from(IDS), st.sampled_from(["request", "response"]), st.integers(0, 1))
steps = st.one_of(
    halves,
    halves,
    halves,
    st.just("turn"),
    st.just("commit"),
    st.just("restart"),
    st.sampled_from(POINTS).map(lambda point: ("dies at", point)),
)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy."""
    path = tmp_path_factory.mktemp("database") / "migrated.db"
    engine = databases.create(f"sqlite:///{path}")
    upgrade(engine)
    positions.ensure_counters(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="module")
def engines(migrated: Path) -> Iterator[Any]:
    """Gives out empty databases."""
    made: list[Engine] = []

    def fresh() -> Engine:
        path = migrated.with_name(f"{len(made)}.db")
        shutil.copy(migrated, path)
        made.append(databases.create(f"sqlite:///{path}"))
        return made[-1]

    yield fresh
    for engine in made:
        engine.dispose()


class Process:
    """A process that may die, and is started again then."""

    def __init__(self, engine: Engine) -> None:
        self.dies_at: str | None = None
        self.bench = Bench(engine, partitions=2, fault=self._fault)

    def _fault(self, point: str) -> None:
        if point == self.dies_at:
            self.dies_at = None
            raise Died(point)

    def do(self, step: Any) -> None:
        """Do what a step says."""
        if isinstance(step, Half):
            body = (REQUESTS if step.side == "request" else RESPONSES)[step.id]
            self.bench.kserve(step.side, step.id, body, at=TIMES[step.id], partition=step.partition)
        elif step == "restart":
            self._start_again()
        elif step == "commit":
            self._survive(self.bench.ingest.commit)
        elif step == "turn":
            self._survive(self.bench.turn)
        else:
            self.dies_at = step[1]
        self.check_identity()

    def _survive(self, action: Any) -> None:
        try:
            action()
        except Died:
            self._start_again()

    def _start_again(self) -> None:
        self.bench.ingest.abandon()
        self.bench.ingest = self.bench.start()

    def check_identity(self) -> None:
        """Every message has one outcome."""
        for row in self.bench.accounting():
            assert row["fetched"] == sum(row[name] for name in positions.OUTCOMES)
            assert min(row[name] for name in positions.OUTCOMES) >= 0

    def finish(self) -> tuple[dict[str, int], dict[int, bytes]]:
        """Let everything be taken in; returns the outcomes, and the profiles by slice."""
        self.dies_at = None
        outcomes = self.bench.take(turns=4)
        profiles: dict[int, Profile] = {}
        for row in self.bench.rows(slice_profile):
            profile = Profile.from_bytes(row.bytes, None)
            if row.slice_ms in profiles:
                profiles[row.slice_ms].merge(profile)
            else:
                profiles[row.slice_ms] = profile
        self.bench.ingest.abandon()
        return outcomes, {at: profile.to_bytes() for at, profile in sorted(profiles.items())}


def expected(sent: list[Half]) -> dict[str, int]:
    """Outcomes of all messages."""
    number = Counter((one.id, one.side) for one in sent)
    pairs = [id_ for id_ in IDS if number[id_, "request"] and number[id_, "response"]]
    found = {
        "counted": sum(len(REQUESTS[id_]["instances"]) for id_ in pairs),
        "paired": len(pairs),
        "duplicates": len(sent) - len(number),
        "unpaired": len(number) - 2 * len(pairs),
    }
    found["fetched"] = sum(found.values())
    return {name: value for name, value in found.items() if value}


def in_order(sent: list[Half]) -> list[Half]:
    """Every half once, requests first, in one partition."""
    first = {(one.id, one.side) for one in sent}
    return [Half(id_, side, 0) for id_ in IDS for side in ("request", "response") if (id_, side) in first]


@settings(max_examples=30)
@given(plan=st.lists(steps, max_size=24))
def test_nothing_matters_but_what_was_sent(engines: Any, plan: list[Any]) -> None:
    sent = [step for step in plan if isinstance(step, Half)]
    process = Process(engines())
    for step in plan:
        process.do(step)
    outcomes, profiles = process.finish()
    assert outcomes == expected(sent)
    plain = Process(engines())
    for half in in_order(sent):
        plain.do(half)
    assert plain.finish()[1] == profiles
