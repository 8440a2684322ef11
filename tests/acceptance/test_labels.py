"""Real Kafka, labels early, late, twice, corrected and orphaned, processes killed: outcomes are exact."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, select, text

from detectors.outcomes import AGE_LIMITS_MS, EVERYTHING, UNIT, Family, summed
from monitor.labels.pending import hashes_of
from monitor.store import engine as engines
from monitor.store.engine import reading
from monitor.store.positions import accounting
from monitor.store.queries.outcomes import OutcomeSpan, outcomes
from monitor.store.schema import upgrade
from monitor.store.tables import outcome_slice
from schemas.errors import Unavailable
from tests.kit.kafka import KafkaCluster
from tests.kit.service import Service
from tests.kit.waiting import wait_for

START_MS = 1_735_689_600_000
DAY_MS = 86_400_000
SLICE_MS = 600_000
HORIZON_MS = 30 * DAY_MS
MODEL = "fraud"
VERSIONS = ("champion", "challenger")
AGES = len(AGE_LIMITS_MS) + 1
READERS = 2
CONFIGURATION = """
kafka: {{bootstrap_servers: "{bootstrap}", group_id: "{group}"}}
database_url: {database}
http: {{host: 127.0.0.1, port: 0}}
commit_interval: 1s
streams:
  - {{topic: "{group}-predictions", kind: predictions}}
  - {{topic: "{group}-labels", kind: labels}}
defaults:
  slice: 10m
  windows: [1d]
  horizon: 60d
  labels: {{horizon: 30d, sample_per_s: 10000000}}
models: {{fraud: {{task: binary_classification, positive_label: 1}}}}
"""


@dataclass(frozen=True)
class Ordeal:
    """How many events there are on how many days, and how often a process is killed."""

    events: int
    days: int
    kills: int
    pause_s: tuple[float, float]


SHORT = Ordeal(15_000, 2, 1, (0.2, 0.5))
FULL = Ordeal(2_390_000, 10, 10, (2.0, 6.0))


@dataclass(frozen=True)
class Day:
    """What happens: columns of all events, and what is said about them when.

    Parameters
    ----------
    n : int
        Events. One in ten has a prediction of a challenger too, nine in ten have a label.
    days : int
        Over which the predictions are spread.
    seed : int
    """

    n: int
    days: int
    seed: int = 23

    @cached_property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Times in ms, scores in thousandths, classes and what becomes of each label."""
        rng = np.random.default_rng(self.seed)
        n = self.n
        at_ms = START_MS + np.sort(rng.integers(0, self.days * DAY_MS, n))
        score = rng.integers(0, 1_001, (len(VERSIONS), n))
        fate = rng.random(n)
        # As many seconds as days: delays are even on a logarithmic scale, from none to all of the horizon.
        delay_ms = np.minimum(
            np.exp(rng.uniform(0, np.log(HORIZON_MS + 1), n)).astype(np.int64) - 1, HORIZON_MS
        )
        delay_ms[rng.random(n) < 0.01] = HORIZON_MS
        is_labelled, is_expired = fate < 0.9, fate < 0.005
        delay_ms[is_expired] = HORIZON_MS + 1
        is_corrected = is_labelled & ~is_expired & (rng.random(n) < 0.05) & (delay_ms < HORIZON_MS)
        first = (rng.random(n) * 1_000 < score[0]).astype(np.int64)
        return {
            "at_ms": at_ms, "score": score, "is_both": rng.random(n) < 0.1, "is_labelled": is_labelled,
            "is_expired": is_expired, "is_corrected": is_corrected, "label": first,
            "is_twice": is_labelled & ~is_expired & (rng.random(n) < 0.02),
            "is_orphaned": rng.random(n) < 0.03, "label_ms": at_ms + delay_ms,
            "corrected_ms": at_ms + delay_ms + 1 + (rng.random(n) * (HORIZON_MS - delay_ms)).astype(np.int64),
        }  # fmt: skip

    def predictions(self) -> Iterator[tuple[int, bytes]]:
        """Messages with predictions, each with the number of its event."""
        c = self.columns
        text = (
            b'{"event_id":"e%d","model":"fraud","version":"%b","role":"%b","timestamp":%d,'
            b'"features":{"x":%d},"prediction":%d,"score":%d.%03d}'
        )
        names = [name.encode() for name in VERSIONS]
        rows = zip(c["at_ms"].tolist(), *c["score"].tolist(), c["is_both"].tolist(), strict=True)
        for i, (at_ms, *scores, is_both) in enumerate(rows):
            for name, score in zip(names, scores if is_both else scores[:1], strict=False):
                yield i, text % (i, name, name, at_ms, i % 100, score > 500, score // 1_000, score % 1_000)

    def labels(self) -> list[tuple[int, bytes]]:
        """Messages with labels by their time, repetitions somewhere later."""
        c = self.columns
        message = b'{"event_id":"%b%d","model":"fraud","timestamp":%d,"label":%d}'
        rng = np.random.default_rng(self.seed + 1)
        parts = [
            (b"e", np.flatnonzero(c["is_labelled"]), c["label_ms"], c["label"], 0),
            (b"e", np.flatnonzero(c["is_corrected"]), c["corrected_ms"], 1 - c["label"], 0),
            (b"e", np.flatnonzero(c["is_twice"]), c["label_ms"], c["label"], DAY_MS),
            (b"ghost", np.flatnonzero(c["is_orphaned"]), c["label_ms"], c["label"], 0),
        ]
        found: list[tuple[int, int, bytes]] = []
        for prefix, at, times, label, later in parts:
            came = times[at] + rng.integers(0, later + 1, len(at))
            for i, at_ms, ms, one in zip(
                at.tolist(), came.tolist(), times[at].tolist(), label[at].tolist(), strict=True
            ):
                found.append((at_ms, i, message % (prefix, i, ms, one)))
        found.sort(key=lambda row: row[0])
        return [(i, value) for _, i, value in found]

    def counts(self, version: int) -> tuple[NDArray[np.int64], int]:
        """Numbers ``[slices, predicted, label, age]`` of labelled predictions, and Σ squared error."""
        c = self.columns
        has = c["is_labelled"] & ~c["is_expired"] & (c["is_both"] if version else True)
        final = np.where(c["is_corrected"], 1 - c["label"], c["label"])[has]
        delay_ms = (c["label_ms"] - c["at_ms"])[has]  # a correction does not make the truth older
        score = c["score"][version][has]
        age = np.searchsorted(AGE_LIMITS_MS, delay_ms, side="left")
        slices = (c["at_ms"][has] - START_MS) // SLICE_MS
        index = ((slices * 2 + (score > 500)) * 2 + final) * AGES + age
        shape = (self.days * DAY_MS // SLICE_MS, 2, 2, AGES)
        squared = np.rint((score / 1_000 - final) ** 2 * UNIT).astype(np.int64).sum()
        return np.bincount(index, minlength=int(np.prod(shape))).reshape(shape), int(squared)

    def fates(self) -> dict[str, int]:
        """What becomes of the label events."""
        c = self.columns
        matched = c["is_labelled"] & ~c["is_expired"]
        names = ("corrected", "expired", "orphaned", "twice")
        numbers = {name: int(c[f"is_{name}"].sum()) for name in names}
        return {
            "matched": int(matched.sum()), "waiting": numbers["orphaned"], "corrected": numbers["corrected"],
            "duplicates": numbers["twice"], "orphaned": 0, "expired": numbers["expired"], "sampled_out": 0,
        }  # fmt: skip


def produce(bootstrap: str, group: str, partitions: int, day: Day) -> int:
    """Send everything: some labels before all predictions, the others beside them; returns the number."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20, "log_level": 0,
         "message.timeout.ms": 300_000, "queue.buffering.max.messages": 500_000}
    )  # fmt: skip

    def send(topic: str, i: int, value: bytes) -> None:
        while True:
            try:
                return producer.produce(f"{group}-{topic}", value, partition=i % partitions)
            except BufferError:
                producer.poll(0.1)

    labels = day.labels()
    ahead = len(labels) // 3
    for i, value in labels[:ahead]:
        send("labels", i, value)
    rest = iter(labels[ahead:])
    number = len(labels)
    for i, value in day.predictions():
        send("predictions", i, value)
        number += 1
        if number % 10:
            for j, label in rest:
                send("labels", j, label)
                break
        if number % 1_000 == 0:
            producer.poll(0)
    for i, value in rest:
        send("labels", i, value)
    assert producer.flush(300) == 0
    return number


@pytest.mark.acceptance
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("ordeal", [SHORT, pytest.param(FULL, marks=pytest.mark.full)], ids=["short", "full"])
def test_outcomes_are_exact_whatever_is_killed(
    ordeal: Ordeal, kafka: KafkaCluster, database_url: str, tmp_path: Path
) -> None:
    day, partitions = Day(ordeal.events, ordeal.days), 4
    group = f"labels-{random.randrange(10**9)}"
    for topic in ("predictions", "labels"):
        kafka.create_topic(f"{group}-{topic}", partitions)
    services = []
    for number in range(READERS):
        own = tmp_path / str(number) / "driftline.yaml"  # the log is written beside it
        own.parent.mkdir()
        own.write_text(CONFIGURATION.format(bootstrap=kafka.bootstrap, group=group, database=database_url))
        services.append(Service(own, "--role", "ingest", "--http-port", "0"))
    sent: list[int] = []
    producing = threading.Thread(target=lambda: sent.append(produce(kafka.bootstrap, group, partitions, day)))
    engine = engines.create(database_url)
    upgrade(engine)
    started = time.monotonic()
    with ExitStack() as closing:
        closing.callback(engine.dispose)
        for service in services:
            closing.enter_context(service)
        producing.start()
        rng = random.Random(7)
        for _ in range(ordeal.kills):
            _wait_until_read_on(engine, sent)  # a process that has only begun loses nothing
            time.sleep(rng.uniform(*ordeal.pause_s))
            rng.choice(services).restart_after_kill()
        producing.join(600)
        _wait_until_read(engine, sent[0])
        print(f"{sent[0]:,} events in {time.monotonic() - started:.0f} s")
        with reading(engine) as connection:
            check_accounts(connection, day, sent[0])
            for version in range(len(VERSIONS)):
                check_outcomes(connection, day, version)


def _fetched(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.execute(text("SELECT sum(fetched) FROM partition_state")).scalar() or 0)


def _wait_until_read_on(engine: Engine, sent: list[int]) -> None:
    """Wait until more has been read than now, unless everything has been."""
    before: list[int] = []

    def has_gone_on() -> bool:
        before.append(_fetched(engine))
        return before[-1] > before[0] or bool(sent and before[-1] >= sent[0])

    wait_for(has_gone_on, what="nothing more was read", timeout_s=600, ignoring=(Unavailable,))


def _wait_until_read(engine: Engine, number: int) -> None:
    wait_for(
        lambda: _fetched(engine) >= number,
        what="not every message was read",
        timeout_s=600,
        ignoring=(Unavailable,),
    )


def check_accounts(connection: Connection, day: Day, number: int) -> None:
    """The identity holds in every partition, and the sums are what was produced."""
    rows = accounting(connection)
    for row in rows:
        parts = ("counted", "late", "future", "dead_lettered", "duplicates")
        assert row["fetched"] == sum(row[name] for name in parts), row
    assert sum(row["fetched"] for row in rows) == number
    labels = [row for row in rows if row["kind"] == "labels"]
    fates = day.fates()
    assert {name: sum(row[name] for row in labels) for name in fates} == fates
    for row in labels:
        assert row["counted"] == sum(row[name] for name in fates if name != "duplicates")


def check_outcomes(connection: Connection, day: Day, version: int) -> None:
    """Confusion counts of every slice and age, and sums, equal those computed directly."""
    direct, squared = day.counts(version)
    zero, one = hashes_of(["0", "1"]).view(np.int64).tolist()
    name = VERSIONS[version]
    query = (
        select(outcome_slice.c.slice_ms)
        .where(outcome_slice.c.model == MODEL, outcome_slice.c.version == name)
        .distinct()
    )
    found = np.zeros_like(direct)
    total = 0
    for slice_ms in sorted(connection.execute(query).scalars()):
        span = OutcomeSpan(MODEL, (name,), slice_ms, slice_ms + 1)
        records = outcomes(connection, span)[name]
        records = records[(records["family"] == Family.LABELLED) & (records["segment"] == EVERYTHING)]
        assert set(np.unique(records["a"]).tolist()) <= {zero, one}
        at = (slice_ms - START_MS) // SLICE_MS
        _, records = summed(np.zeros(len(records), np.int64), records)
        np.add.at(
            found[at],
            ((records["a"] == one).astype(int), (records["b"] == one).astype(int), records["age"]),
            records["n"],
        )
        total += int(records["s1"].sum())
    confusion = {"found": found.sum(axis=(0, 3)).tolist(), "direct": direct.sum(axis=(0, 3)).tolist()}
    assert confusion["found"] == confusion["direct"]
    assert np.array_equal(found, direct)
    assert total == squared
    print(f"{name}: [predicted, label] = {confusion['found']}")
