"""What a comparison counts is what a loop over rows, one by one, counts."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from functools import partial

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from monitor.decode.message import Message
from monitor.decode.reading import Reading
from monitor.skew import skew
from monitor.skew.batch import Wanted
from monitor.skew.compare import Terms
from monitor.skew.keys import Key
from monitor.skew.messages import EventReader, Fetch
from monitor.skew.run import find
from monitor.skew.sides import Side, training_side
from schemas.errors import UsageError

KEYS = st.sampled_from(["a", "b", "c", "d", None])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 0.5000001, 0.50001, 1e6 + 0.5, 1e6 + 1.0, 2.0**60, -0.0]),
    st.sampled_from(["x", "X", "1", "true", "0.5", "01", ""]),
)
ROW = st.fixed_dictionaries({"event_id": KEYS, "x": VALUES, "y": VALUES})
ROWS = st.lists(ROW, min_size=1, max_size=8)
RELATIVE = 1e-6


def number(value):
    """What a value means as a number, None for nothing."""
    if isinstance(value, bool | int | float):
        return float(value)
    if value.lower() in ("true", "false"):
        return float(value.lower() == "true")
    try:
        return None if value.startswith("01") else float(value)
    except ValueError:
        return None


def is_close(one, other):
    if one == other:
        return True
    if one.is_integer() and other.is_integer():
        return False
    return abs(one - other) <= RELATIVE * max(abs(one), abs(other))


def kind(value):
    return "truth" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"


def difference(one, other):
    """Compare two values, one by one."""
    if one is None or other is None:
        if one is other:
            return None
        return "missing_in_training" if one is None else "missing_in_events"
    if kind(one) == kind(other):
        same = one == other if kind(one) == "text" else is_close(float(one), float(other))
        return None if same else "value"
    left, right = number(one), number(other)
    return "type" if left is not None and right is not None and is_close(left, right) else "value"


def clear(rows):
    """Rows by key, without those whose key stands for rows that differ."""
    found = defaultdict(list)
    for row in rows:
        if row["event_id"] is not None:
            found[row["event_id"]].append({"x": row["x"], "y": row["y"]})

    def told(row):
        return [(None if v is None else kind(v), None if v is None else v + 0 if kind(v) != "text" else v)
                for v in row.values()]  # fmt: skip

    return {key: some[0] for key, some in found.items() if all(told(one) == told(some[0]) for one in some)}


def expected(training, events):
    """Count in a loop."""
    table = clear(training)
    served = clear([row for row in events if row["event_id"] in table])
    common = table.keys() & served.keys()
    counts: dict[str, Counter[str]] = {name: Counter() for name in "xy"}
    for key in common:
        for name in "xy":
            found = difference(table[key][name], served[key][name])
            if found is not None:
                counts[name][found] += 1
    return common, {name: dict(found) for name, found in counts.items()}


def frame(rows):
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in ROW_NAMES})


ROW_NAMES = ("event_id", "x", "y")


def told(found):
    return {column.name: {way: n for way, n in column.by.items() if n} for column in found.columns}


def messages(events):
    """Send events in messages of the service's own format, two at a time."""
    values = [
        json.dumps(
            {
                "event_id": row["event_id"], "model": "m", "timestamp": 1_767_225_600_000, "prediction": 1,
                "features": {"x": row["x"], "y": row["y"]},
            }
        ).encode()
        for row in events
        if row["event_id"] is not None
    ]  # fmt: skip
    for start in range(0, len(values), 2):
        part = values[start : start + 2]
        yield Fetch(part, partial(message_at, part))


def message_at(values, row):
    return Message(values[row])


def of_messages(training, events):
    key = Key.of([])
    reader = EventReader("json", Reading(), Wanted(("event_id",), model="m"))
    served = Side("messages", reader.read(messages(events)), readers=(reader,))
    return find(training_side(frame(training), key, None), served, Terms(key))


@given(ROWS, ROWS)
def test_counts_are_those_of_a_loop(training, events):
    common, counts = expected(training, events)
    for compare in (lambda: skew(frame(training), frame(events)), lambda: of_messages(training, events)):
        try:
            found = compare()
        except UsageError:
            assert not common
            continue
        assert found.keys.compared == len(common)
        assert told(found) == counts
        for column in found.columns:
            low, high = column.share.low, column.share.high
            assert low is not None
            assert high is not None
            assert low <= column.share.value <= high
            assert math.isclose(column.share.value, column.differ / len(common))


@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(training, events, random):
    if not expected(training, events)[0]:
        return
    first = skew(frame(training), frame(events), examples=0)
    again = skew(
        frame(random.sample(training, len(training))), frame(random.sample(events, len(events))), examples=0
    )
    assert again == first
