"""Examples of broken rules: any split, any order, stored or not, and the same events are kept."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors.profile import Profile, profile_batch
from schemas.batch import Batch
from schemas.column import Kind
from schemas.contract import ColumnRules, Contract, Tally, TallyState
from schemas.examples import Example, Examples, of
from schemas.origins import Origins
from tests.properties.batches import BAD, ROWS, SLICE_MS, Row, batch_of

MOST = 3
CONTRACT = Contract(
    (
        ColumnRules("x", Kind.NUMERIC, low=-1.0, high=3.0, counts_missing=True),
        ColumnRules("c", Kind.CATEGORICAL, values=("UA", "é"), is_personal=True),
    ),
    examples=MOST,
)
SOME_ROWS = st.lists(ROWS, min_size=1, max_size=30)
CUTS = st.lists(st.integers(0, 30), max_size=4)


def known(rows: list[Row]) -> Batch:
    """Rows that know where they came from; row i has the id ``e<i>``."""
    batch, n = batch_of(rows), len(rows)
    keys = np.array([(i + 1) * 0x9E3779B97F4A7C15 % 2**64 for i in range(n)], np.uint64)
    slots = np.arange(n) % 2
    origins = Origins([f"e{i}" for i in range(n)], slots, np.arange(n) + 100, {0: ("t", 0), 1: ("t", 1)})
    return replace(batch, keys=keys, origins=origins)


def shown(profile: Profile) -> dict[tuple[str, str], Examples]:
    return {(key.check, key.column): found for key, found in profile.violations.examples.items()}


@given(SOME_ROWS, CUTS, st.randoms(use_true_random=False))
def test_any_split_and_any_order_keep_the_same_events(
    rows: list[Row], cuts: list[int], order: Random
) -> None:
    every = known(rows)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [
        profile
        for a, b in pairwise(bounds)
        for profile in profile_batch(every.take(np.arange(a, b)), SLICE_MS, contract=CONTRACT).values()
    ]
    order.shuffle(parts)
    merged, whole = Profile(), Profile()
    for part in parts:
        merged.merge(Profile.from_bytes(part.to_bytes()) if order.random() < 0.5 else part)
    for profile in profile_batch(every, SLICE_MS, contract=CONTRACT).values():
        whole.merge(profile)
    assert shown(merged) == shown(whole)
    assert merged.violations.state() == whole.violations.state()
    assert every.keys is not None
    wrong = [i for i, row in enumerate(rows) if row.x is BAD]
    wanted = sorted(wrong, key=lambda i: int(every.keys[i]))[:MOST]  # type: ignore[index]
    found = shown(whole).get(("type", "x"), Examples(MOST))
    assert [one.event_id for one in found.kept] == [f"e{i}" for i in wanted]
    for one in found.kept:
        i = int(one.event_id[1:])
        assert (one.event_ms, one.partition, one.offset) == (rows[i].event_ms, i % 2, i + 100)
        assert one.values == (("x", "(of another type)"),)
    personal = shown(whole).get(("allowed", "c"), Examples(MOST))
    assert all(one.values == (("c", None),) for one in personal.kept)


EXAMPLES = st.builds(
    Example, st.integers(0, 2**64 - 1), st.integers(0, 9), st.sampled_from("abc"), st.just("t"),
    st.integers(0, 2), st.integers(0, 5), st.just((("x", "1"),)),
)  # fmt: skip
PARTS = st.lists(st.tuples(st.integers(1, 6), st.lists(EXAMPLES, max_size=9)), min_size=1, max_size=5)


@given(PARTS, st.randoms(use_true_random=False))
def test_parts_that_keep_different_numbers_add_up_in_any_order(
    parts: list[tuple[int, list[Example]]], order: Random
) -> None:
    made = [of(most, examples) for most, examples in parts]
    least = min(most for most, _ in parts)
    wanted = of(least, [example for _, examples in parts for example in examples])
    for _ in range(3):
        order.shuffle(made)
        total = made[0]
        for part in made[1:]:
            total = total.plus(part)
        assert total == wanted
    assert len(wanted.kept) <= least


def test_states_from_before_there_were_examples_are_read() -> None:
    old = msgspec.msgpack.encode([("range", "age", "t", 7, 2, 5, 9)])
    tally = Tally.from_state(msgspec.msgpack.decode(old, type=TallyState))
    ((key, count),) = tally.counts.items()
    assert (key.check, tuple(count), tally.examples) == ("range", (7, 2, 5, 9), {})
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(tally.state()), type=TallyState)
    assert Tally.from_state(again).counts == tally.counts


def test_examples_are_bounded_whatever_events_hold() -> None:
    from schemas.checks.example_batches import batch

    long = batch(categorical={"c": ["x" * 100_000, "\x00"]})
    origins = Origins(["y" * 1_024, "\x00"], np.zeros(2, np.int64), np.zeros(2, np.int64), {0: ("t", 0)})
    sized = replace(long, keys=np.array([1, 2], np.uint64), origins=origins)
    contract = Contract((ColumnRules("c", values=("a",)),), examples=20)
    (profile,) = profile_batch(sized, SLICE_MS, contract=contract).values()
    (examples,) = (found for key, found in profile.violations.examples.items() if key.check == "allowed")
    assert [len(one.event_id) for one in examples.kept] == [100, 4]
    assert examples.kept[1].values == (("c", r"'\x00'"),)
    assert len(msgspec.msgpack.encode(profile.violations.state())) < 600


def test_without_examples_nothing_is_kept() -> None:
    batch = known([Row(0, BAD, BAD, None, None)])
    for contract in (replace(CONTRACT, examples=0), CONTRACT):
        source = batch if contract.examples == 0 else replace(batch, origins=None)
        (profile,) = profile_batch(source, SLICE_MS, contract=contract).values()
        assert profile.violations.examples == {}
        assert profile.violations.counts
