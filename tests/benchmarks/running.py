"""Runs measured sides, each in a process of its own, in turns, and prints what came out."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SIDE_TIMEOUT_S = 300.0
Side = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Figure:
    """One line of the table; `reached` is None where there is no target."""

    name: str
    value: str
    target: str = ""
    reached: bool | None = None


def python(environment: str) -> str:
    """Return the interpreter of an environment of the checkout, or the running one where there is none."""
    path = ROOT / environment / "bin" / "python"
    return str(path) if path.is_file() else sys.executable


def run_side(module: str, options: Mapping[str, Any], environment: str = ".venv") -> dict[str, Any]:
    """Run one side and return what it printed.

    Raises
    ------
    RuntimeError
        If it failed; with the end of what it wrote.
    """
    options = {**options, "group_id": f"bench-{uuid.uuid4().hex[:12]}"}
    command = [python(environment), "-m", f"tests.benchmarks.{module}", json.dumps(options)]
    # The kernel ends a side that this process leaves behind.
    done = subprocess.run(
        ["setpriv", "--pdeathsig", "KILL", "--", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SIDE_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        msg = f"{module} failed:\n{done.stderr[-3_000:]}"
        raise RuntimeError(msg)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def in_turns(sides: Mapping[str, Side], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Run every side once, then every side again, so that all meet the same weather."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            result = side()
            found[name].append(result)
            note = f"round {number + 1}: {name}: {result['rate']:,.0f} events/s"
            sys.stderr.write(f"{note}\n")
    return found


def median_rate(results: list[dict[str, Any]]) -> float:
    """Median of the rates of several runs."""
    return statistics.median(result["rate"] for result in results)


def ratio_figure(name: str, rate: float, other: float, target: float) -> Figure:
    """Compare a rate with another of the same run."""
    ratio = rate / other
    return Figure(name, f"{ratio:.2f}", f">= {target:g}", ratio >= target)


def machine() -> dict[str, Any]:
    """Facts of the machine that matter for the figures."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.release(),
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 1),
    }


def arguments(what: str) -> argparse.Namespace:
    """Read the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help="fewer events and one round, for development")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


def report(title: str, figures: list[Figure], before: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the figures, with the machine as it was before the first run."""
    if as_json:
        document = {"title": title, "machine": dict(before), "figures": [asdict(f) for f in figures]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    widths = [max(len(getattr(f, column)) for f in figures) for column in ("name", "value", "target")]
    sys.stdout.write(f"\n{title}\n{', '.join(f'{key} {value}' for key, value in before.items())}\n\n")
    for f in figures:
        verdict = "" if f.reached is None else "reached" if f.reached else "NOT REACHED"
        cells = (f.name.ljust(widths[0]), f.value.rjust(widths[1]), f.target.rjust(widths[2]))
        sys.stdout.write(f"{'  '.join(cells)}  {verdict}".rstrip() + "\n")
