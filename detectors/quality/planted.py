"""Invented events with or without a fault, as the profiles of a service, for the examples of watches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from detectors.prepared import Prepared
from detectors.profile import Profile
from detectors.quality.facts import Facts
from detectors.reference import Reference, build
from schemas.batch import MISSING, OK, Batch, Categories
from schemas.column import ColumnSpec, Kind

WINDOW_MS = 3_600_000
ROWS = 1_000
_REFERENCE_WINDOWS = 40
_CARRIERS = ("UA", "DL", "B6", "AA", "XX")
_SHARES = (0.4, 0.3, 0.2, 0.1, 0.0)

Fault = Callable[[Batch], Batch]


def planted_reference(seed: int) -> Reference:
    """Return a reference of 40 hours of events; see `planted_batch`."""
    generator = np.random.default_rng(seed)
    slices = {
        start: _profile(planted_batch(generator, start), None)
        for start in range(0, _REFERENCE_WINDOWS * WINDOW_MS, WINDOW_MS)
    }
    return build(slices, slice_ms=WINDOW_MS, window_ms=WINDOW_MS, segments=("carrier",))


def planted_facts(
    reference: Reference, seed: int, windows: int, fault: Fault | None = None
) -> tuple[Facts, ...]:
    """Return windows after the reference, each of its events changed by a fault."""
    generator = np.random.default_rng(seed)
    found = []
    for at in range(windows):
        batch = planted_batch(generator, (_REFERENCE_WINDOWS + at) * WINDOW_MS)
        found.append(Facts.of(_profile(batch if fault is None else fault(batch), reference)))
    return tuple(found)


def planted_batch(generator: np.random.Generator, start_ms: int) -> Batch:
    """Return an hour of events: ``amount`` (2 % missing), ``age`` (whole numbers) and ``carrier``."""
    times = start_ms + np.sort(generator.integers(0, WINDOW_MS, ROWS))
    numbers = np.stack([generator.normal(50, 10, ROWS).round(2), generator.integers(18, 90, ROWS)])
    status = np.full(numbers.shape, OK, np.uint8)
    status[0, generator.random(ROWS) < 0.02] = MISSING
    codes = generator.choice(len(_CARRIERS), ROWS, p=_SHARES).astype(np.int32)
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


def _profile(batch: Batch, reference: Reference | None) -> Profile:
    binning = None if reference is None else reference.binning
    profile = Profile(binning, "" if reference is None else reference.hash, ROWS)
    prepared = Prepared(batch, binning, WINDOW_MS)
    for section in prepared.sections:
        profile.add(prepared, section)
    return profile


def of_some(seed: int, share: float) -> NDArray[np.bool_]:
    """Return which rows a fault hits."""
    hit: NDArray[np.bool_] = np.random.default_rng(seed).random(ROWS) < share
    return hit
