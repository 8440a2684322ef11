"""What a contract costs: rate of one ingest process with a hundred rules on 25 columns, against none.

``python -m tests.benchmarks.bench_contracts [--quick] [--json]``. All sides read the same events from the
same broker into SQLite, on the bins of a reference, one after the other in turns; ratios are of the same run.
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
from tests.benchmarks.stream import NUMBERS, Shape, produce
from tests.kit.kafka import KafkaCluster

WARM_UP = 300_000
SPARE = 150_000
EVENTS = 1_200_000
VALUES = (10, 3, 40, 300, 2_000)
CONDITIONS = 20
ONE_IN_A_HUNDRED = 25.76  # deviations of 10: outside lies one value in a hundred


def contract(most: float = 1e6, **first: Any) -> dict[str, Any]:
    """A hundred rules: kind, range and presence of 20 numbers, four of each of 5 texts, and 20 conditions."""
    numbers = {f"n{i:02d}": {"min": -most, "max": most, "nullable": False} for i in range(NUMBERS)}
    numbers["n00"] |= first
    texts = {
        f"c{i}": {"values": [f"v{code}" for code in range(size)], "pattern": "v[0-9]+", "nullable": False}
        for i, size in enumerate(VALUES)
    }
    rules = {
        f"r{i}": {"expression": f"n{i:02d} <= n{(i + 1) % NUMBERS:02d} + 1000 or c{i % len(VALUES)} == 'v1'"}
        for i in range(CONDITIONS)
    }
    return {"columns": numbers | texts, "rules": rules}


def ingest(bootstrap: str, folder: Path, name: str, shape: Shape, defaults: dict[str, Any]) -> dict[str, Any]:
    """Measure the whole ingest with some contract."""
    url = f"sqlite:///{folder}/{name}-{len(list(folder.iterdir()))}.db"
    configuration = {
        "kafka": {"bootstrap_servers": bootstrap},
        "database_url": url,
        "streams": [{"topic": shape.topic, "kind": "predictions"}],
        "defaults": defaults,
    }
    options = {
        "configuration": configuration, "topic": shape.topic, "events": shape.events - SPARE,
        "warm_up": WARM_UP, "binned": True,
    }  # fmt: skip
    return run_side("side_ingest", options)


def sides(bootstrap: str, folder: Path, shape: Shape) -> dict[str, Side]:
    """Everything that is measured, by name."""
    quarantine: dict[str, Any] = {
        "max": 30.9,
        "rules": {"range": {"action": "quarantine", "stop": {"share": 0.5}}},
    }
    by_segment = {"segments": ["c0", "c2"]}
    contracts = {
        "none": {},
        "kept": contract(),
        "broken": contract(ONE_IN_A_HUNDRED),
        "quarantine": contract(**quarantine),
        "segments": by_segment,
        "broken in segments": contract(ONE_IN_A_HUNDRED) | by_segment,
    }
    return {name: partial(ingest, bootstrap, folder, name, shape, said) for name, said in contracts.items()}


def figures(rates: dict[str, float]) -> list[Figure]:
    """Rates, and the ratios that are promised."""
    names = {
        "none": "no contract",
        "kept": "100 rules, all kept",
        "broken": "100 rules, 20 of them broken by 1 % of the events each",
        "quarantine": "100 rules, 0.1 % of the events kept out",
        "segments": "no contract, two segment columns of 10 and 40 values",
        "broken in segments": "100 rules, 20 of them broken by 1 % of the events each, by segment",
    }
    lines = [Figure(f"{names[name]} (events/s)", f"{rate:,.0f}") for name, rate in rates.items()]
    return [
        *lines,
        ratio_figure("100 rules / no contract", rates["kept"], rates["none"], 0.75),
        ratio_figure("100 rules, broken / no contract", rates["broken"], rates["none"], 0.75),
        ratio_figure("quarantine / no contract", rates["quarantine"], rates["none"], 0.75),
        ratio_figure(
            "100 rules, broken / no contract, by segment",
            rates["broken in segments"],
            rates["segments"],
            0.75,
        ),
    ]


def measure(*, quick: bool, as_json: bool) -> None:
    """Run everything and print the table."""
    before = machine()
    shape = Shape("events", EVENTS)
    with tempfile.TemporaryDirectory() as folder, KafkaCluster() as cluster:
        produce(cluster, shape)
        results = in_turns(sides(cluster.bootstrap, Path(folder), shape), 1 if quick else 3)
    rates = {name: median_rate(result) for name, result in results.items()}
    report("Cost of a contract, 25 features", figures(rates), before, as_json=as_json)


def test_contracts() -> None:
    """Print the table; `make bench` collects this."""
    measure(quick=False, as_json=False)


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    measure(quick=options.quick, as_json=options.json)
