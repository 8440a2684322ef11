"""One side of a comparison: the rows of a range of event time, merged from stored slices."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasketches import kll_floats_sketch
from sqlalchemy import Connection

from detectors.partial_profile import read_moments
from detectors.quantiles import K
from detectors.reference import Reference
from detectors.summary import SummaryState
from detectors.tensor import IntArray
from monitor.store.queries.slice_counts import slice_bytes, slice_total
from monitor.store.queries.slices import Span
from monitor.web.console.model.on_bins import Bins, thinned
from monitor.web.context import Context
from schemas.column import Kind

MOST_SLICES = 400  # of one side: a tenth of a second
MOST_COUNTED = 200_000
QUANTILES = (0.05, 0.5, 0.95)


@dataclass
class Numbers:
    """What is known of the values of one column: counts, moments, quantiles of numbers."""

    kind: Kind
    source: str
    ok: int = 0
    invalid: int = 0
    total: float = 0.0
    sketch: Any = None

    def add(self, state: SummaryState) -> None:
        """Add the summary of one slice."""
        self.ok, self.invalid = self.ok + state.ok, self.invalid + state.invalid
        if self.kind is not Kind.NUMERIC or state.spec.kind is not Kind.NUMERIC:
            return
        self.total += state.sum
        if state.quantiles:
            self.sketch = kll_floats_sketch(K) if self.sketch is None else self.sketch
            self.sketch.merge(kll_floats_sketch.deserialize(state.quantiles))

    @property
    def mean(self) -> float | None:
        """Of valid numbers."""
        value = self.total / self.ok if self.kind is Kind.NUMERIC and self.ok else None
        return value if value is not None and math.isfinite(value) else None

    @property
    def quantiles(self) -> list[float]:
        """The 5 %, 50 % and 95 % quantiles; empty where there are none."""
        if self.sketch is None or self.sketch.is_empty():
            return []
        return [float(value) for value in self.sketch.get_quantiles(list(QUANTILES))]


@dataclass
class Side:
    """The rows of a range.

    Parameters
    ----------
    version : str
    from_ms, to_ms : int
    rows : int
        That were read: all, or those of every n-th slice.
    stride : int
    columns : dict of str to Numbers
    counts : dict of str to IntArray
        ``[bins]`` by the hash of the reference whose bins they are on.
    """

    version: str
    from_ms: int
    to_ms: int
    rows: int = 0
    stride: int = 1
    columns: dict[str, Numbers] = field(default_factory=dict)
    counts: dict[str, IntArray] = field(default_factory=dict)

    def missing(self, name: str) -> float | None:
        """Share of the rows without a value."""
        if name not in self.columns or not self.rows:
            return None
        return max(0.0, 1 - (self.columns[name].ok + self.columns[name].invalid) / self.rows)

    def invalid(self, name: str) -> float | None:
        """Share of the rows with an invalid value."""
        return self.columns[name].invalid / self.rows if name in self.columns and self.rows else None


def side_of(
    context: Context, connection: Connection, model: str, version: str, from_ms: int, to_ms: int
) -> Side:
    """Merge the slices of a version over a range; of very many, every n-th."""
    span = Span(model, from_ms, to_ms, version)
    total = slice_total(connection, span, MOST_COUNTED)
    stride = 1 if total <= MOST_SLICES else -(-total // MOST_SLICES) | 1
    slice_ms = context.configuration.for_model(model).slice_ms
    found = Side(version, from_ms, to_ms, stride=stride)
    bins = Bins(context, connection, model, {version})
    for row in thinned(slice_bytes(connection, span, slice_ms, stride)):
        rows, states = read_moments(row.bytes)
        found.rows += rows
        for state in states:
            known = found.columns.get(state.spec.name)
            if known is None:
                known = found.columns[state.spec.name] = Numbers(state.spec.kind, str(state.spec.source))
            known.add(state)
        on_bins = bins.of(row)
        if on_bins is not None:
            before = found.counts.get(on_bins.hash)
            found.counts[on_bins.hash] = on_bins.counts + (0 if before is None else before)
    return found


def common_reference(context: Context, connection: Connection, sides: Iterable[Side]) -> Reference | None:
    """Find the reference on whose bins both sides have most rows; None if there is no such reference."""
    first, second = sides
    shared = set(first.counts) & set(second.counts)
    if not shared:
        return None
    best = max(sorted(shared), key=lambda hash_: min(_rows(first, hash_), _rows(second, hash_)))
    return context.reference(connection, best)


def _rows(side: Side, hash_: str) -> int:
    return int(np.asarray(side.counts[hash_]).sum())
