"""Which events are late, by an oracle that looks at one after the other; and how far event time has come."""

from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.partitions import EventTimes
from monitor.watermark import ModelTime, PartitionTime, watermark_ms

MODELS = ["a", "b", "c"]
HORIZON_MS = {"a": 10, "b": 0, "c": 1_000}
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(MODELS), st.one_of(st.integers(0, 40), st.integers(0, 10**13))
    ),
    max_size=40,
)
CUTS = st.lists(st.integers(0, 40), max_size=5)


def late(
    times: EventTimes, slots: list[int], events: list[tuple[int, str, int]], now_ms: int = 5
) -> list[bool]:
    """Ask about a batch."""
    if not events:
        return []
    names = sorted({model for _, model, _ in events}, reverse=True)
    columns = dict(zip(names, times.index_of(names).tolist(), strict=True))
    answers = times.late(
        np.array([slots[partition] for partition, _, _ in events]),
        np.array([columns[model] for _, model, _ in events]),
        np.array([at_ms for _, _, at_ms in events]),
        np.array([HORIZON_MS[model] for _, model, _ in events]),
        now_ms,
    )
    return [bool(answer) for answer in answers]


def oracle(events: list[tuple[int, str, int]]) -> tuple[list[bool], dict[tuple[int, str], int]]:
    """Look at one event after the other."""
    newest: dict[tuple[int, str], int] = {}
    answers = []
    for partition, model, at_ms in events:
        before = newest.get((partition, model), -1)
        answers.append(at_ms < before - HORIZON_MS[model])
        newest[partition, model] = max(before, at_ms)
    return answers, newest


@given(EVENTS, CUTS)
@example([(0, "a", 20), (0, "a", 9), (0, "a", 10), (1, "a", 0)], [1])
def test_any_batching_gives_the_answers_of_one_event_after_the_other(
    events: list[tuple[int, str, int]], cuts: list[int]
) -> None:
    times = EventTimes()
    slots = [times.add_slot({}) for _ in range(3)]
    bounds = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    answers = [answer for a, b in pairwise(bounds) for answer in late(times, slots, events[a:b])]
    wanted, newest = oracle(events)
    assert answers == wanted
    touched = {(p, m): at for p, slot in enumerate(slots) for m, (at, _) in times.take_touched(slot).items()}
    assert touched == newest
    assert all(times.take_touched(slot) == {} for slot in slots)


@given(EVENTS, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=5))
def test_partitions_that_go_and_come_back_go_on_where_they_stood(
    events: list[tuple[int, str, int]], moves: list[tuple[int, int]]
) -> None:
    """What was stored of a partition is all that its next owner needs; the slot may be another one."""
    times = EventTimes()
    slots = [times.add_slot({}) for _ in range(3)]
    stored: list[dict[str, int]] = [{}, {}, {}]
    answers = []
    begin = 0
    for cut, partition in [*sorted(moves), (len(events), 0)]:
        answers += late(times, slots, events[begin:cut])
        begin = max(begin, min(cut, len(events)))
        for number, slot in enumerate(slots):
            stored[number] |= {model: at for model, (at, _) in times.take_touched(slot).items()}
        times.free_slot(slots[partition])
        times.add_slot({"x": 7})  # somebody else's partition takes the place
        slots[partition] = times.add_slot(stored[partition])
    assert answers == oracle(events)[0]


# --- watermarks -------------------------------------------------------------------------------------------

INSTANTS = st.integers(0, 100)
PARTITIONS = st.lists(
    st.tuples(
        st.builds(PartitionTime, st.none() | INSTANTS, st.none() | INSTANTS, st.booleans(), st.booleans()),
        st.none() | st.builds(ModelTime, INSTANTS, INSTANTS),
    ),
    max_size=5,
)
SETTINGS = {"lateness_ms": 7, "idle_after_ms": 10}


def plain(partitions: list[tuple[PartitionTime, ModelTime | None]], now_ms: int) -> int | None:
    """Write the rule down once more, partition by partition."""
    models = [model for _, model in partitions if model is not None]
    if not models:
        return None
    holding = []
    for partition, model in partitions:
        if partition.stopped:
            continue
        if model is None:
            if not partition.reached_end:
                holding.append(-1 if partition.max_event_ms is None else partition.max_event_ms)
        elif (
            partition.at_end_since_ms is None
            or now_ms < max(partition.at_end_since_ms, model.arrived_at_ms) + 10
        ):
            holding.append(model.max_event_ms)
    if holding:
        return min(holding) - 7
    newest = max(models, key=lambda model: model.max_event_ms)
    return newest.max_event_ms + max(0, now_ms - newest.arrived_at_ms) - 7


@given(PARTITIONS, INSTANTS)
def test_the_watermark_is_what_the_rule_says(
    partitions: list[tuple[PartitionTime, ModelTime | None]], now_ms: int
) -> None:
    assert watermark_ms(partitions, now_ms=now_ms, **SETTINGS) == plain(partitions, now_ms)


@given(PARTITIONS, INSTANTS, st.integers(0, 50))
def test_the_watermark_does_not_fall_as_the_clock_goes_on(
    partitions: list[tuple[PartitionTime, ModelTime | None]], now_ms: int, more_ms: int
) -> None:
    before = watermark_ms(partitions, now_ms=now_ms, **SETTINGS)
    after = watermark_ms(partitions, now_ms=now_ms + more_ms, **SETTINGS)
    assert (before is None) == (after is None)
    assert before is None or (after is not None and after >= before)


@given(PARTITIONS, INSTANTS, st.integers(1, 50))
def test_lateness_holds_event_time_back_by_itself(
    partitions: list[tuple[PartitionTime, ModelTime | None]], now_ms: int, more_ms: int
) -> None:
    before = watermark_ms(partitions, now_ms=now_ms, **SETTINGS)
    if before is not None:
        later = watermark_ms(partitions, now_ms=now_ms, lateness_ms=7 + more_ms, idle_after_ms=10)
        assert later == before - more_ms


@given(PARTITIONS, st.integers(0, 4), INSTANTS, INSTANTS)
def test_a_busy_partition_that_moves_on_never_takes_the_watermark_back(
    partitions: list[tuple[PartitionTime, ModelTime | None]], which: int, further: int, now_ms: int
) -> None:
    busy = [(PartitionTime(p.max_event_ms, None, p.reached_end), m) for p, m in partitions]
    before = watermark_ms(busy, now_ms=now_ms, **SETTINGS)
    if before is None or which >= len(busy):
        return
    partition, model = busy[which]
    if model is not None:
        busy[which] = (partition, ModelTime(model.max_event_ms + further, now_ms))
        after = watermark_ms(busy, now_ms=now_ms, **SETTINGS)
        assert after is not None
        assert after >= before
