"""Rate of one ingest process against what bounds it and against its peers.

``python -m tests.benchmarks.bench_ingest [--quick] [--json]``. Every rate is that of one process on its own,
all on the same real broker on this machine, one after the other in turns; a ratio compares medians of the
same run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
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
from tests.kit.postgres import PostgresServer

WARM_UP = 500_000  # one commit
SPARE = 150_000  # events that nobody has to wait for: at the end of a topic a commit waits for its interval
COUNTED, BAD, MIXED = "events", "events-undecodable", "events-of-another-type"


def ingest(bootstrap: str, shape: Shape, url: Callable[[], str], *, binned: bool) -> dict[str, Any]:
    """Measure the whole ingest, before or after there is a reference."""
    configuration = {
        "kafka": {"bootstrap_servers": bootstrap},
        "database_url": url(),
        "streams": [{"topic": shape.topic, "kind": "predictions"}],
    }
    return run_side(
        "side_ingest",
        {
            "configuration": configuration, "topic": shape.topic, "events": shape.events - SPARE,
            "warm_up": WARM_UP, "binned": binned,
        },
    )  # fmt: skip


def peer(module: str, environment: str, options: dict[str, Any]) -> dict[str, Any]:
    """Measure a peer, or decoding alone."""
    return run_side(module, options, environment)


def sides(
    cluster: KafkaCluster, server: PostgresServer, folder: Path, good: Shape, wrong: list[Shape]
) -> dict[str, Side]:
    """Everything that is measured, by name, in its order."""
    numbers = iter(range(1_000))

    def sqlite() -> str:
        return f"sqlite:///{folder}/ingest-{next(numbers)}.db"

    def postgres() -> str:
        return server.url(server.create_database())

    at = cluster.bootstrap
    shared = {"bootstrap": at, "topic": good.topic, "events": good.events - SPARE, "warm_up": WARM_UP}
    few = {"events": 100_000, "warm_up": 5_000, "seconds": 6.0}
    return {
        "decode": partial(peer, "side_decode", ".venv", shared),
        "learning": partial(ingest, at, good, sqlite, binned=False),
        "binned": partial(ingest, at, good, sqlite, binned=True),
        "postgres": partial(ingest, at, good, postgres, binned=True),
        "quix": partial(peer, "side_quix", ".venv-bench", shared),
        "faust": partial(peer, "side_faust", ".venv", shared | few),
        **{shape.wrong: partial(ingest, at, shape, sqlite, binned=True) for shape in wrong},
    }


def figures(rates: dict[str, float]) -> list[Figure]:
    """Rates, and the ratios that are promised."""
    names = {
        "decode": "consume and decode only",
        "learning": "ingest, SQLite, while learning",
        "binned": "ingest, SQLite, on a reference's bins",
        "postgres": "ingest, PostgreSQL, on bins",
        "quix": "Quix Streams, only counts",
        "faust": "Faust agent, only counts",
        "undecodable": "ingest, 1 % undecodable",
        "type": "ingest, 1 % with a value of another type",
    }
    lines = [Figure(f"{names[name]} (events/s)", f"{rate:,.0f}") for name, rate in rates.items()]
    for phase in ("learning", "binned"):
        lines += [
            ratio_figure(f"{phase} / consume and decode", rates[phase], rates["decode"], 0.6),
            ratio_figure(f"{phase} / Quix Streams", rates[phase], rates["quix"], 1.5),
            ratio_figure(f"{phase} / Faust", rates[phase], rates["faust"], 15),
        ]
    return [
        *lines,
        ratio_figure("PostgreSQL / SQLite", rates["postgres"], rates["binned"], 0.9),
        ratio_figure("1 % undecodable / clean", rates["undecodable"], rates["binned"], 0.7),
        ratio_figure("1 % of another type / clean", rates["type"], rates["binned"], 0.7),
    ]


def measure(*, quick: bool, as_json: bool) -> None:
    """Run everything and print the table."""
    before = machine()
    events, rounds = 1_650_000, 1 if quick else 3
    good = Shape(COUNTED, events)
    wrong = [Shape(BAD, events, wrong="undecodable"), Shape(MIXED, events, wrong="type")]
    with tempfile.TemporaryDirectory() as folder, KafkaCluster() as cluster, PostgresServer() as server:
        for shape in (good, *wrong):
            produce(cluster, shape)
        results = in_turns(sides(cluster, server, Path(folder), good, wrong), rounds)
    rates = {name: median_rate(result) for name, result in results.items()}
    report(
        "Rate of one ingest process, 25 features, 445 bytes an event", figures(rates), before, as_json=as_json
    )


def test_ingest() -> None:
    """Print the table; `make bench` collects this."""
    measure(quick=False, as_json=False)


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    measure(quick=options.quick, as_json=options.json)
