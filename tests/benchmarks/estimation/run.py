"""Estimates without labels next to NannyML's: ``python -m tests.benchmarks.estimation.run``.

NannyML estimates in its own environment, on the data sets that come with it and with the chunks and settings
of its documentation; Driftline estimates the same chunks from records. Both are measured by the metrics
realised in each chunk. Nothing is downloaded or reported. Takes two minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.estimation.datasets import DATA_SETS
from tests.benchmarks.estimation.findings import HEAD, Findings, summary
from tests.benchmarks.estimation.side_driftline import Series, chooses_features, compare

ROOT = Path(__file__).resolve().parents[3]
PEER = ROOT / ".venv-peers" / "nannyml" / "bin" / "python"
QUIET = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore"}
Found = dict[str, dict[str, Series]]


def run_peer(work: Path) -> None:
    """Have NannyML estimate.

    Raises
    ------
    RuntimeError
        If it failed; with the end of what it wrote.
    """
    done = subprocess.run(
        [str(PEER), "-m", "tests.benchmarks.estimation.side_nannyml", str(work)],
        cwd=ROOT,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        msg = f"NannyML's side failed:\n{done.stderr[-3_000:]}"
        raise RuntimeError(msg)


def table(found: Found, features: dict[str, bool]) -> str:
    """Errors and bands on all data sets, and what they come to."""
    rows, every = [], []
    for data, by_metric in found.items():
        for metric, series in by_metric.items():
            every.append(Findings(series))
            rows.append(every[-1].row(data, "yes" if features[data] else "no", metric))
    return f"{HEAD}{''.join(rows)}\n{summary(every)}\n"


def main() -> None:
    """Estimate, and print the tables."""
    parser = argparse.ArgumentParser(description="estimates of performance without labels")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "bench-estimation", help="folder of files"
    )
    parser.add_argument("--tables", action="store_true", help="use NannyML's numbers of the last run")
    options = parser.parse_args()
    work: Path = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not options.tables:
        run_peer(work)
    none, every = ({data.name: used for data in DATA_SETS} for used in (False, True))
    plain = {data.name: compare(data, work) for data in DATA_SETS}
    told = {data.name: compare(data, work, by_features=True) for data in DATA_SETS}
    chosen = {data.name: chooses_features(data, work) for data in DATA_SETS}
    mixed = {name: (told if chosen[name] else plain)[name] for name in chosen}
    for title, text in (
        ("With bands of the features as segments where they help in the reference", table(mixed, chosen)),
        ("By score or prediction alone", table(plain, none)),
        ("With bands of the features as segments", table(told, every)),
    ):
        sys.stdout.write(f"# {title}\n\n{text}\n")


if __name__ == "__main__":
    main()
