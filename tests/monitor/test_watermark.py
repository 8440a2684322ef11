"""How far event time has come, by example."""

import pytest

from monitor.watermark import ModelTime, PartitionTime, watermark_ms

BUSY = PartitionTime(max_event_ms=5_000, at_end_since_ms=None, reached_end=True)
QUIET = PartitionTime(max_event_ms=4_000, at_end_since_ms=50_000, reached_end=True)
NEW = PartitionTime(max_event_ms=None, at_end_since_ms=None, reached_end=False)
BEHIND = PartitionTime(max_event_ms=3_000, at_end_since_ms=None, reached_end=False)
STOPPED = PartitionTime(max_event_ms=1, at_end_since_ms=None, reached_end=False, stopped=True)
SEEN = ModelTime(max_event_ms=5_000, arrived_at_ms=95_000)
OLD = ModelTime(max_event_ms=4_000, arrived_at_ms=60_000)


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [
        ([], None),
        ([(NEW, None)], None),  # no event of the model yet
        ([(BUSY, SEEN)], 4_000),
        ([(BUSY, SEEN), (BEHIND, None)], 2_000),  # may still bring earlier events of the model
        ([(BUSY, SEEN), (NEW, None)], -1_001),  # not looked at yet
        ([(BUSY, SEEN), (STOPPED, None)], 4_000),  # holds nothing back
        ([(BUSY, SEEN), (STOPPED, OLD)], 4_000),
        ([(BUSY, SEEN), (QUIET, None)], 4_000),  # read to its end, and nothing of the model in it
        ([(BUSY, SEEN), (QUIET, OLD)], 4_000),  # idle
        ([(BUSY, OLD), (BUSY, SEEN)], 3_000),  # not idle: events of other models are waiting in it
        ([(QUIET, OLD)], 4_000 + 40_000 - 1_000),  # all idle: the wall clock goes on from the last event
        ([(QUIET, SEEN)], 4_000),  # at its end, but the last event has only just come
    ],
)
def test_which_partitions_hold_event_time_back(
    partitions: list[tuple[PartitionTime, ModelTime | None]], expected: int | None
) -> None:
    assert watermark_ms(partitions, lateness_ms=1_000, idle_after_ms=10_000, now_ms=100_000) == expected


def test_a_clock_that_is_turned_back_does_not_take_event_time_below_the_last_event() -> None:
    found = watermark_ms([(QUIET, OLD)], lateness_ms=0, idle_after_ms=0, now_ms=50_000)
    assert found == 4_000
