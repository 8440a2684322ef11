"""How events arrived: any split, any order, stored or not, on bins or not: the same counts as by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.arrivals import EDGES_MS
from detectors.prepared import Prepared
from detectors.profile import Profile, profile_batch
from detectors.quality.facts import Facts
from detectors.reference import build
from schemas.arrived import Arrived
from schemas.batch import Batch
from tests.properties.batches import ROWS, SLICE_MS, Row, batch_of

EVENTS = st.lists(
    st.tuples(ROWS, st.integers(-(10**11), 10**11), st.booleans(), st.integers(0, 2)), min_size=1, max_size=30
)
CUTS = st.lists(st.integers(0, 30), max_size=4)
Event = tuple[Row, int, bool, int]


def arrived(events: list[Event]) -> Batch:
    batch = batch_of([row for row, *_ in events])
    came = batch.event_ms + np.array([lag for _, lag, *_ in events], np.int64)
    return replace(batch, arrived=Arrived(came, np.array([behind for _, _, behind, _ in events], bool)))


def profiled(events: list[Event]) -> dict[int, Profile]:
    found = profile_batch(arrived(events), SLICE_MS)
    for row, *_, repeated in events:
        found[row.event_ms // SLICE_MS * SLICE_MS].arrivals.repeat(repeated)
    return found


def by_hand(events: list[Event]) -> tuple[int, int, int, Counter[int]]:
    lags: Counter[int] = Counter()
    for row, lag, *_ in events:
        if row.event_ms + lag > 0:
            lags[sum(lag >= edge for edge in EDGES_MS.tolist())] += 1
    return len(events), sum(repeated for *_, repeated in events), sum(event[2] for event in events), lags


def numbers(profile: Profile) -> tuple[int, int, int, Counter[int]]:
    found = profile.arrivals
    return found.told, found.repeated, found.behind, Counter(dict(enumerate(found.lags.tolist())))


@given(EVENTS, CUTS, st.randoms(use_true_random=False))
def test_any_split_and_any_order_give_the_same_counts(
    events: list[Event], cuts: list[int], order: Random
) -> None:
    bounds = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    parts = [profile for a, b in pairwise(bounds) if a < b for profile in profiled(events[a:b]).values()]
    order.shuffle(parts)
    merged = Profile()
    for part in parts:
        merged.merge(Profile.from_bytes(part.to_bytes()) if order.random() < 0.5 else part)
    assert numbers(merged) == by_hand(events)


@given(EVENTS)
def test_bins_change_no_count(events: list[Event]) -> None:
    learned = profiled(events)
    reference = build(learned, slice_ms=SLICE_MS, window_ms=SLICE_MS, segments=("origin",))
    moved = Profile(reference.binning, reference.hash)
    for profile in learned.values():
        moved.merge(profile.rebinned(reference.binning, reference.hash)[0])
    assert numbers(moved) == by_hand(events)
    assert reference.quality is not None
    told, repeated, behind, lags = by_hand(events)
    assert reference.quality.arrivals.sum(axis=0).tolist() == [told, repeated, behind]
    assert Counter(dict(enumerate(reference.quality.lags.sum(axis=0).tolist()))) == lags
    again = type(reference).from_bytes(reference.to_bytes())
    assert again.hash == reference.hash
    assert again.quality is not None
    for name, part in vars(reference.quality).items():
        assert np.array_equal(getattr(again.quality, name), part), name


@pytest.mark.filterwarnings("ignore:overflow encountered")
@given(EVENTS, EVENTS)
def test_a_table_gives_the_same_facts_as_a_stream(old: list[Event], events: list[Event]) -> None:
    reference = build(
        profile_batch(batch_of([row for row, *_ in old], late=False), SLICE_MS),
        slice_ms=SLICE_MS,
        window_ms=SLICE_MS,
        segments=("origin",),
        max_segment_values=2,
    )
    batch = batch_of([row for row, *_ in events])
    streamed = Profile(reference.binning, reference.hash)
    for profile in profile_batch(batch, SLICE_MS, reference.binning, reference.hash).values():
        streamed.merge(Profile.from_bytes(profile.to_bytes(), reference.binning))
    one = Facts.of(streamed)
    other = Facts.nothing(reference.binning)
    prepared = Prepared(batch, reference.binning, SLICE_MS)
    for section in prepared.sections:
        other = other.plus(Facts.of_section(prepared, section, reference.binning))
    assert (one.counts == other.counts).all()
    assert one.lowest.tolist() == other.lowest.tolist()
    assert one.highest.tolist() == other.highest.tolist()
    assert one.unknown == other.unknown
