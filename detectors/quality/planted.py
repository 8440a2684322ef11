"""Invented events with or without a fault, as the profiles of a service, for the examples of watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.prepared import Prepared
from detectors.profile import Profile
from detectors.quality.facts import Facts
from detectors.reference import Reference, build
from schemas.arrived import Arrived
from schemas.batch import MISSING, OK, Batch, Categories
from schemas.column import ColumnSpec, Kind

WINDOW_MS = 3_600_000
ROWS = 1_000
_REFERENCE_WINDOWS = 40
_CARRIERS = ("UA", "DL", "B6", "AA", "XX")
_SHARES = (0.4, 0.3, 0.2, 0.1, 0.0)

Fault = Callable[[Batch], Batch]


@dataclass(frozen=True)
class Traffic:
    """How events of a stream come.

    Parameters
    ----------
    rows : float
        In an hour, on average.
    spread : float
        Standard deviation of their number from hour to hour, as a part of it, beyond chance.
    repeated, behind : float
        Share that comes once more, and that comes out of order.
    late_ms : float
        Median of their lag.
    """

    rows: float = ROWS
    spread: float = 0.05
    repeated: float = 0.005
    behind: float = 0.01
    late_ms: float = 2_000.0


@lru_cache(maxsize=16)
def planted_reference(seed: int, traffic: Traffic | None = None) -> Reference:
    """Return a reference of 40 hours of events; see `planted_batch`."""
    slices = dict(_hours(seed, 0, _REFERENCE_WINDOWS, None, None, traffic))
    return build(slices, slice_ms=WINDOW_MS, window_ms=WINDOW_MS, segments=("carrier",))


def planted_facts(
    reference: Reference,
    seed: int,
    windows: int,
    fault: Fault | None = None,
    traffic: Traffic | None = None,
) -> tuple[Facts, ...]:
    """Return windows after the reference, each of its events changed by a fault."""
    hours = _hours(seed, _REFERENCE_WINDOWS, windows, reference, fault, traffic)
    return tuple(Facts.of(profile) for _, profile in hours)


def planted_batch(generator: np.random.Generator, start_ms: int, rows: int = ROWS) -> Batch:
    """Return an hour of events: ``amount`` (2 % missing), ``age`` (whole numbers) and ``carrier``."""
    times = start_ms + np.sort(generator.integers(0, WINDOW_MS, rows))
    numbers = np.stack([generator.normal(50, 10, rows).round(2), generator.integers(18, 90, rows)])
    status = np.full(numbers.shape, OK, np.uint8)
    status[0, generator.random(rows) < 0.02] = MISSING
    codes = generator.choice(len(_CARRIERS), rows, p=_SHARES).astype(np.int32)
    carriers = Categories(codes, pa.array(_CARRIERS, pa.string()))
    return Batch(
        times,
        (ColumnSpec("amount", Kind.NUMERIC), ColumnSpec("age", Kind.NUMERIC)),
        np.where(status == OK, numbers, 0.0),
        status,
        (ColumnSpec("carrier", Kind.CATEGORICAL),),
        (carriers,),
        segments={"carrier": carriers},
    )


def _hours(
    seed: int,
    first: int,
    hours: int,
    reference: Reference | None,
    fault: Fault | None,
    traffic: Traffic | None,
) -> Iterator[tuple[int, Profile]]:
    """Profile hour after hour; what traffic adds to events comes from another generator than the events."""
    generator, coming = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    binning = None if reference is None else reference.binning
    for start_ms in range(first * WINDOW_MS, (first + hours) * WINDOW_MS, WINDOW_MS):
        rows = ROWS if traffic is None else _rows(coming, traffic)
        batch = planted_batch(generator, start_ms, rows)
        batch = replace(batch, keys=coming.integers(0, 2**64, rows, np.uint64, endpoint=False))
        profile = Profile(binning, "" if reference is None else reference.hash, ROWS)
        if traffic is not None:
            batch = replace(batch, arrived=_arrived(coming, batch, traffic))
            profile.arrivals.repeat(int(coming.binomial(rows, traffic.repeated)))
        prepared = Prepared(batch if fault is None else fault(batch), binning, WINDOW_MS)
        for section in prepared.sections:
            profile.add(prepared, section)
        yield start_ms, profile


def _rows(generator: np.random.Generator, traffic: Traffic) -> int:
    shape = 1 / traffic.spread**2
    return max(1, int(generator.poisson(generator.gamma(shape, traffic.rows / shape))))


def _arrived(generator: np.random.Generator, batch: Batch, traffic: Traffic) -> Arrived:
    lags = traffic.late_ms * np.exp(generator.normal(0, 0.5, len(batch)))
    return Arrived(batch.event_ms + lags.astype(np.int64) + 1, generator.random(len(batch)) < traffic.behind)


def of_some(seed: int, share: float) -> NDArray[np.bool_]:
    """Return which rows a fault hits."""
    hit: NDArray[np.bool_] = np.random.default_rng(seed).random(ROWS) < share
    return hit
