"""What labels cost: the rate of one ingest process with and without them, and look-ups in large tables.

``python -m tests.benchmarks.bench_join [--quick] [--json]``. The rates are those of processes of their own on
the same real broker, in turns. For the look-ups a SQLite file is filled by SQL; then commits of 100,000
predictions and of 100,000 labels for predictions of any age are timed, part by part. Keys are hashes, so
every one of them is in another place of the table.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from detectors.outcomes import Predictions
from monitor.config import Configuration
from monitor.labels.packing import packed
from monitor.labels.pairing import LabelRows, PredictionRows, Status
from monitor.labels.pending import hashes_of, id_of
from monitor.store import engine as engines
from monitor.store import joining, schema
from monitor.store.bulk import put
from monitor.store.engine import immediate
from monitor.store.joining import JoinedVersions, JoinWork, join
from monitor.store.tables import pending
from tests.benchmarks.running import Figure, arguments, in_turns, machine, median_rate, report, run_side
from tests.benchmarks.stream import PARTITIONS, Shape, produce, producer_of
from tests.kit.kafka import KafkaCluster
from tests.kit.postgres import PostgresServer

PREDICTIONS, LABELS = "predictions", "labels"
WARM_UP = 500_000  # one commit
SPARE = 150_000  # events that nobody has to wait for: at the end of a topic a commit waits for its interval
TARGET = 50_000.0  # predictions a second, with as many labels
LABEL_MS = 2_000  # after the prediction
ROWS = 100_000  # of a commit
COMMITS = 5
SIZES = (1_000_000, 10_000_000, 50_000_000)
FLAT = 2.0  # times the cost among the fewest rows
MODEL, VERSION = "m000", "1"
START_MS, SPAN_MS, HORIZON_MS = 1_767_225_600_000, 30 * 86_400_000, 30 * 86_400_000
PLACE = 1
# As long as a prediction, so that the broker hands out both topics at the same pace.
_LABEL = b'{"event_id":"e-%09d","model":"m000","timestamp":%d,"label":%d,"note":"' + b"." * 355 + b'"}'
_BLOCK = 50  # as in `stream`


# --- the rate -----------------------------------------------------------------------------------------------


def produce_labels(cluster: KafkaCluster, events: int) -> None:
    """Create the topic of the labels, one for each prediction, in their order."""
    cluster.create_topic(LABELS, PARTITIONS)
    producer = producer_of(cluster)
    shape = Shape(PREDICTIONS, events)
    first_ms = time.time_ns() // 1_000_000 - events * 1000 // shape.per_s - 120_000
    per_ms = shape.per_s // 1000
    wrong = np.random.default_rng(3).random(events) < 0.2
    for number, is_one in enumerate(wrong.tolist()):
        at_ms = first_ms + number // per_ms + LABEL_MS
        value = _LABEL % (number, at_ms, is_one)
        producer.produce(LABELS, value, partition=number // _BLOCK % PARTITIONS, timestamp=at_ms)
        if number % 100_000 == 0:
            producer.poll(0)
    if producer.flush(120):
        msg = f"the broker did not take all events of {LABELS}"
        raise RuntimeError(msg)


def ingest(
    bootstrap: str, events: int, url: Callable[[], str], *, labels: bool, binned: bool
) -> dict[str, Any]:
    """Measure the whole ingest of one or both topics."""
    streams = [{"topic": PREDICTIONS, "kind": "predictions"}]
    if labels:
        streams.append({"topic": LABELS, "kind": "labels"})
    configuration = {
        "kafka": {"bootstrap_servers": bootstrap},
        "database_url": url(),
        "streams": streams,
        "defaults": {"labels": {"sample_per_s": 10_000_000}},
    }
    topics = len(streams)
    return run_side(
        "side_ingest",
        {
            "configuration": configuration, "topic": PREDICTIONS, "events": topics * events - SPARE,
            "warm_up": WARM_UP, "binned": binned,
        },
    )  # fmt: skip


def measure_rates(*, quick: bool) -> list[Figure]:
    """Rates with and without labels, in turns."""
    events = 1_150_000 if quick else 1_650_000
    numbers = iter(range(1_000))
    with tempfile.TemporaryDirectory() as folder, KafkaCluster() as cluster, PostgresServer() as server:

        def sqlite() -> str:
            return f"sqlite:///{folder}/{next(numbers)}.db"

        def postgres() -> str:
            return server.url(server.create_database())

        produce(cluster, Shape(PREDICTIONS, events))
        produce_labels(cluster, events)
        run = partial(ingest, cluster.bootstrap, events)
        results = in_turns(
            {
                "alone": partial(run, sqlite, labels=False, binned=True),
                "both": partial(run, sqlite, labels=True, binned=True),
                "postgres": partial(run, postgres, labels=True, binned=True),
            },
            1 if quick else 3,
        )
    rates = {name: median_rate(result) for name, result in results.items()}
    names = {"both": "with as many labels, SQLite", "postgres": "with as many labels, PostgreSQL"}
    found = [Figure("without labels, SQLite (predictions/s)", f"{rates['alone']:,.0f}")]
    for name, what in names.items():
        rate = rates[name] / 2
        commit_s = statistics.median(result["commit_s"] for result in results[name])
        target, reached = (f">= {TARGET:,.0f}", rate >= TARGET) if name == "both" else ("", None)
        found += [
            Figure(f"{what} (predictions/s + labels/s)", f"{rate:,.0f}", target, reached),
            Figure(f"{what}, of that in commits (s)", f"{commit_s:.1f}"),
        ]
    return found


# --- look-ups -----------------------------------------------------------------------------------------------


class Stopwatch:
    """Adds up how long named functions of the join take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        """Time a block."""
        began = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - began

    def timing(self, name: str) -> Any:
        """Time all calls of a function of the join."""
        function = getattr(joining, name)

        @wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            with self.around(name):
                return function(*given, **named)

        return mock.patch.object(joining, name, timed)


PARTS = ("look_up", "pair", "_insert_pending", "_upsert_truth", "_insert_outcomes")


def key_at(index: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Key of a stored row: even in all of the 64 bits."""
    return (index - rows // 2) * (2**63 // rows * 2)


def fill(connection: Connection, first: int, last: int, rows: int, version_id: int) -> None:
    """Put rows into the table; every one has the prediction 1 with the score ½."""
    index = np.arange(first, last)
    # Instants in an order of their own, as hashes have it.
    event_ms = START_MS + index * 7919 % SPAN_MS
    columns = {
        "key": key_at(index, rows),
        "version_id": np.full(len(index), version_id),
        "until_ms": event_ms + HORIZON_MS,
    }
    put(connection, pending, columns, packed(_predictions(event_ms)))


def _predictions(event_ms: NDArray[np.int64]) -> Predictions:
    n = len(event_ms)
    return Predictions(
        event_ms, np.full(n, hashes_of(["1"])[0]), np.full(n, np.nan), np.full(n, 0.5),
        np.zeros((n, 0), np.uint64), np.zeros((n, 0), np.uint64), np.zeros((n, 0)),
    )  # fmt: skip


def prediction_rows(rng: np.random.Generator, version_id: int) -> PredictionRows:
    """New predictions of the minutes after those that are stored."""
    event_ms = START_MS + SPAN_MS + np.sort(rng.integers(0, 60_000, ROWS))
    return PredictionRows(
        rng.integers(-(2**63), 2**63 - 1, ROWS), np.full(ROWS, version_id), event_ms // 60_000 * 60_000,
        event_ms + HORIZON_MS, np.full(ROWS, hashes_of(["1"])[0]), _predictions(event_ms),
    )  # fmt: skip


def label_rows(rng: np.random.Generator, rows: int) -> LabelRows:
    """Labels of stored predictions, of any age."""
    late = np.full(ROWS, START_MS + SPAN_MS)
    return LabelRows(
        key_at(rng.choice(rows, ROWS, replace=False).astype(np.int64), rows),
        late,
        late,
        hashes_of(["0", "1"])[rng.integers(0, 2, ROWS)],
        np.ones(ROWS),
        np.full(ROWS, PLACE),
        np.full(ROWS, HORIZON_MS),
        np.ones(ROWS, bool),
        np.full(ROWS, Status.WAITING),
        np.full(ROWS, id_of(MODEL)),
    )


def committed(engine: Engine, work: JoinWork) -> dict[str, float]:
    """Seconds of the parts of one commit."""
    watch = Stopwatch()
    began = time.perf_counter()
    with ExitStack() as patches:
        for name in PARTS:
            patches.enter_context(watch.timing(name))
        with immediate(engine) as connection:
            with watch.around("join"):
                join(connection, work, "{}")
            joined = time.perf_counter()
    ended = time.perf_counter()
    return {**watch.seconds, "commit": ended - joined, "all": ended - began}


def measure_table(rows: int) -> dict[str, dict[str, float]]:
    """Fill a table, and time commits of predictions and of labels; medians of the parts."""
    rng = np.random.default_rng(4)
    configuration = Configuration.model_validate(
        {
            "kafka": {"bootstrap_servers": "none"}, "database_url": "sqlite:///none.db",
            "streams": [{"topic": PREDICTIONS, "kind": "predictions"}],
            "defaults": {"labels": {"sample_per_s": 10_000_000}},
        }
    )  # fmt: skip
    versions = JoinedVersions(configuration.for_model)
    version_id = versions.add(MODEL, VERSION)
    shared: dict[str, Any] = {
        "versions": versions, "places": {PLACE: (LABELS, 0)}, "terms": {}, "models": {id_of(MODEL): MODEL},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        engine = engines.create(f"sqlite:///{folder}/join.db")
        schema.upgrade(engine)
        for first in range(0, rows, 1_000_000):
            with immediate(engine) as connection:
                fill(connection, first, min(first + 1_000_000, rows), rows, version_id)
        found: dict[str, list[dict[str, float]]] = defaultdict(list)
        for _ in range(COMMITS):
            fresh = JoinWork(predictions=[prediction_rows(rng, version_id)], **shared)
            found["predictions"].append(committed(engine, fresh))
            known = JoinWork(labels=[label_rows(rng, rows)], **shared)
            found["labels"].append(committed(engine, known))
        engine.dispose()
        size = (Path(folder) / "join.db").stat().st_size
    medians = {
        side: {part: statistics.median(one[part] for one in each) for part in each[0]}
        for side, each in found.items()
    }
    medians["file"] = {"bytes_a_row": size / rows}
    return medians


def measure_tables(*, quick: bool) -> list[Figure]:
    """Cost of 100,000 predictions and 100,000 labels, by the number of rows that wait."""
    lines: list[Figure] = []
    first: dict[str, float] = {}
    for rows in SIZES[:2] if quick else SIZES:
        found = measure_table(rows)
        name = f"{rows // 1_000_000} million rows"
        lines.append(Figure(f"{name}: size (bytes a row)", f"{found['file']['bytes_a_row']:.0f}"))
        for side, parts in (("predictions", ("look_up", "_insert_pending")),
                            ("labels", ("look_up", "_upsert_truth", "_insert_outcomes"))):  # fmt: skip
            spent = found[side]
            for part in (*parts, "pair", "commit"):
                what = part.strip("_").replace("_", " ")
                lines.append(Figure(f"{name}: {ROWS:,} {side}, {what} (s)", f"{spent[part]:.2f}"))
            ratio = spent["all"] / first.setdefault(side, spent["all"])
            lines.append(Figure(f"{name}: {ROWS:,} {side}, all (s)", f"{spent['all']:.2f}"))
            lines.append(Figure(f"{name}: {side}, times those among the fewest rows", f"{ratio:.2f}",
                                f"<= {FLAT:g}", ratio <= FLAT))  # fmt: skip
    return lines


def measure(*, quick: bool, as_json: bool) -> None:
    """Run everything and print the tables."""
    before = machine()
    report("What labels cost one ingest process", measure_rates(quick=quick), before, as_json=as_json)
    report("Labels for predictions in a large table, SQLite", measure_tables(quick=quick), before,
           as_json=as_json)  # fmt: skip


def test_join() -> None:
    """Print the tables; `make bench` collects this."""
    measure(quick=False, as_json=False)


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    measure(quick=options.quick, as_json=options.json)
