"""Detection quality of Driftline and its peers: ``python -m tests.benchmarks.detection.run [--quick]``.

Exports the base tables, builds the streams, has every side judge them in its own environment, and writes the
tables. `make bench-detection` makes the environments first. No side is allowed to download or report
anything: what would do so is switched off.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.detection import tables
from tests.benchmarks.detection.bases import ENVIRONMENTS
from tests.benchmarks.detection.streams import FULL, QUICK, base_path, write

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = "tests.benchmarks.detection"
# The slowest first: environment, and parts that its work is divided into.
SIDES = {
    "side_nannyml": ("nannyml", 3),
    "side_driftline": ("", 3),
    "side_river": ("river", 2),
    "side_evidently": ("evidently", 1),
    "side_alibi": ("alibi-detect", 1),
}
QUIET = {
    "DO_NOT_TRACK": "1",  # Evidently
    "NML_DISABLE_USAGE_LOGGING": "1",  # NannyML
    "HF_HUB_OFFLINE": "1",  # alibi-detect loads a library that could ask for models
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
}


def run(module: str, environment: str, *arguments: str) -> float:
    """Run a module in an environment, the product's own if it has no name; returns seconds.

    Raises
    ------
    RuntimeError
        If it failed; with the end of what it wrote.
    """
    python = ROOT / ".venv-peers" / environment / "bin" / "python" if environment else Path(sys.executable)
    begin = time.monotonic()
    # The kernel ends a side that this process leaves behind.
    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", "--", str(python), "-m", f"{PACKAGE}.{module}", *arguments],
        cwd=ROOT,
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        msg = f"{module} failed:\n{done.stderr[-3_000:]}"
        raise RuntimeError(msg)
    seconds = time.monotonic() - begin
    say(f"{module} {' '.join(arguments[1:])}: {seconds:.0f} s")
    return seconds


def say(text: str) -> None:
    """Print a line of progress."""
    sys.stderr.write(f"bench-detection: {text}\n")
    sys.stderr.flush()


def main() -> None:
    """Measure everything and write the tables."""
    parser = argparse.ArgumentParser(description="detection quality of Driftline and its peers")
    parser.add_argument(
        "--quick", action="store_true", help="two base tables and few streams, for development"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "bench-detection", help="folder of all files"
    )
    parser.add_argument("--tables", action="store_true", help="only write the tables of the last run anew")
    parser.add_argument("--at-once", type=int, default=os.cpu_count(), help="sides that run at the same time")
    options = parser.parse_args()
    work: Path = options.work.resolve()
    if not options.tables:
        plan = QUICK if options.quick else FULL
        work.mkdir(parents=True, exist_ok=True)
        for old in (*work.glob("world-*.npz"), *work.glob("result-*.npz")):
            old.unlink()
        wanted = defaultdict(list)
        for name in plan.bases:
            if not base_path(work, name).is_file():
                wanted[ENVIRONMENTS[name]].append(name)
        for environment, names in wanted.items():
            run("bases", environment, str(work), *names)
        say(f"{write(work, plan)} worlds")
        jobs = [
            (side, environment, str(work), str(part), str(parts))
            for side, (environment, parts) in SIDES.items()
            for part in range(parts)
        ]
        with ThreadPoolExecutor(options.at_once) as pool:
            for job in [pool.submit(run, *job) for job in jobs]:
                job.result()
    sys.stdout.write(tables.write(work))


if __name__ == "__main__":
    main()
