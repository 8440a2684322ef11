"""Estimates without labels next to NannyML's: ``python -m tests.benchmarks.estimation.run``.

NannyML estimates in its own environment, on the data sets that come with it and with the chunks and settings
of its documentation; Driftline estimates the same chunks from records. Both are measured by the metrics
realised in each chunk. Nothing is downloaded or reported. Takes a minute.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy import special

from tests.benchmarks.estimation.datasets import DATA_SETS
from tests.benchmarks.estimation.side_driftline import Series, compare

ROOT = Path(__file__).resolve().parents[3]
PEER = ROOT / ".venv-peers" / "nannyml" / "bin" / "python"
QUIET = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore"}
HEAD = (
    "| Data set | Metric | Chunks | Driftline | NannyML | Difference ± s.e. | Held: Driftline | width "
    "| Held: NannyML ±3 s.e. | width | Held: NannyML 90 % |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|\n"
)
NORMAL_90 = float(special.ndtri(0.95))


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


class Findings:
    """Errors of both sides and how often bands held, of one metric of one data set."""

    def __init__(self, series: Series) -> None:
        truth = np.array(series.realised)
        values = np.array([guess.value for guess in series.estimates])
        peer, error = np.array(series.peer), np.array(series.peer_error)
        self.chunks = len(truth)
        self.mine, self.peer = np.abs(values - truth).mean(), np.abs(peer - truth).mean()
        difference = np.abs(values - truth) - np.abs(peer - truth)
        self.difference, self.error = difference.mean(), difference.std(ddof=1) / len(truth) ** 0.5
        low, high = np.array([(band.low, band.high) for band in series.bands]).T
        peer_low, peer_high = np.array(series.peer_low), np.array(series.peer_high)
        self.held = int(((low <= truth) & (truth <= high)).sum())
        self.peer_held = int(((peer_low <= truth) & (truth <= peer_high)).sum())
        self.peer_held_90 = int((np.abs(peer - truth) <= NORMAL_90 * error).sum())
        self.width, self.peer_width = np.median(high - low), np.median(peer_high - peer_low)
        everything = np.isinf(high) | ((low <= 0) & (high >= np.array([b.most for b in series.bands])))
        self.unbounded = int(everything.sum())

    def row(self, data: str, metric: str) -> str:
        """Format a line of the table."""
        digits = 2 if metric in ("mae", "rmse") else 5
        mine, peer, difference, error, width, peer_width = (
            f"{x:.{digits}f}"
            for x in (self.mine, self.peer, self.difference, self.error, self.width, self.peer_width)
        )
        return (
            f"| {data} | {metric} | {self.chunks} | {mine} | {peer} | {difference} ± {error} "
            f"| {self.held} | {width} | {self.peer_held} | {peer_width} | {self.peer_held_90} |\n"
        )


def table(work: Path, *, by_features: bool) -> str:
    """Errors and bands on all data sets, and what they come to."""
    rows, found = [], []
    for data in DATA_SETS:
        for metric, series in compare(data, work, by_features=by_features).items():
            found.append(Findings(series))
            rows.append(found[-1].row(data.name, metric))
    chunks = sum(one.chunks for one in found)
    held, peer, peer_90, unbounded = (
        sum(getattr(one, name) for one in found) / chunks
        for name in ("held", "peer_held", "peer_held_90", "unbounded")
    )
    better = sum(one.mine <= one.peer for one in found)
    worse = sum(one.difference > 2 * one.error for one in found)
    clearly_better = sum(one.difference < -2 * one.error for one in found)
    return (
        f"{HEAD}{''.join(rows)}\n"
        f"Mean absolute error no larger than NannyML's in {better} of {len(found)}; by more than two "
        f"standard errors smaller in {clearly_better}, larger in {worse}. Of {chunks} bands {held:.1%} held "
        f"({unbounded:.1%} were everything); of NannyML's {peer:.1%}, and {peer_90:.1%} at 90 %.\n"
    )


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
    sys.stdout.write(f"# By score or prediction alone\n\n{table(work, by_features=False)}\n")
    sys.stdout.write(f"# With bands of the features as segments\n\n{table(work, by_features=True)}")


if __name__ == "__main__":
    main()
