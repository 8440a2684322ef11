"""What is kept of one column besides its counts: moments, quantiles, distinct and frequent values."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from datasketches import kll_floats_sketch
from numpy.typing import NDArray

from detectors.distinct import Distinct, update_all
from detectors.frequent import FrequentItems
from detectors.quantiles import K, add_sorted
from schemas.column import ColumnSpec, Kind
from schemas.errors import ProfileError

FREQUENT = 64
_LARGEST = float(np.finfo(np.float32).max)  # the quantile sketch keeps numbers of 32 bits
Hashes = NDArray[np.uint64]


class SummaryState(msgspec.Struct, array_like=True):
    """A `Summary` as it is stored."""

    spec: ColumnSpec
    ok: int
    invalid: int
    sum: float
    squares: float
    lowest: float
    highest: float
    quantiles: bytes
    distinct: bytes
    frequent: bytes


class Summary:
    """Mergeable summary of one column of one slice.

    Counts of valid and invalid values are exact, and so are the extremes; sums are exact up to the rounding
    of the order in which they are added. The sketches are approximate and serve display only.

    Parameters
    ----------
    spec : ColumnSpec
    frequent : int
        Number of frequent values that are kept; categorical columns only.
    """

    __slots__ = (
        "distinct",
        "frequent",
        "highest",
        "invalid",
        "lowest",
        "ok",
        "quantiles",
        "spec",
        "squares",
        "sum",
    )

    def __init__(self, spec: ColumnSpec, frequent: int = FREQUENT) -> None:
        self.spec = spec
        self.ok = self.invalid = 0
        self.sum = self.squares = 0.0
        self.lowest, self.highest = math.inf, -math.inf
        self.quantiles = kll_floats_sketch(K) if spec.kind is Kind.NUMERIC else None
        self.distinct = Distinct()
        self.frequent = FrequentItems(frequent) if spec.kind is Kind.CATEGORICAL else None

    def refine(self) -> None:
        """Count different values more finely from here on; one that has some already stays as it is."""
        if not self.distinct.exact and self.distinct.is_empty:
            self.distinct = Distinct.fine()

    def count(self, ok: int, invalid: int) -> None:
        """Add numbers of rows with a valid and with an invalid value; the other rows have none."""
        self.ok += ok
        self.invalid += invalid

    def add_categories(self, values: Sequence[str], counts: NDArray[np.int64], hashes: Hashes) -> None:
        """Add distinct categories, each with its number of rows."""
        if self.frequent is not None:
            self.frequent.update(values, counts)
        self.distinct.update(hashes)

    def merge(self, other: Summary) -> None:
        """Add another summary of the same column to this one.

        Where the kinds differ, the other's values count as invalid: a column keeps the kind it was first seen
        with.
        """
        if other.spec.kind is not self.spec.kind:
            self.count(0, other.invalid + other.ok)
            return
        self.count(other.ok, other.invalid)
        self.sum += other.sum
        self.squares += other.squares
        self.lowest, self.highest = min(self.lowest, other.lowest), max(self.highest, other.highest)
        if self.quantiles is not None:
            self.quantiles.merge(other.quantiles)
        self.distinct = self.distinct.merge(other.distinct)
        if self.frequent is not None and other.frequent is not None:
            mine = _resized(self.frequent, other.frequent.capacity)
            self.frequent = mine.merge(_resized(other.frequent, mine.capacity))

    @property
    def mean(self) -> float | None:
        """Arithmetic mean of the valid numbers; None without any."""
        return self.sum / self.ok if self.quantiles is not None and self.ok else None

    def quantile(self, shares: list[float]) -> list[float] | None:
        """Approximate quantiles; None without numbers."""
        if self.quantiles is None or self.quantiles.is_empty():
            return None
        return [float(q) for q in self.quantiles.get_quantiles(shares)]

    def state(self) -> SummaryState:
        """Return everything as plain values and bytes."""
        return SummaryState(
            self.spec,
            self.ok,
            self.invalid,
            self.sum,
            self.squares,
            self.lowest if self.ok and self.quantiles is not None else 0.0,
            self.highest if self.ok and self.quantiles is not None else 0.0,
            b"" if self.quantiles is None else self.quantiles.serialize(),
            self.distinct.to_bytes(),
            b"" if self.frequent is None else self.frequent.to_bytes(),
        )

    @classmethod
    def from_state(cls, state: SummaryState) -> Summary:
        """Build a summary from what `state` returned."""
        new = cls.__new__(cls)
        new.spec, new.ok, new.invalid = state.spec, state.ok, state.invalid
        new.sum, new.squares = state.sum, state.squares
        numbers = state.spec.kind is Kind.NUMERIC and state.ok
        new.lowest, new.highest = (state.lowest, state.highest) if numbers else (math.inf, -math.inf)
        new.quantiles = kll_floats_sketch.deserialize(state.quantiles) if state.quantiles else None
        new.distinct = Distinct.from_bytes(state.distinct)
        new.frequent = FrequentItems.from_bytes(state.frequent) if state.frequent else None
        return new


def add_matrix(
    summaries: Sequence[Summary],
    numbers: NDArray[np.float64],
    use: NDArray[np.bool_] | None,
    hashes: Hashes,
) -> None:
    """Add the numbers of many numeric columns at once; a call for each column would cost more than the sums.

    Parameters
    ----------
    summaries : sequence of Summary
        Of numeric columns; their rows must have been counted already.
    numbers : float64 array [columns, n]
        0 where they do not count; n is at least 1.
    use : bool array [columns, n] or None
        Which of them count; None for all.
    hashes : uint64 array [columns, n]
    """
    with np.errstate(over="ignore", invalid="ignore"):  # sums of numbers near the largest one are infinite
        sums, squares = numbers.sum(axis=1).tolist(), np.einsum("ij,ij->i", numbers, numbers).tolist()
    low = high = numbers
    if use is not None:
        low, high = np.where(use, numbers, np.inf), np.where(use, numbers, -np.inf)
    lowest, highest = low.min(axis=1).tolist(), high.max(axis=1).tolist()
    # The sketch takes ordered values faster; those that do not count are last.
    ordered = np.clip(low, -_LARGEST, _LARGEST).astype(np.float32)
    ordered.sort(axis=1)
    counts = [ordered.shape[1]] * len(summaries) if use is None else use.sum(axis=1).tolist()
    for i, summary in enumerate(summaries):
        if summary.quantiles is None:
            msg = f"column {summary.spec.name} is {summary.spec.kind}, not numeric"
            raise ProfileError(msg)
        if counts[i]:
            summary.sum += sums[i]
            summary.squares += squares[i]
            summary.lowest = min(summary.lowest, lowest[i])
            summary.highest = max(summary.highest, highest[i])
            add_sorted(summary.quantiles, ordered[i, : counts[i]])
    _add_distinct([summary.distinct for summary in summaries], hashes, use)


def _add_distinct(sketches: Sequence[Distinct], hashes: Hashes, use: NDArray[np.bool_] | None) -> None:
    """Add values to sketches, to all that are alike at once."""
    alike = [i for i, sketch in enumerate(sketches) if not sketch.exact]
    if len(alike) == len(sketches):
        update_all(sketches, hashes, use)
        return
    update_all([sketches[i] for i in alike], hashes[alike], None if use is None else use[alike])
    for i, sketch in enumerate(sketches):
        if sketch.exact:
            sketch.update(hashes[i] if use is None else hashes[i, use[i]])


def _resized(frequent: FrequentItems, capacity: int) -> FrequentItems:
    """Cut to a smaller capacity; a summary made while learning keeps more values than later ones."""
    if capacity >= frequent.capacity:
        return frequent
    smaller = FrequentItems(capacity)
    items = frequent.items()
    smaller.update([item.value for item in items], np.array([item.estimate for item in items], np.int64))
    smaller.total, smaller.error = frequent.total, smaller.error + frequent.error
    return smaller
