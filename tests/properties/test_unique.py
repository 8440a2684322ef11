"""Different values of columns with the rule `unique`: of any split and order, stored or not."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from detectors.distinct import FINE_EXACT, FINE_PRECISION
from detectors.prepared import Prepared
from detectors.profile import Profile, profile_batch
from detectors.reference import build
from detectors.ruled import RuleCounts
from schemas.batch import MISSING, OK, Batch, Categories
from schemas.column import ColumnSpec, Kind
from schemas.contract import ColumnRules, Contract
from tests.properties.batches import BAD, ROWS, SLICE_MS, Row, batch_of

CONTRACT = Contract((ColumnRules("x", is_unique=True), ColumnRules("c", is_unique=True), ColumnRules("late")))
SOME_ROWS = st.lists(ROWS, min_size=1, max_size=30)
CUTS = st.lists(st.integers(0, 30), max_size=4)


def different(rows: list[Row], name: str) -> int:
    values = [getattr(row, name) for row in rows]
    return len({value for value in values if value is not None and value is not BAD})


@given(SOME_ROWS, SOME_ROWS, CUTS, st.randoms(use_true_random=False))
def test_profiles_and_sections_count_different_values_exactly(
    old: list[Row], rows: list[Row], cuts: list[int], order: Random
) -> None:
    reference = build(
        profile_batch(batch_of(old), SLICE_MS),
        slice_ms=SLICE_MS, window_ms=SLICE_MS, segments=(), max_segment_values=1,
    )  # fmt: skip
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts, sections = [], []
    for a, b in pairwise(bounds):
        some = batch_of(rows[a:b])
        parts += [
            profile.rebinned(reference.binning, reference.hash)[0]
            for profile in profile_batch(some, SLICE_MS, contract=CONTRACT).values()
        ]
        prepared = Prepared(some, None, SLICE_MS, CONTRACT)
        sections += [RuleCounts.of_section(prepared, section, CONTRACT) for section in prepared.sections]
    order.shuffle(parts)
    order.shuffle(sections)
    merged = Profile(reference.binning, reference.hash)
    for part in parts:
        stored = Profile.from_bytes(part.to_bytes(), reference.binning)
        merged.merge(stored if order.random() < 0.5 else part)
    service, tables = RuleCounts.of(merged), RuleCounts.sum(sections)
    for name in ("x", "c"):
        for counts in (service, tables):
            values = counts.columns[name].distinct
            assert values.estimate() == different(rows, name)
            assert values.is_exact or values.is_empty
        if not values.is_empty:
            assert service.columns[name].distinct.to_bytes() == values.to_bytes()
    assert merged.summaries["late"].distinct.precision == 9  # only those with the rule pay


def batch(ids: np.ndarray, names: np.ndarray, status: np.ndarray) -> Batch:
    """A number and a name that should be unique, beside a number that need not be."""
    numbers = np.vstack([np.where(status == OK, ids, 0.0), np.zeros(len(ids))])
    used, codes = np.unique(names, return_inverse=True)
    return Batch(
        event_ms=np.arange(len(ids)),
        numeric=(ColumnSpec("id", Kind.NUMERIC), ColumnSpec("other", Kind.NUMERIC)),
        numbers=numbers,
        status=np.vstack([status, np.zeros(len(ids), np.uint8)]),
        categorical=(ColumnSpec("name", Kind.CATEGORICAL),),
        categories=(Categories(codes.astype(np.int32), pa.array([f"n{i}" for i in used])),),
    )


def test_many_values_are_estimated_within_a_thirtieth_by_any_split() -> None:
    rng = np.random.default_rng(9)
    contract = Contract((ColumnRules("id", is_unique=True), ColumnRules("name", is_unique=True)))
    ids, names = rng.integers(0, 40_000, (2, 60_000))
    status = np.where(rng.random(60_000) < 0.1, np.uint8(MISSING), np.uint8(OK))
    wanted = {"id": len(np.unique(ids[status == OK])), "name": len(np.unique(names))}
    found = []
    for parts in (3, 60):
        merged = Profile()
        for rows in np.array_split(rng.permutation(60_000), parts):
            some = batch(ids[rows].astype(float), names[rows], status[rows])
            for profile in profile_batch(some, SLICE_MS, contract=contract).values():
                merged.merge(Profile.from_bytes(profile.to_bytes()))
        found.append({name: merged.summaries[name].distinct.to_bytes() for name in wanted})
        for name, true in wanted.items():
            sketch = merged.summaries[name].distinct
            assert (sketch.precision, sketch.exact, sketch.is_exact) == (FINE_PRECISION, FINE_EXACT, False)
            assert abs(sketch.estimate() / true - 1) < 0.0325
        assert merged.summaries["other"].distinct.precision == 9
    assert found[0] == found[1]


def test_slices_from_before_the_rule_make_it_coarser_and_wrong_by_nothing() -> None:
    ids = np.arange(3_000.0)
    status, names = np.zeros(1_000, np.uint8), np.zeros(1_000, np.int64)
    contract = Contract((ColumnRules("id", is_unique=True),))
    merged = Profile()
    for part, known in zip(np.split(ids, 3), (None, contract, contract), strict=True):
        for profile in profile_batch(batch(part, names, status), SLICE_MS, contract=known).values():
            merged.merge(profile)
    whole = Profile()
    for part in np.split(ids, 3):
        for profile in profile_batch(batch(part, names, status), SLICE_MS).values():
            whole.merge(profile)
    assert merged.summaries["id"].distinct.to_bytes() == whole.summaries["id"].distinct.to_bytes()
