"""What is remembered of partitions between two commits."""

import numpy as np

from monitor.partitions import EventTimes, Partition, owned_delta
from monitor.store.positions import Claim, Place

PLACE = Place("flights", 0)


def claim(**changed: object) -> Claim:
    """Return what a claim of a partition that was read before gives."""
    values = {
        "place": PLACE,
        "epoch": 3,
        "token": "t",
        "next_offset": 40,
        "max_event_ms": 900,
        "reached_end": False,
        "stopped_reason": None,
        "seen": [],
        "models": {"a": 900, "b": 100},
    }
    return Claim(**(values | changed))  # type: ignore[arg-type]


def test_a_commit_takes_what_was_counted_and_the_next_one_begins_anew() -> None:
    times = EventTimes()
    partition = Partition.of(claim(), times.add_slot({"a": 900}), 600_000)
    partition.next_offset, partition.fetched = 50, 10
    partition.outcomes |= {"counted": 7, "late": 3}
    times.late(np.array([partition.slot]), times.index_of(["c"]), np.array([950]), np.array([10]), now_ms=77)
    [delta] = owned_delta({PLACE: partition}, times, now_ms=1_000)
    assert (delta.from_offset, delta.next_offset, delta.fetched) == (40, 50, 10)
    assert (delta.outcomes["counted"], delta.outcomes["late"]) == (7, 3)
    assert delta.models == {"c": (950, 77)}
    partition.committed_up_to(delta)
    partition.outcomes["counted"] += 1
    [again] = owned_delta({PLACE: partition}, times, now_ms=2_000)
    assert (again.from_offset, again.next_offset, again.fetched) == (50, 50, 0)
    assert (again.outcomes["counted"], again.outcomes["late"], again.models) == (1, 0, {})
    assert delta.outcomes["counted"] == 7  # what was handed out does not change


def test_a_partition_is_at_its_end_from_when_it_got_there_until_more_comes() -> None:
    partition = Partition.of(claim(), 0, 0)

    def end(now_ms: int) -> tuple[int | None, bool]:
        delta = partition.delta({}, now_ms)
        partition.committed_up_to(delta)
        return delta.at_end_since_ms, delta.reached_end

    assert end(1_000) == (None, False)  # not known yet
    partition.at_end()
    assert end(2_000) == (2_000, True)
    assert end(3_000) == (2_000, True)  # nothing came
    partition.fetched, partition.end_seen = 5, False
    assert end(4_000) == (None, True)  # behind
    partition.fetched = 5
    partition.at_end()
    assert end(5_000) == (5_000, True)


def test_stopped_partitions_commit_nothing() -> None:
    partition = Partition.of(claim(stopped_reason="gone"), 0, 0)
    assert partition.stopped
    assert owned_delta({PLACE: partition}, EventTimes(), now_ms=1) == []


def test_slots_are_used_again_and_remember_nothing_of_whom_they_were() -> None:
    times = EventTimes()
    first = times.add_slot({"a": 500})
    times.late(np.array([first]), times.index_of(["a"]), np.array([600]), np.array([0]), now_ms=1)
    times.free_slot(first)
    second = times.add_slot({"b": 5})
    assert second == first
    assert times.take_touched(second) == {}
    late = times.late(np.array([second]), times.index_of(["a"]), np.array([0]), np.array([0]), now_ms=1)
    assert not late.any()


def test_thousands_of_models_and_partitions_grow_the_matrix_and_keep_what_is_in_it() -> None:
    times = EventTimes()
    slots = [times.add_slot({f"m{number}": number}) for number in range(100)]
    models = times.index_of([f"m{number}" for number in range(5_000)])
    assert len(models) == len(set(models.tolist())) == 5_000
    assert [int(times.newest[slot, models[number]]) for number, slot in enumerate(slots)] == list(range(100))
    assert times.newest.nbytes + times.arrived.nbytes < 40_000_000
