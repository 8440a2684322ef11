"""`Seen` answers like a plain list of all events, however messages are batched, stored and restored."""

from itertools import accumulate, pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.seen import BUCKET_MS, Seen

IDS = st.sampled_from([0, 1, 2, 3, 2**63, 2**64 - 1])
RESTS_MS = st.integers(0, BUCKET_MS - 1)
ANYHOW = st.lists(st.tuples(IDS, st.integers(0, 40), RESTS_MS), max_size=60)


def forwards(steps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Events whose minutes go on by a step each: ids come again within the window, and just after it."""
    minutes = accumulate(step for _, step, _ in steps)
    return [(id_, minute, rest) for (id_, _, rest), minute in zip(steps, minutes, strict=True)]


EVENTS = ANYHOW | st.lists(st.tuples(IDS, st.integers(0, 6), RESTS_MS), max_size=60).map(forwards)


def oracle(events: list[tuple[int, int, int]], width: int) -> list[bool]:
    """Look at one event after the other."""
    answers = []
    counted: dict[int, list[int]] = {}
    newest = 0
    for hash_, minute, _ in events:
        newest = max(newest, minute)
        is_duplicate = width > 0 and any(newest - earlier <= width for earlier in counted.get(hash_, []))
        answers.append(is_duplicate)
        if not is_duplicate:
            counted.setdefault(hash_, []).append(newest)
    return answers


def ask(seen: Seen, events: list[tuple[int, int, int]]) -> list[bool]:
    """Ask about a batch."""
    hashes = np.array([hash_ for hash_, _, _ in events], np.uint64)
    stamps = np.array([minute * BUCKET_MS + rest for _, minute, rest in events], np.int64)
    return seen.check(hashes, stamps).tolist()


@settings(max_examples=300)  # cheap, and a mistake may need an id, a time and a cut that fit
@given(EVENTS, st.integers(0, 12), st.lists(st.integers(0, 60), max_size=6))
def test_any_batching_gives_the_answers_of_one_event_after_the_other(
    events: list[tuple[int, int, int]], width: int, cuts: list[int]
) -> None:
    seen = Seen(width * BUCKET_MS)
    bounds = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    answers = [answer for a, b in pairwise(bounds) for answer in ask(seen, events[a:b])]
    assert answers == oracle(events, width)


@given(EVENTS, st.integers(0, 12), st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=6))
def test_storing_restoring_and_forgetting_at_any_point_changes_no_answer(
    events: list[tuple[int, int, int]], width: int, cuts: list[tuple[int, bool]]
) -> None:
    """Between two cuts stands a commit; after some of them the process dies and its successor restores."""
    stored: list[tuple[int, bytes]] = []
    seen = Seen(width * BUCKET_MS)
    answers = []
    begin = 0
    for cut, dies in [*sorted(cuts), (len(events), False)]:
        answers += ask(seen, events[begin:cut])
        begin = max(begin, min(cut, len(events)))
        stored += seen.take_new()
        stored = [row for row in stored if row[0] >= seen.forget_before_ms]
        if dies:
            seen = Seen(width * BUCKET_MS)
            seen.restore(stored)
    assert answers == oracle(events, width)


@given(EVENTS, st.lists(st.integers(0, 60), max_size=6))
def test_what_was_not_stored_is_forgotten_by_a_restore(
    events: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    """A batch that was asked about but never stored comes again after a restore, with the same answers."""
    stored: list[tuple[int, bytes]] = []
    seen = Seen(10 * BUCKET_MS)
    bounds = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    for a, b in pairwise(bounds):
        first = ask(seen, events[a:b])
        seen = Seen(10 * BUCKET_MS)
        seen.restore(stored)
        assert ask(seen, events[a:b]) == first
        stored += seen.take_new()
