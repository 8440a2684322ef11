"""Duplicates: sizes, and cases that are easy to get wrong."""

import time

import numpy as np

from monitor.seen import BUCKET_MS, Seen


def test_ids_of_a_window_take_sixteen_bytes_each_and_older_ones_none() -> None:
    seen = Seen(10 * BUCKET_MS)
    rng = np.random.default_rng(1)
    stored: dict[tuple[int, int], tuple[int, bytes]] = {}
    held = []
    for minute in range(60):
        hashes = rng.integers(0, 2**64, 5_000, np.uint64)
        assert not seen.check(hashes, np.full(5_000, minute * BUCKET_MS)).any()
        stored |= {(minute, i): row for i, row in enumerate(seen.take_new())}
        stored = {key: row for key, row in stored.items() if row[0] >= seen.forget_before_ms}
        held.append(sum(h.nbytes + b.nbytes for h, b in seen._runs))
    assert max(held) <= 11 * 5_000 * 16 * 4 / 3
    assert sum(len(data) for _, data in stored.values()) == 11 * 5_000 * 16


def test_a_producer_that_repeats_one_event_costs_no_more_than_others() -> None:
    seen = Seen(10 * BUCKET_MS)
    same = np.zeros(50_000, np.uint64)
    began = time.process_time()
    answers = seen.check(same, np.arange(50_000) * 30)  # 25 minutes
    assert time.process_time() - began < 2
    assert (~answers).sum() == 3
    assert np.flatnonzero(~answers).tolist() == [0, 11 * 2_000, 22 * 2_000]


def test_commits_without_new_ids_store_nothing() -> None:
    seen = Seen(10 * BUCKET_MS)
    one = np.array([7], np.uint64)
    assert seen.take_new() == []
    seen.check(one, np.array([5 * BUCKET_MS]))
    assert [start for start, _ in seen.take_new()] == [5 * BUCKET_MS]
    assert seen.check(one, np.array([5 * BUCKET_MS])).all()
    assert seen.take_new() == []


def test_a_batch_that_spans_more_than_the_window_finds_what_was_known_at_its_beginning() -> None:
    seen = Seen(10 * BUCKET_MS)
    seen.check(np.array([7], np.uint64), np.array([0]))
    answers = seen.check(np.array([7, 8, 7], np.uint64), np.array([5, 30, 30]) * BUCKET_MS)
    assert answers.tolist() == [True, False, False]


def test_ids_that_are_older_than_the_window_when_they_are_restored_are_forgotten() -> None:
    old, seen = Seen(10 * BUCKET_MS), Seen(10 * BUCKET_MS)
    one = np.array([7], np.uint64)
    old.check(one, np.array([0]))
    seen.restore([*old.take_new(), (20 * BUCKET_MS, b"")])
    assert not seen.check(one, np.array([0])).any()
    assert seen.check(one, np.array([20 * BUCKET_MS])).all()


def test_a_window_of_zero_remembers_nothing() -> None:
    seen = Seen(0)
    assert not seen.check(np.zeros(3, np.uint64), np.zeros(3, np.int64)).any()
    assert seen.take_new() == []
