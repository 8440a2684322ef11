"""The long form: every target for a while, guided by coverage, and then whether what was found leaks.

``make fuzz ARGS='--seconds 600'``, or ``python -m tests.fuzz.run [--seconds S] [--target NAME]…``. Inputs
that reach new code are kept in ``.fuzz/TARGET/corpus`` for the next run; one that breaks a promise is kept as
``.fuzz/TARGET/crash-…``, and is read again by ``python -m tests.fuzz.run --target NAME --input FILE``.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.catalog import targets
from tests.fuzz.soak import MOST_LEAKED, leaked
from tests.fuzz.target import Target

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".fuzz"
ROUNDS, MOST_INPUTS = 20, 300
STATISTICS = re.compile(r"stat::(\w+):\s+(\d+)")
COVERAGE = re.compile(r"cov: (\d+)")


def main() -> int:
    """Fuzz, and say what was found; 1 if a promise was broken."""
    options = _arguments()
    chosen = [targets()[name] for name in options.target or targets()]
    if options.input is not None:
        for target in chosen:
            target.try_(options.input.read_bytes())
        return 0
    if options.soak:
        return max(_soaked(target) for target in chosen)
    broken = [target.name for target in chosen if not _searched(target, options.seconds)]
    sys.stdout.write(f"fuzz: {len(chosen) - len(broken)} of {len(chosen)} targets kept their promises\n")
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzz everything that reads what others wrote.")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default: 600)")
    parser.add_argument("--target", action="append", choices=sorted(targets()), help="only this one")
    parser.add_argument("--input", type=Path, help="read one kept input again")
    parser.add_argument("--soak", action="store_true", help="only look for leaks in what was kept")
    return parser.parse_args()


def _searched(target: Target, seconds: int) -> bool:
    """Search one target in a process of its own, which may die of what it reads; then soak it in another."""
    folder = FOLDER / target.name
    folder.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    search = _run("tests.fuzz.guided", target.name, str(seconds), str(folder))
    (folder / "search.log").write_text(search.stdout)
    facts = dict(STATISTICS.findall(search.stdout))
    coverage = COVERAGE.findall(search.stdout) or ["0"]
    said = f"{facts.get('number_of_executed_units', '?')} inputs, coverage {coverage[-1]}"
    sys.stdout.write(f"fuzz: {target.name}: {said}, {time.monotonic() - started_s:.0f} s\n")
    if search.returncode != 0:
        sys.stdout.write(f"fuzz: {target.name}: BROKEN, see {folder}\n{search.stdout[-3_000:]}\n")
        return False
    soak = _run("tests.fuzz.run", "--soak", "--target", target.name)
    sys.stdout.write(soak.stdout[-3_000:])
    sys.stdout.flush()
    return soak.returncode == 0


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "faulthandler", "-m", module, *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _soaked(target: Target) -> int:
    kept = sorted(path for path in (FOLDER / target.name / "corpus").glob("*"))
    if len(kept) > MOST_INPUTS:
        kept = random.Random(1).sample(kept, MOST_INPUTS)
    grown = leaked(target, [path.read_bytes() for path in kept], ROUNDS)
    verdict = "LEAKS" if grown > MOST_LEAKED else "no leak"
    said = f"{grown >> 10} KiB more after {ROUNDS} rounds of {len(kept)} inputs"
    sys.stdout.write(f"fuzz: {target.name}: {verdict}, {said}\n")
    return 1 if grown > MOST_LEAKED else 0


if __name__ == "__main__":
    sys.exit(main())
