"""Predictions and labels are forgotten after their horizon: not earlier, in order, and all accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import text

from detectors.hashing import hash_strings
from monitor.labels import expiry as module
from monitor.labels.expiry import Expiry
from monitor.labels.pending import id_of, keys_of
from monitor.store.engine import immediate, reading
from monitor.store.positions import accounting
from tests.monitor.outcome_world import MINUTE_MS, START_MS, OutcomeWorld

HORIZON = 10  # minutes that a prediction waits for its label
LATENESS_MS = MINUTE_MS
FATES = ("matched", "waiting", "corrected", "orphaned", "expired", "sampled_out")


class ExpiryWorld(OutcomeWorld):
    """A world in which labels are waited for ten minutes."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, labels={"horizon": f"{HORIZON}m", "wait": "5m"}, slice="1m", **options)
        self.expiry = Expiry(self.configuration, self.engine, self.clock)

    def prediction(self, id_: str, at_ms: int, model: str = "churn", version: str = "1") -> None:
        """Produce one prediction; instants are relative to the start."""
        self.append(
            "pp",
            {"event_id": id_, "model": model, "version": version, "timestamp": START_MS + at_ms,
             "prediction": 1, "features": {"age": 40, "origin": "EWR"}},
        )  # fmt: skip

    def label(self, id_: str, at_ms: int, model: str = "churn", label: int = 1) -> None:
        """Produce one label."""
        self.append("ll", {"event_id": id_, "model": model, "timestamp": START_MS + at_ms, "label": label})

    def come_to(self, mark_ms: int, *topics: str, model: str = "churn") -> None:
        """Let event time come to an instant, after what is waited for late events."""
        for topic in topics or ("pp", "ll"):
            make = self.prediction if topic == "pp" else self.label
            self.serial += 1
            for partition in range(self.partitions):
                make(
                    _in_partition(f"clock{self.serial}", partition, self.partitions),
                    mark_ms + LATENESS_MS,
                    model,
                )
        self.take_in()

    def known(self, table: str) -> set[str]:
        """Which of the events of the first model that tests name are stored."""
        found = {int(key) for (key,) in self.rows(f"SELECT key FROM {table}")}
        return {id_ for id_, key in named_keys().items() if key in found}

    def forget(self) -> int:
        """Go round both tables."""
        return self.expiry.sweep(at_once=True)

    def accounts(self) -> dict[int, dict[str, int]]:
        """Fates of labels by partition; what was fetched is always all of them."""
        with reading(self.engine) as connection:
            rows = [row for row in accounting(connection) if row["kind"] == "labels"]
        for row in rows:
            assert row["counted"] == sum(row[name] for name in FATES)
            others = ("late", "future", "dead_lettered", "duplicates")
            assert row["fetched"] == row["counted"] + sum(row[name] for name in others)
        return {row["partition"]: {name: row[name] for name in FATES if row[name]} for row in rows}


@cache
def named_keys() -> dict[str, int]:
    """Keys under which predictions and labels of the first model meet, of the ids that tests give."""
    names = [f"{letter}{number}" for letter in "abc" for number in range(60)]
    ids = np.full(len(names), id_of("churn"), np.int64)
    return dict(zip(names, keys_of(ids, hash_strings(pa.array(names, pa.string()))).tolist(), strict=True))


def _in_partition(name: str, partition: int, partitions: int) -> str:
    return next(f"{name}-{i}" for i in range(100) if sum(f"{name}-{i}".encode()) % partitions == partition)


@pytest.fixture
def world(database_url: str) -> Iterator[ExpiryWorld]:
    made = ExpiryWorld(database_url)
    yield made
    made.close()


def test_a_prediction_is_forgotten_just_after_its_horizon(world: ExpiryWorld) -> None:
    world.prediction("a1", 0)
    world.prediction("a2", 1)
    world.label("b1", 0)  # so that the time of labels is known
    world.come_to(HORIZON * MINUTE_MS)
    assert world.forget() == 0
    assert world.known("pending") == {"a1", "a2"}
    world.come_to(HORIZON * MINUTE_MS + 1)
    world.forget()
    assert world.known("pending") == {"a2"}
    world.come_to(HORIZON * MINUTE_MS + 2)
    world.forget()
    assert world.known("pending") == set()


def test_a_label_outlives_its_prediction(world: ExpiryWorld) -> None:
    """Also one that came early, and one whose own horizon ends first."""
    for id_, at_ms in (("a1", 3 * MINUTE_MS), ("a2", -3 * MINUTE_MS), ("a3", HORIZON * MINUTE_MS)):
        world.prediction(id_, 0)
        world.label(id_, at_ms)
    world.take_in()
    every = {"a1", "a2", "a3"}
    # One that came early goes right after its prediction; the others ten minutes after themselves.
    ends = {"a2": HORIZON, "a1": 3 + HORIZON, "a3": 2 * HORIZON}
    world.come_to(HORIZON * MINUTE_MS + 1)
    world.forget()
    assert (world.known("pending"), world.known("truth")) == (set(), every)
    for id_, minutes in ends.items():
        world.come_to(minutes * MINUTE_MS + 1)
        world.forget()
        assert id_ in world.known("truth")
        world.come_to(minutes * MINUTE_MS + 2)
        world.forget()
        every.remove(id_)
        assert world.known("truth") == every
    assert world.accounts()[0]["matched"] == 3
    assert "orphaned" not in world.accounts()[0]


def test_labels_whose_prediction_never_came_are_orphans_of_their_partition(database_url: str) -> None:
    world = ExpiryWorld(database_url, partitions=2)
    names = [f"a{i}" for i in range(12)]
    for id_ in names:
        world.label(id_, 0)
    world.label("a0", 500)  # a correction of a label that waits
    world.take_in()
    by_partition = [sum(sum(id_.encode()) % 2 == p for id_ in names) for p in (0, 1)]
    home = sum(b"a0") % 2
    assert [world.accounts()[p]["waiting"] for p in (0, 1)] == by_partition
    assert world.accounts()[home]["corrected"] == 1
    world.come_to(HORIZON * MINUTE_MS + 1)
    assert world.forget() == 0
    world.come_to(HORIZON * MINUTE_MS + 2)
    assert world.forget() == 11
    assert world.known("truth") == {"a0"}
    world.come_to(HORIZON * MINUTE_MS + 502)
    assert world.forget() == 1
    assert [world.accounts()[p]["orphaned"] for p in (0, 1)] == by_partition
    waiting = {p: n.get("waiting", 0) for p, n in world.accounts().items()}
    assert sum(waiting.values()) == world.rows("SELECT count(*) FROM truth WHERE status = 1")[0][0]
    world.close()


def test_what_was_counted_stays_counted(world: ExpiryWorld) -> None:
    labels = world.send(0, 5, labelled=0.8)
    before = world.rows(
        "SELECT slice_ms, sum(length(records)) FROM outcome_slice GROUP BY slice_ms ORDER BY 1"
    )
    world.come_to(60 * MINUTE_MS)
    assert world.forget() == 40 + len(labels)
    assert before == world.rows(
        "SELECT slice_ms, sum(length(records)) FROM outcome_slice "
        f"WHERE slice_ms < {START_MS + 5 * MINUTE_MS} GROUP BY slice_ms ORDER BY 1"
    )
    assert world.accounts()[0]["matched"] == len(labels)


@pytest.mark.parametrize("topic", ["pp", "ll"])
def test_either_side_that_is_behind_holds_everything(database_url: str, topic: str) -> None:
    world = ExpiryWorld(database_url)
    world.prediction("a1", 0)
    world.label("a1", 1_000)
    world.label("b1", 0)
    world.take_in()
    world.come_to(500 * MINUTE_MS, topic)
    assert world.forget() == 0
    assert world.known("pending") == {"a1"}
    world.come_to(500 * MINUTE_MS)
    assert world.forget() == 3
    world.close()


def test_one_partition_of_labels_that_is_behind_holds_everything(database_url: str) -> None:
    world = ExpiryWorld(database_url, partitions=2)
    for id_ in ("a0", "a1"):
        world.prediction(id_, 0)
        world.label(id_, 1_000)
    world.take_in()
    world.come_to(500 * MINUTE_MS, "pp")
    name = _in_partition("clock", 0, 2)
    world.label(name, 500 * MINUTE_MS)
    world.take_in()
    assert world.forget() == 0
    world.label(_in_partition("clock", 1, 2), 500 * MINUTE_MS)
    world.take_in()
    assert world.forget() == 4
    world.close()


def test_without_any_label_predictions_go_once_the_labels_have_been_read(world: ExpiryWorld) -> None:
    world.prediction("a1", 0)
    world.label("b1", 0, model="other")  # labels of this model may still follow
    world.take_in()
    world.come_to(100 * MINUTE_MS, "pp")
    for reached, expected in ((False, {"a1"}), (True, set())):
        with immediate(world.engine) as connection:
            connection.execute(
                text("UPDATE partition_state SET reached_end = :reached WHERE kind = 'labels'"),
                {"reached": reached},
            )
        world.forget()
        assert world.known("pending") == expected


def test_models_are_forgotten_by_their_own_time(world: ExpiryWorld) -> None:
    for model in ("churn", "other"):
        world.prediction("a1", 0, model=model)
        world.label("a1", 1_000, model=model)
    world.take_in()
    world.come_to(100 * MINUTE_MS, model="other")
    assert world.forget() == 2
    assert world.known("pending") == world.known("truth") == {"a1"}
    world.come_to(100 * MINUTE_MS)
    assert world.forget() == 2


def test_labels_of_a_model_without_predictions_do_not_wait_for_ever(world: ExpiryWorld) -> None:
    """As soon as the predictions have been read: before that, there may be some of the model."""
    world.label("b1", 0, model="elsewhere")
    world.prediction("a1", 0)
    world.label("a1", 1_000)
    world.take_in()
    world.come_to(100 * MINUTE_MS)
    world.come_to(100 * MINUTE_MS, "ll", model="elsewhere")
    for reached, forgotten in ((False, 2), (True, 1)):
        with immediate(world.engine) as connection:
            connection.execute(
                text("UPDATE partition_state SET reached_end = :reached WHERE kind = 'predictions'"),
                {"reached": reached},
            )
        assert world.forget() == forgotten
    assert world.accounts()[0]["orphaned"] == 1


def test_large_tables_are_gone_through_bit_by_bit(
    world: ExpiryWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven rows at a time, three in a transaction; no label goes before its predictions."""
    monkeypatch.setattr(module, "ROWS", 7)
    monkeypatch.setattr(module, "ROUNDS", 1, raising=False)
    monkeypatch.setattr(module, "DELETED_AT_ONCE", 3)
    for i in range(30):
        world.prediction(f"a{i}", 0)
        if i % 3:
            world.prediction(f"a{i}", 0, version="2")
        world.prediction(f"b{i}", 95 * MINUTE_MS)  # these stay
        world.label(f"b{i}", 96 * MINUTE_MS)
        world.label(f"c{i}", 0)  # without a prediction
        if i % 2:
            world.label(f"a{i}", 1_000)
    world.take_in()
    world.come_to(100 * MINUTE_MS)
    labelled = world.known("truth") & world.known("pending")
    total = 0
    for _ in range(60):
        n = world.forget()
        assert n <= 14
        total += n
        assert labelled & world.known("pending") <= world.known("truth")
    assert total == 30 + 20 + 30 + 15
    assert world.known("pending") == world.known("truth") == {f"b{i}" for i in range(30)}
    assert world.accounts()[0]["orphaned"] == 30


def test_it_looks_every_ten_seconds(world: ExpiryWorld) -> None:
    world.prediction("a1", 0)
    world.label("b1", 0)
    world.take_in()
    assert world.expiry.sweep() == 0
    world.come_to(100 * MINUTE_MS)
    spent_ms = 0
    while world.expiry.sweep() == 0:
        world.clock.advance(500)
        spent_ms += 500
        assert spent_ms < 11_000
    assert world.known("pending") == set()


def test_without_a_stream_of_labels_there_is_nothing_to_do(world: ExpiryWorld) -> None:
    world.prediction("a1", 0)
    world.label("b1", 0)
    world.come_to(100 * MINUTE_MS)
    configuration = world.configuration.model_copy(update={"streams": world.configuration.streams[:1]})
    assert Expiry(configuration, world.engine, world.clock).sweep(at_once=True) == 0
    assert world.known("pending") == {"a1"}


def test_a_label_after_everything_was_forgotten_waits_in_vain(world: ExpiryWorld) -> None:
    world.prediction("a1", 0)
    world.label("a1", 1_000)
    world.come_to(100 * MINUTE_MS)
    world.forget()
    slices = world.rows("SELECT count(*) FROM outcome_slice")
    world.label("a1", 2_000, label=0)
    world.take_in()
    assert world.rows("SELECT count(*) FROM outcome_slice") == slices
    world.forget()
    accounts = world.accounts()[0]
    assert (accounts["matched"], accounts["orphaned"]) == (1, 1)
