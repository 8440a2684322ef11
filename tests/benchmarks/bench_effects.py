"""Time of effect sizes, verdicts and sketches: ``python -m tests.benchmarks.bench_effects``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from detectors import (
    Distinct,
    FrequentItems,
    PsiThreshold,
    ReferenceCounts,
    compare,
    hash_numbers,
    hash_strings,
)
from tests.detectors.layouts import numeric_layout

Case: TypeAlias = tuple[str, int, Callable[[], object]]  # what, how many, the work

REPEATS = 7
ROWS = 100_000


def best_ms(work: Callable[[], object]) -> float:
    """Shortest of several runs, in milliseconds."""
    spans = []
    for _ in range(REPEATS):
        start = perf_counter()
        work()
        spans.append(perf_counter() - start)
    return 1e3 * min(spans)


def judging() -> list[Case]:
    """Effects and verdicts of one window of a model, and effects of very many streams."""
    generator = np.random.default_rng(1)
    model, many = numeric_layout(24, columns=30, unordered=2), numeric_layout(16)
    counts, window = generator.integers(100, 1_000, (2, 11, 30, 24))
    own = generator.integers(10, 100, (58, 11, 30, 24))
    segments = ("", *(f"origin={number}" for number in range(10)))
    reference = ReferenceCounts(model, segments, counts, own, np.ones(30), np.arange(58), 1)
    before, after = generator.integers(0, 1_000, (2, 100_000, 1, 16))
    return [
        (
            "effects of 11 segments x 30 columns x 24 bins",
            330,
            lambda: compare(counts, window, model, reference.sd),
        ),
        ("psi verdicts of the same, all drift", 330, lambda: PsiThreshold().judge(reference, window)),
        ("psi verdicts of the same, none drifts", 330, lambda: PsiThreshold().judge(reference, counts)),
        ("effects of 100,000 streams x 16 bins", 100_000, lambda: compare(before, after, many, np.ones(1))),
    ]


def sketching() -> list[Case]:
    """Hashes and sketches of one batch."""
    generator = np.random.default_rng(2)
    names = [f"{number:016x}" for number in generator.integers(0, 2**62, ROWS).tolist()]
    identifiers, hashes = pa.array(names), hash_strings(pa.array(names))
    numbers, tally = generator.normal(size=ROWS), generator.integers(1, 9, ROWS)
    return [
        ("hash of strings of 16 characters", ROWS, lambda: hash_strings(identifiers)),
        ("hash of numbers", ROWS, lambda: hash_numbers(numbers)),
        ("distinct count, update", ROWS, lambda: Distinct().update(hashes)),
        ("frequent items, update, all values different", ROWS, lambda: FrequentItems().update(names, tally)),
    ]


def main() -> None:
    """Print one line for each measurement."""
    for name, size, work in (*judging(), *sketching()):
        work()
        spent_ms = best_ms(work)
        sys.stdout.write(
            f"{name:<48} {spent_ms:9.3f} ms {1e6 * spent_ms / size:12,.1f} ns each of {size:,}\n"
        )


if __name__ == "__main__":
    main()
