"""Samples of whole rows: any split, any order of adding and merging, stored or not: the same rows."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.profile import Profile, profile_batch
from detectors.sample import EVERY_KEY, Sample, SampleState, union
from schemas.batch import INVALID, MISSING, OK, Batch, Categories, concatenate, with_kinds
from schemas.column import ColumnSpec, Kind
from tests.properties.batches import BAD, ROWS, SLICE_MS, Row, batch_of, categories

Keyed = tuple[int, Row]

# Few keys, so that many rows share one; all keys, with the highest, which is never below a threshold.
KEYS = st.integers(0, 12) | st.integers(0, EVERY_KEY) | st.just(EVERY_KEY)
SOME = st.lists(st.tuples(KEYS, ROWS), max_size=40)
CUTS = st.lists(st.integers(0, 40), max_size=6)
MOST = st.sampled_from([1, 2, 3, 5, 9, 100])
RANDOM = st.randoms(use_true_random=False)
HOLES = {MISSING: None, INVALID: "<invalid>"}


def keyed(rows: list[Keyed]) -> Batch:
    """Put rows into columns; a part in which nobody has the last column, or a segment, lacks it."""
    plain = [row for _, row in rows]
    late = any(row.late is not None for row in plain)
    segments = any(row.origin is not None for row in plain)
    made = batch_of(plain, late=late, segments=segments)
    return replace(made, keys=np.array([key for key, _ in rows], np.uint64))


def parts_of(rows: list[Keyed], cuts: list[int]) -> list[list[Keyed]]:
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    return [rows[a:b] for a, b in pairwise(bounds)]


def columns_of(batch: Batch) -> dict[str, list[Any]]:
    """Values of every column and segment, as Python has them."""
    found: dict[str, list[Any]] = {}
    for spec, values, status in zip(batch.numeric, batch.numbers.tolist(), batch.status, strict=True):
        found[spec.name] = [
            value if state == OK else HOLES[state]
            for value, state in zip(values, status.tolist(), strict=True)
        ]
    for spec, one in zip(batch.categorical, batch.categories, strict=True):
        found[spec.name] = names_of(one)
    for spec, status in batch.vectors:
        found[spec.name] = ["present" if state == OK else HOLES[state] for state in status.tolist()]
    for name, one in (batch.segments or {}).items():
        found[f"segment {name}"] = names_of(one)
    return found


def names_of(found: Categories) -> list[Any]:
    names = found.values.to_pylist()
    return [names[code] if code >= 0 else (None, "<invalid>")[-code - 1] for code in found.codes.tolist()]


def told(sample: Sample) -> Counter[str]:
    """The rows of a sample; a column that is not there is missing."""
    batch = sample.batch
    if batch is None:
        return Counter()
    assert batch.keys is not None
    columns = columns_of(batch)
    return Counter(
        repr(
            (
                key,
                event_ms,
                sorted((name, values[i]) for name, values in columns.items() if values[i] is not None),
            )
        )
        for i, (key, event_ms) in enumerate(zip(batch.keys.tolist(), batch.event_ms.tolist(), strict=True))
    )


def expected(rows: list[Keyed], threshold: int) -> Counter[str]:
    """Rows with keys below a threshold, told as above."""
    found: Counter[str] = Counter()
    for key, row in rows:
        if key < threshold:
            values = {
                "x": row.x,
                "late": row.late,
                "c": row.c,
                "v": row.v if row.v is None or row.v is BAD else "present",
                "segment origin": row.origin,
            }
            there = {name: "<invalid>" if v is BAD else v for name, v in values.items() if v is not None}
            found[repr((key, row.event_ms, sorted(there.items())))] += 1
    return found


def lowest(rows: list[Keyed], most: int) -> int:
    """Key number most + 1 of all rows."""
    keys = sorted(key for key, _ in rows)
    return keys[most] if len(keys) > most else EVERY_KEY


def stored(sample: Sample) -> Sample:
    data = msgspec.msgpack.encode(sample.state())
    return Sample.from_state(msgspec.msgpack.decode(data, type=SampleState))


def sampled(rows: list[Keyed], most: int) -> Sample:
    sample = Sample(most)
    sample.add(keyed(rows))
    return sample


@given(SOME, MOST)
def test_a_sample_holds_the_rows_below_key_number_most_plus_one(rows: list[Keyed], most: int) -> None:
    sample = sampled(rows, most)
    assert sample.threshold == lowest(rows, most)
    assert told(sample) == expected(rows, sample.threshold)
    assert sample.rows == sum(told(sample).values()) <= most
    batch = sample.batch
    if batch is not None and batch.keys is not None:
        assert (np.diff(batch.keys.astype(object)) >= 0).all()


@given(SOME, MOST, CUTS, RANDOM)
def test_any_split_and_any_order_give_the_same_rows(
    rows: list[Keyed], most: int, cuts: list[int], order: Random
) -> None:
    whole = sampled(rows, most)
    shuffled = rows.copy()
    order.shuffle(shuffled)
    piles = [Sample(most + order.choice([0, 0, 1, 3])) for _ in range(3)]
    for part in parts_of(shuffled, cuts):
        pile = order.randrange(3)
        if order.random() < 0.3:  # a section of a longer batch
            around = order.randrange(len(rows) + 1)
            batch = keyed(rows[:around] + part + rows[around:])
            piles[pile].add(batch, around, around + len(part))
        elif order.random() < 0.5:
            other = sampled(part, piles[pile].most)
            piles[pile].merge(stored(other) if order.random() < 0.5 else other)
        else:
            piles[pile].add(keyed(part))
        if order.random() < 0.4:
            piles[pile] = stored(piles[pile])
    order.shuffle(piles)
    total = Sample(most)
    total.merge(*piles)
    for found in (total, stored(total)):
        assert (found.most, found.threshold, found.rows) == (most, whole.threshold, whole.rows)
        assert told(found) == told(whole)


@settings(max_examples=20)
@given(st.lists(st.tuples(KEYS, ROWS), min_size=70, max_size=90), MOST, RANDOM)
def test_more_parts_than_are_kept_side_by_side(rows: list[Keyed], most: int, order: Random) -> None:
    added, merged = Sample(most), Sample(most)
    for row in order.sample(rows, len(rows)):
        added.add(keyed([row]))
    merged.merge(*(sampled([row], most) for row in rows))
    threshold = lowest(rows, most)
    for found in (added, merged):
        assert told(found) == expected(rows, threshold)
        assert found.threshold == threshold


@given(SOME, st.lists(MOST, min_size=4, max_size=4), MOST, RANDOM)
def test_a_union_holds_every_row_below_the_lowest_threshold(
    rows: list[Keyed], sizes: list[int], most: int, order: Random
) -> None:
    slices: dict[int, list[Keyed]] = {}
    for row in rows:
        slices.setdefault(row[1].event_ms // SLICE_MS, []).append(row)
    samples = [sampled(mine, sizes[at]) for at, mine in slices.items()]
    below = min((sample.threshold for sample in samples), default=EVERY_KEY)
    there = [row for row in rows if row[0] < below]
    threshold = min(below, lowest(there, most))
    order.shuffle(samples)
    found = union((stored(sample) if order.random() < 0.5 else sample for sample in samples), most)
    assert found.threshold == threshold
    assert told(found) == expected(rows, threshold)
    assert found.rows <= most
    again = union(reversed(samples), most)
    assert (again.threshold, told(again)) == (found.threshold, told(found))


@given(SOME, MOST, CUTS, RANDOM)
def test_profiles_bring_their_sample_along(
    rows: list[Keyed], most: int, cuts: list[int], order: Random
) -> None:
    parts = [profile_batch(keyed(part), SLICE_MS, sample_rows=most) for part in parts_of(rows, cuts)]
    order.shuffle(parts)
    slices: dict[int, Profile] = {}
    for part in parts:
        for start, profile in part.items():
            again = Profile.from_bytes(profile.to_bytes())
            if order.random() < 0.5:  # not even looked at
                again = Profile.from_bytes(again.to_bytes())
            slices.setdefault(start, Profile(sample_rows=most)).merge(
                profile if order.random() < 0.3 else again
            )
    for start, profile in slices.items():
        mine = [row for row in rows if row[1].event_ms // SLICE_MS * SLICE_MS == start]
        read = Profile.from_bytes(profile.to_bytes())
        for found in (profile.sample, read.sample):
            assert (found.most, found.threshold) == (most, lowest(mine, most))
            assert told(found) == expected(mine, found.threshold)


# --- concatenate --------------------------------------------------------------------------------------------


def frame_of(batch: Batch) -> pd.DataFrame:
    columns = columns_of(batch) | {"event_ms": batch.event_ms.tolist()}
    if batch.keys is not None:
        columns["key"] = batch.keys.tolist()
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


@given(SOME, CUTS, st.booleans())
def test_concatenating_is_what_pandas_does(rows: list[Keyed], cuts: list[int], with_keys: bool) -> None:
    batches = [keyed(part) for part in parts_of(rows, cuts)]
    if not with_keys:
        batches[-1] = replace(batches[-1], keys=None)
    found = concatenate(batches)
    assert (found.keys is None) is not with_keys
    frames = [
        frame_of(batch).drop(columns=[] if with_keys else ["key"], errors="ignore") for batch in batches
    ]
    wanted = pd.concat(frames, ignore_index=True).astype(object)
    wanted = wanted.where(wanted.notna(), None)
    mine = frame_of(found)
    assert set(mine.columns) == set(wanted.columns)
    for name in mine.columns:
        assert list(map(repr, mine[name])) == list(map(repr, wanted[name]))
    assert (found.numbers[found.status != OK] == 0).all()


COLUMNS: dict[Kind, Callable[[ColumnSpec], dict[str, Any]]] = {
    Kind.NUMERIC: lambda spec: {
        "numeric": (spec,),
        "numbers": np.array([[1.5, 0.0, 0.0]]),
        "status": np.array([[OK, MISSING, INVALID]], np.uint8),
    },
    Kind.CATEGORICAL: lambda spec: {
        "categorical": (spec,),
        "categories": (categories(["a", None, BAD]),),
    },
    Kind.VECTOR: lambda spec: {"vectors": ((spec, np.array([OK, MISSING, INVALID], np.uint8)),)},
}
FIRST = {Kind.NUMERIC: 1.5, Kind.CATEGORICAL: "a", Kind.VECTOR: "present"}


@pytest.mark.parametrize("wanted", list(Kind))
@pytest.mark.parametrize("other", list(Kind))
@pytest.mark.parametrize("turned", [False, True])
def test_values_of_another_kind_than_the_wanted_are_invalid(wanted: Kind, other: Kind, turned: bool) -> None:
    nothing: dict[str, Any] = {
        "event_ms": np.arange(3),
        "numeric": (),
        "numbers": np.zeros((0, 3)),
        "status": np.zeros((0, 3), np.uint8),
    }
    order = (other, wanted) if turned else (wanted, other)
    batches = [Batch(**(nothing | COLUMNS[kind](ColumnSpec("a", kind)))) for kind in order]
    found = with_kinds(concatenate([Batch(**nothing), *batches]), {"a": wanted})
    assert [(spec.name, spec.kind) for spec in found.columns] == [("a", wanted)]
    values = [(FIRST[kind] if kind is wanted else "<invalid>", None, "<invalid>") for kind in order]
    assert columns_of(found) == {"a": [None, None, None, *values[0], *values[1]]}
    assert with_kinds(found, {"a": wanted}) is found
    assert with_kinds(found, {}) is found
