"""What the exactness test produces, and what it must then find in the database."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Producer
from sqlalchemy import Connection, select, text

from detectors.binning import NumericBins
from monitor.judging.merging import merge_slices
from monitor.references.lifecycle import ReferenceCache, pointers_of
from monitor.registry import read_columns
from monitor.store.tables import slice_profile

START_MS = 1_767_225_600_000
SLICE_MS = 60_000
MODELS = ("alpha", "beta", "gamma")
LETTERS = "abcd"


@dataclass
class Produced:
    """What was sent: values by (model, slice), and how many events of each fate."""

    values: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    letters: dict[tuple[str, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    counted: int = 0
    duplicates: int = 0
    dead_lettered: int = 0

    @property
    def messages(self) -> int:
        """Messages in Kafka."""
        return self.counted + self.duplicates + self.dead_lettered


def events(seed: int, number: int, partitions: int, spacing_ms: int) -> Iterator[tuple[int, bytes, Produced]]:
    """Messages in order, each with its partition; the running tally comes along."""
    rng = np.random.default_rng(seed)
    tally = Produced()
    values = rng.normal(size=number).round(4)
    letters = rng.integers(0, len(LETTERS), number)
    fate = rng.random(number)
    for i in range(number):
        model, at_ms, x = MODELS[i % len(MODELS)], START_MS + i * spacing_ms, float(values[i])
        message = json.dumps(
            {
                "event_id": f"e{i}", "model": model, "version": "1", "timestamp": at_ms,
                "features": {"x": x, "c": LETTERS[letters[i]], "n.k": i % 7}, "prediction": i % 2,
                "score": (i % 97) / 97,
            }
        ).encode()  # fmt: skip
        key = model, at_ms - at_ms % SLICE_MS
        tally.values[key].append(x)
        tally.letters[key][LETTERS[letters[i]]] += 1
        tally.counted += 1
        yield i % partitions, message, tally
        if fate[i] < 0.001:
            tally.duplicates += 1
            yield i % partitions, message, tally
        elif fate[i] > 0.999:
            tally.dead_lettered += 1
            yield i % partitions, message[:-9], tally


def produce(bootstrap: str, topic: str, messages: Iterator[tuple[int, bytes, Produced]]) -> Produced:
    """Send everything, each message exactly once, through whatever the brokers suffer."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20, "log_level": 0,
            "message.timeout.ms": 300_000, "queue.buffering.max.messages": 500_000,
        }
    )  # fmt: skip
    failures: list[str] = []

    def noted(error: Any, _message: Any) -> None:
        if error is not None:
            failures.append(str(error))

    tally = Produced()
    for partition, message, so_far in messages:
        tally = so_far
        while True:
            try:
                producer.produce(topic, message, partition=partition, on_delivery=noted)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(300) == 0
    assert not failures, failures[:3]
    return tally


def check_accounting(connection: Connection, tally: Produced) -> None:
    """The identity holds in every partition, and the sums are what was produced."""
    rows = connection.execute(text("SELECT * FROM partition_state")).all()
    for row in rows:
        parts = row.counted + row.late + row.future + row.dead_lettered + row.duplicates
        assert row.fetched == parts, row
    totals = {
        name: sum(getattr(row, name) for row in rows) for name in ("fetched", "counted", "late", "future")
    }
    assert totals == {"fetched": tally.messages, "counted": tally.counted, "late": 0, "future": 0}
    assert sum(row.dead_lettered for row in rows) == tally.dead_lettered
    assert sum(row.duplicates for row in rows) == tally.duplicates
    letters = connection.execute(
        text('SELECT count(*), count(DISTINCT topic || "partition" || "offset") FROM dead_letter')
    )
    assert letters.one() == (tally.dead_lettered, tally.dead_lettered)


def check_slices(connection: Connection, tally: Produced) -> None:
    """Every slice's counts equal those computed directly from what was produced."""
    specs = read_columns(connection)
    cache = ReferenceCache()
    found: set[tuple[str, int]] = set()
    for model in MODELS:
        (pointer,) = pointers_of(connection, cache, (model, "1"))
        bins = pointer.binning.bins[pointer.binning.index["x"]]
        assert isinstance(bins, NumericBins)
        first = pointer.binning.offsets[pointer.binning.index["x"]]
        letter_bins = pointer.binning.layout.labels[pointer.binning.index["c"]]
        letter_first = pointer.binning.offsets[pointer.binning.index["c"]]
        rows = connection.execute(select(slice_profile).where(slice_profile.c.model == model)).all()
        by_slice: dict[int, list[Any]] = defaultdict(list)
        for row in rows:
            by_slice[row.slice_ms].append(row)
        for slice_ms, parts in by_slice.items():
            key = (model, slice_ms)
            found.add(key)
            merged = merge_slices(parts, specs[model, "1"], pointer)
            assert merged.excluded_rows == 0
            assert merged.straddling == 0
            counts = merged.profile.counts[0]
            direct = np.bincount(
                np.searchsorted(bins.edges, tally.values[key], side="right"), minlength=bins.size
            )
            assert counts[first : first + bins.size].tolist() == direct.tolist(), key
            by_letter = {label: int(counts[letter_first + i]) for i, label in enumerate(letter_bins)}
            assert {name: number for name, number in by_letter.items() if number} == dict(
                tally.letters[key]
            ), key
    assert found == set(tally.values)


def check_results(connection: Connection, tally: Produced, window_ms: int) -> int:
    """No result twice; the latest revision of every judged window saw exactly its events."""
    twice = connection.execute(
        text(
            'SELECT count(*) FROM (SELECT 1 FROM result GROUP BY model, version, "window", start_ms, '
            '"column", segment, detector, revision HAVING count(*) > 1) AS twice'
        )
    ).scalar_one()
    assert twice == 0
    rows = connection.execute(
        text(
            'SELECT model, start_ms, "rows" FROM judgement j WHERE revision = (SELECT max(revision) '
            "FROM judgement k WHERE k.model = j.model AND k.version = j.version "
            'AND k."window" = j."window" AND k.start_ms = j.start_ms)'
        )
    ).all()
    for row in rows:
        direct = sum(
            len(tally.values[row.model, slice_ms])
            for slice_ms in range(row.start_ms, row.start_ms + window_ms, SLICE_MS)
            if (row.model, slice_ms) in tally.values
        )
        assert row.rows == direct, row
    return len(rows)
