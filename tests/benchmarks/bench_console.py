"""The console over 5,000 models and 90 days on SQLite: how long its pages take and how large they are.

``python -m tests.benchmarks.bench_console [--quick] [--json]``. Every model has a window a day; times are
those of the whole answer within the process, the median of several.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from fastapi.testclient import TestClient

from monitor.web.app import create_app
from tests.benchmarks.running import Figure, arguments, machine, report
from tests.monitor.fleet_world import Fleet

MODELS, DAYS = 5_000, 90
MOST_MS, MOST_KB = 300, 300
ROUNDS = 7

PAGES = {
    "fleet, first page": "/",
    "fleet, by freshness": "/?sort=freshness",
    "fleet, by event rate": "/?sort=rate",
    "fleet, search": "/?q=model-012",
    "fleet, only firing": "/?state=firing",
}


def taken_ms(client: TestClient, path: str) -> tuple[float, int]:
    """Median time of an answer in milliseconds, and its size in bytes; the first one does not count."""
    times, size = [], 0
    for _ in range(ROUNDS + 1):
        begin = time.perf_counter()
        answer = client.get(path)
        times.append(1_000 * (time.perf_counter() - begin))
        assert answer.status_code == 200
        size = len(answer.content)
    return statistics.median(times[1:]), size


def measure(*, quick: bool, as_json: bool) -> None:
    """Fill the database, ask for the pages and print the table."""
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(f"sqlite:///{Path(folder) / 'fleet.db'}", 500 if quick else MODELS, DAYS)
        fleet.fill()
        app = create_app(fleet.configuration, fleet.engine, fleet.telemetry, fleet.clock)
        figures = []
        with TestClient(app, base_url="http://127.0.0.1") as client:
            begin = time.perf_counter()
            assert client.get("/").status_code == 200
            first_ms = 1_000 * (time.perf_counter() - begin)
            figures.append(Figure("fleet, the very first time (ms)", f"{first_ms:,.0f}"))
            for name, path in PAGES.items():
                took_ms, size = taken_ms(client, path)
                reached = took_ms <= MOST_MS
                figures.append(Figure(f"{name} (ms)", f"{took_ms:,.0f}", f"<= {MOST_MS}", reached))
                figures.append(Figure(f"{name} (kB)", f"{size / 1_000:,.0f}", f"<= {MOST_KB}"))
        fleet.engine.dispose()
    report(f"The console with {fleet.models:,} models and {DAYS} days", figures, before, as_json=as_json)


def test_console() -> None:
    """Print the table; `make bench` collects this."""
    measure(quick=False, as_json=False)


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    measure(quick=options.quick, as_json=options.json)
