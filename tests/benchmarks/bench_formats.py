"""Rate of one ingest process by the format of its events: native JSON, Avro, Protobuf and record batches.

``python -m tests.benchmarks.bench_formats [--quick] [--json]``. The same events of 25 features in every
format, on the same real broker; schemas come from a registry on this machine. Every rate is that of one
process on its own, one after the other in turns; a ratio compares medians of the same run.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.formats import AVRO_ID, PROTOBUF_ID, WRITERS, avro_schema, protobuf_file
from tests.benchmarks.running import (
    Figure,
    Side,
    arguments,
    in_turns,
    machine,
    median_rate,
    ratio_figure,
    report,
    run_side,
)
from tests.benchmarks.stream import Shape, produce
from tests.kit.kafka import KafkaCluster
from tests.monitor.registry_world import FakeRegistry, fake_registry

WARM_UP = 0.3  # of the events
SPARE = 600_000  # more than a commit takes: the last of a topic waits for its interval, and does not count
FORMAT = {"json": "json", "avro": "registry", "protobuf": "registry", "arrow": "arrow"}
TIMES = {"arrow": 4}  # as many events
BATCH = {"arrow": 50}  # messages of a fetch, as many as ingest takes of a thousand rows each
AVRO_AIM, ARROW_AIM = 100_000, 1_000_000  # events/s


def ingest(
    cluster: KafkaCluster, shape: Shape, format_: str, registry: str, folder: Path, numbers: Iterator[int]
) -> Any:
    """Measure the whole ingest on the bins of a reference."""
    stream = {"topic": shape.topic, "kind": "predictions", "format": format_}
    configuration = {
        "kafka": {"bootstrap_servers": cluster.bootstrap},
        "database_url": f"sqlite:///{folder}/{shape.topic}-{next(numbers)}.db",
        "streams": [stream],
        "registry": {"url": registry},
    }
    return run_side(
        "side_ingest",
        {
            "configuration": configuration, "topic": shape.topic, "events": shape.events - SPARE,
            "warm_up": int(shape.events * WARM_UP), "binned": True,
        },
    )  # fmt: skip


def decode(cluster: KafkaCluster, shape: Shape, format_: str, registry: str) -> Any:
    """Measure consuming and decoding alone."""
    return run_side(
        "side_decode",
        {
            "bootstrap": cluster.bootstrap, "topic": shape.topic, "events": shape.events - SPARE,
            "warm_up": int(shape.events * WARM_UP), "format": format_, "registry": registry,
            "batch": BATCH.get(format_, 10_000),
        },
    )  # fmt: skip


def sides(cluster: KafkaCluster, shapes: dict[str, Shape], registry: str, folder: Path) -> dict[str, Side]:
    """Everything that is measured, by name, in its order."""
    numbers = iter(range(1_000))
    found: dict[str, Side] = {}
    for name, shape in shapes.items():
        found[f"decode {name}"] = partial(decode, cluster, shape, FORMAT[name], registry)
    for name, shape in shapes.items():
        found[f"ingest {name}"] = partial(ingest, cluster, shape, FORMAT[name], registry, folder, numbers)
    return found


def figures(rates: dict[str, float], cpu_us: dict[str, float]) -> list[Figure]:
    """Rates, ratios to native JSON, and processor time, which says more on a machine that others use too."""
    words = {"decode": "consume and decode", "ingest": "ingest, SQLite, on bins"}
    lines = []
    for name, rate in rates.items():
        what, format_ = name.split()
        lines.append(Figure(f"{words[what]}, {format_} (events/s)", f"{rate:,.0f}"))
    for name, spent in cpu_us.items():
        what, format_ = name.split()
        lines.append(Figure(f"{words[what]}, {format_}: processor time of an event (µs)", f"{spent:.2f}"))
    for what in words:
        json = rates[f"{what} json"]
        lines += [
            Figure(f"{what}: {name} / json", f"{rates[f'{what} {name}'] / json:.2f}") for name in WRITERS
        ]
    return [
        *lines,
        ratio_figure("ingest avro / 100,000 events/s", rates["ingest avro"], AVRO_AIM, 1),
        ratio_figure("decode arrow / 1,000,000 rows/s", rates["decode arrow"], ARROW_AIM, 1),
        ratio_figure("ingest arrow / 1,000,000 rows/s", rates["ingest arrow"], ARROW_AIM, 1),
    ]


def with_schemas(registry: FakeRegistry) -> str:
    """Register what the events are written by; returns the address."""
    registry.add(AVRO_ID, avro_schema())
    registry.add_protobuf(PROTOBUF_ID, protobuf_file())
    return registry.url


def measure(*, quick: bool, as_json: bool) -> None:
    """Run everything and print the table."""
    before = machine()
    events, rounds = 1_650_000, 1 if quick else 3
    shapes = {name: Shape(f"in-{name}", int(events * TIMES.get(name, 1))) for name in FORMAT}
    with tempfile.TemporaryDirectory() as folder, KafkaCluster() as cluster, fake_registry() as registry:
        for name, shape in shapes.items():
            produce(cluster, shape, WRITERS.get(name))
        results = in_turns(sides(cluster, shapes, with_schemas(registry), Path(folder)), rounds)
    rates = {name: median_rate(result) for name, result in results.items()}
    cpu_us = {
        name: statistics.median(result["cpu_us"] for result in several) for name, several in results.items()
    }
    report("Rate of one process by format, 25 features", figures(rates, cpu_us), before, as_json=as_json)


def test_formats() -> None:
    """Print the table; `make bench` collects this."""
    measure(quick=False, as_json=False)


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    measure(quick=options.quick, as_json=options.json)
