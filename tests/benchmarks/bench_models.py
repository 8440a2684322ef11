"""Many models on one topic: rate and memory, and memory over time.

``python -m tests.benchmarks.bench_models [--quick] [--json]``. Models have 25 features, an output and its
score, and are broken down by a column of 10 values.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

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

MODELS = 1_000
WARM_UP = 500_000  # every model has been met and its columns are known
SPARE = 150_000
MOST_MIB = 2_048


def ingest(
    bootstrap: str, shape: Shape, folder: Path, *, binned: bool, dedupe: str = "10m"
) -> dict[str, Any]:
    """Measure the whole ingest on a new SQLite file."""
    number = len(list(folder.glob("*.db")))
    configuration = {
        "kafka": {"bootstrap_servers": bootstrap},
        "database_url": f"sqlite:///{folder}/models-{number}.db",
        "streams": [{"topic": shape.topic, "kind": "predictions"}],
        "defaults": {"segments": ["c0"], "dedupe": dedupe},
    }
    return run_side(
        "side_ingest",
        {
            "configuration": configuration, "topic": shape.topic, "events": shape.events - SPARE,
            "warm_up": WARM_UP, "binned": binned, "models": shape.models,
        },
    )  # fmt: skip


def most_mib(results: list[dict[str, Any]]) -> float:
    """Largest memory of several runs."""
    return max(size for result in results for _, size in result["resident"]) / 2**20


def growth(result: dict[str, Any], events: int) -> list[Figure]:
    """Memory after a third, two thirds and all of the events."""
    figures = []
    for share in (1, 2, 3):
        wanted = share * events / 3
        size = next(
            size for seen, size in result["resident"] if seen >= min(wanted, result["resident"][-1][0])
        )
        name = f"memory after {share} x {events // 3:,} events, one model (MiB)"
        figures.append(Figure(name, f"{size / 2**20:,.0f}"))
    return figures


def measure(*, quick: bool, as_json: bool) -> None:
    """Run everything and print the table."""
    before = machine()
    events, rounds = 1_650_000, 1 if quick else 2
    one, many = Shape("one-model", events), Shape("many-models", events, MODELS)
    # Four minutes of event ids at a time, of more than ten.
    long = Shape("long", 1_650_000, per_s=2_000)
    with tempfile.TemporaryDirectory() as name, KafkaCluster() as cluster:
        folder, at = Path(name), cluster.bootstrap
        for shape in (one, many, long):
            produce(cluster, shape)
        sides: dict[str, Side] = {
            "one model, learning": partial(ingest, at, one, folder, binned=False),
            "1,000 models, learning": partial(ingest, at, many, folder, binned=False),
            "one model, on bins": partial(ingest, at, one, folder, binned=True),
            "1,000 models, on bins": partial(ingest, at, many, folder, binned=True),
        }
        results = in_turns(sides, rounds)
        memory = ingest(at, long, folder, binned=True, dedupe="2m")
    rates = {name: median_rate(result) for name, result in results.items()}
    figures = [Figure(f"ingest, {name} (events/s)", f"{rate:,.0f}") for name, rate in rates.items()]
    for phase in ("learning", "on bins"):
        single, several = f"one model, {phase}", f"1,000 models, {phase}"
        figures.append(
            ratio_figure(f"1,000 models / one model, {phase}", rates[several], rates[single], 0.25)
        )
        size = most_mib(results[several])
        name = f"memory at 1,000 models x 25 features x 10 segments, {phase} (MiB)"
        figures.append(Figure(name, f"{size:,.0f}", f"<= {MOST_MIB}", size <= MOST_MIB))
    figures += growth(memory, long.events - SPARE)
    report("Many models on one topic", figures, before, as_json=as_json)


def test_models() -> None:
    """Print the table; `make bench` collects this."""
    measure(quick=False, as_json=False)


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    measure(quick=options.quick, as_json=options.json)
