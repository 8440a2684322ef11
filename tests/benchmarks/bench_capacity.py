"""What a model, a feature, a segment and an event cost, and what a larger service meets first.

``python -m tests.benchmarks.bench_capacity [--quick] [--json]``. Five parts: processor time of one ingest
process by shape of the events; that of judging a window; bytes of slices as minutes, hours and days; one and
two ingest processes with a core each; and PostgreSQL under the commits of 1, 10 and 100 ingest processes,
which are threads here that write what such processes write, as often.
"""

from __future__ import annotations

import tempfile
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from monitor.config import Configuration
from tests.benchmarks.disk import sizes
from tests.benchmarks.judging import HOUR_MS, judging
from tests.benchmarks.running import Figure, Side, arguments, in_turns, machine, report, run_side
from tests.benchmarks.scale_out import commits, workers
from tests.benchmarks.stream import Shape, produce
from tests.kit.kafka import KafkaCluster
from tests.kit.postgres import PostgresServer

EVENTS = 1_150_000
WARM_UP = 400_000
SPARE = 150_000
COMMITTERS = (1, 10, 100)
HOURS = 24  # judged, of each shape
PARTS = 12  # of a slice of a minute: what one process commits of it in five-second steps

SHAPES = {
    "25 features": Shape("capacity-25", EVENTS),
    "5 features": Shape("capacity-5", EVENTS, features=5),
    "100 features": Shape("capacity-100", EVENTS, features=100),
    "25 features, 10 segment values": Shape("capacity-25", EVENTS),
    "25 features, 100 segment values": Shape("capacity-100-regions", EVENTS, regions=100),
    "25 features, 100 models": Shape("capacity-100-models", EVENTS, models=100),
    "25 features, 1,000 models": Shape("capacity-1000-models", EVENTS, models=1_000),
}


def ingest(bootstrap: str, folder: Path, name: str) -> dict[str, Any]:
    """Measure the ingest of a shape on the bins of a reference, on a new SQLite file."""
    shape = SHAPES[name]
    segments = ["c0"] if "segment" in name else []
    configuration = {
        "kafka": {"bootstrap_servers": bootstrap},
        "database_url": f"sqlite:///{folder}/capacity-{len(list(folder.glob('*.db')))}.db",
        "streams": [{"topic": shape.topic, "kind": "predictions"}],
        "defaults": {"segments": segments, "max_segment_values": 100},
    }
    return run_side(
        "side_ingest",
        {
            "configuration": configuration, "topic": shape.topic, "events": shape.events - SPARE,
            "warm_up": WARM_UP, "binned": True, "models": shape.models, "features": shape.features,
            "regions": shape.regions,
        },
    )  # fmt: skip


def costs(folder: Path, *, quick: bool) -> list[Figure]:
    """Processor time and rate of every shape."""
    names = list(SHAPES)[:3] if quick else list(SHAPES)
    with KafkaCluster() as cluster:
        for shape in {SHAPES[name].topic: SHAPES[name] for name in names}.values():
            produce(cluster, shape)
        sides: dict[str, Side] = {name: partial(ingest, cluster.bootstrap, folder, name) for name in names}
        results = in_turns(sides, 1 if quick else 2)
    figures = []
    for name, found in results.items():
        best = min(found, key=lambda one: one["cpu_us"])
        memory = max(size for _, size in best["resident"]) / 2**20
        figures.append(
            Figure(
                f"ingest, {name}",
                f"{best['cpu_us']:.1f} µs of a core an event, {best['rate']:,.0f}/s, {memory:,.0f} MiB",
            )
        )
    return figures


def disk() -> list[Figure]:
    """Bytes of a model a day, as minutes, hours and days."""
    configuration = Configuration.model_validate(
        {"kafka": {"bootstrap_servers": "none"}, "database_url": "sqlite:///none.db",
         "streams": [{"topic": "t", "kind": "predictions"}], "defaults": {"max_segment_values": 100}}
    )  # fmt: skip
    settings = configuration.for_model("m000")
    with_segments = settings.model_copy(update={"segments": ("c0",)})
    cases = {
        "25 features": (settings, Shape("", 0)),
        "25 features, 10 segment values": (with_segments, Shape("", 0)),
        "25 features, 100 segment values": (with_segments, Shape("", 0, regions=100)),
        "100 features": (settings, Shape("", 0, features=100)),
    }
    figures = []
    for name, (its, shape) in cases.items():
        for per_minute in (60, 6_000):
            size = sizes(its, shape, per_minute)
            figures.append(
                Figure(
                    f"disk a model and day, {name}, {per_minute:,} events a minute",
                    f"{size.minutes * 1440 / 2**20:,.1f} MiB as minutes, "
                    f"{size.hours * 24 / 2**20:,.2f} as hours, {size.days / 2**20:,.2f} as a day",
                )
            )
    return figures


def judged() -> list[Figure]:
    """Processor time of one window of an hour, and of the fleets that one evaluator keeps up with."""
    cases: dict[str, tuple[Shape, dict[str, Any]]] = {
        "5 features": (Shape("", 0, features=5), {}),
        "25 features": (Shape("", 0), {}),
        "100 features": (Shape("", 0, features=100), {}),
        "25 features, slices in 12 parts": (Shape("", 0), {"parts": PARTS}),
        "25 features, slices of 10 minutes": (Shape("", 0), {"slice": "10m"}),
        "25 features, 10 segment values": (Shape("", 0), {"segments": ["c0"]}),
        "25 features, 100 segment values": (Shape("", 0, regions=100), {"segments": ["c0"]}),
    }
    figures = []
    for name, (shape, defaults) in cases.items():
        one = judging(shape, HOURS if "parts" not in defaults else HOURS // PARTS, **defaults)
        figures.append(
            Figure(
                f"judging a window of an hour, {name}",
                f"{one.ms_a_window:,.0f} ms of a core ({one.windows} windows), "
                f"{HOUR_MS / 2 / one.ms_a_window:,.0f} models with half a core",
            )
        )
    return figures


def scale_out(*, quick: bool) -> list[Figure]:
    """One and two processes with a core each."""
    figures = []
    with KafkaCluster() as cluster, PostgresServer() as server:
        shape = Shape("scale-out", 3_000_000 if quick else 6_000_000, models=10)
        produce(cluster, shape)
        found = {number: workers(cluster, server, shape, number) for number in (1, 2)}
    for number, one in found.items():
        shares = " + ".join(f"{share:.2f}" for share in one.shares)
        figures.append(
            Figure(
                f"{number} ingest processes, a core each",
                f"{one.rate:,.0f}/s; cores: {shares} ingest, {one.broker:.2f} Kafka, "
                f"{one.database:.2f} PostgreSQL",
            )
        )
    figures.append(Figure("2 processes / 1 process", f"{found[2].rate / found[1].rate:.2f}"))
    return figures


def commit_traffic(*, quick: bool) -> list[Figure]:
    """PostgreSQL under the commits of many processes."""
    figures = []
    for number, segments in product(COMMITTERS, (False, True)):
        with PostgresServer() as server:
            one = commits(server, number, seconds=15 if quick else 30, segments=segments)
        figures.append(
            Figure(
                f"PostgreSQL under the commits of {number} processes, each every 5 s"
                + (", 10 segment values" if segments else ""),
                f"{one.p50_ms:.0f} ms (50 %), {one.p99_ms:.0f} ms (99 %), {one.late} late, "
                f"{one.core_share:.2f} cores, {one.wal_mib_s:.1f} MiB/s of log, {one.slices_kib:,.0f} KiB",
            )
        )
    return figures


def measure(*, quick: bool, as_json: bool) -> None:
    """Run everything and print the table."""
    before = machine()
    with tempfile.TemporaryDirectory() as name:
        figures = [
            *disk(),
            *judged(),
            *scale_out(quick=quick),
            *commit_traffic(quick=quick),
            *costs(Path(name), quick=quick),
        ]
    report("What a larger service costs", figures, before, as_json=as_json)


def test_capacity() -> None:
    """Print the table; `make bench` collects this."""
    measure(quick=False, as_json=False)


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    measure(quick=options.quick, as_json=options.json)
