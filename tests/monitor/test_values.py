"""Values of many events: in columns the same comes out as from Python objects, one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.decode.batch import Events, Messages, Outputs, to_categories, to_numbers
from monitor.decode.json import Json
from monitor.decode.plain_columns import plain_column
from monitor.decode.values import (
    ArrowValues,
    Repeated,
    ValueParts,
    Values,
    are_all_missing,
    first_of,
    taken,
)
from monitor.profiling import _refused
from schemas.batch import Categories

KINDS: tuple[tuple[pa.DataType, st.SearchStrategy[Any]], ...] = (
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3)),
    (pa.float64(), st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.0])),
    (pa.string(), st.text(st.sampled_from("a\0\ufffdé"), max_size=2)),
    (pa.bool_(), st.booleans()),
)


@st.composite
def columns(draw: st.DrawFn) -> Values:
    """Values as decoders give them, of any of the three sorts."""
    kind, values = draw(st.sampled_from(KINDS))
    if draw(st.booleans()):
        return Repeated(draw(values | st.none()), draw(st.integers(0, 5)))
    listed = draw(st.lists(values | st.none(), max_size=9))
    column = pa.array(listed, kind)
    return draw(
        st.sampled_from([listed, ArrowValues(column), ArrowValues(pa.concat_arrays([column] * 2)[3:])])
    )


def named(categories: Categories) -> list[Any]:
    """Categories with the names of the values in place of their codes."""
    assert len(set(categories.values.to_pylist())) == len(categories.values)
    names = categories.values.to_pylist()
    return [names[code] if code >= 0 else code for code in categories.codes.tolist()]


@given(values=columns())
def test_numbers_and_categories(values: Values) -> None:
    listed = list(values)
    pairs = zip(to_numbers(values), to_numbers(listed), strict=True)
    for ours, theirs in pairs:
        assert isinstance(ours, np.ndarray)
        assert isinstance(theirs, np.ndarray)
        assert (str(ours.dtype), ours.tolist()) == (str(theirs.dtype), theirs.tolist())
    found, wanted = to_categories(values), to_categories(listed)
    assert found.codes.dtype == np.dtype(np.int32)
    assert named(found) == named(wanted)


@given(values=columns(), data=st.data())
def test_they_are_sequences(values: Values, data: st.DataObject) -> None:
    listed = list(values)
    assert len(values) == len(listed)
    assert are_all_missing(values) is all(one is None for one in listed)
    assert first_of(values) == next((one for one in listed if one is not None), None)
    begin, end = (data.draw(st.integers(-10, 10)) for _ in range(2))
    assert list(values[begin:end]) == listed[begin:end]
    at = data.draw(st.lists(st.integers(0, len(listed) - 1), max_size=5)) if listed else []
    assert list(taken(values, at)) == [listed[place] for place in at]
    for place in (*at, *(-1 - place for place in at)):
        assert values[place] == listed[place]
    for beyond in (len(listed), -len(listed) - 1):
        with pytest.raises(IndexError):
            values[beyond]
    for one in (*listed[:3], None, "z"):
        assert values.count(one) == listed.count(one)


@given(several=st.lists(columns(), max_size=4), data=st.data())
def test_parts_are_put_together(several: list[Values], data: st.DataObject) -> None:
    parts = ValueParts()
    wanted: list[Any] = []
    for values in several:
        parts.extend(values)
        wanted += values
        if data.draw(st.booleans()):
            assert repr(list(parts.whole())) == repr(wanted)
    assert len(parts) == len(wanted)
    assert repr(list(parts.whole())) == repr(wanted)


def test_columns_stay_columns() -> None:
    """Objects are made where they cannot be helped only, as each of them costs as much as the whole event."""
    parts = ValueParts(ArrowValues(pa.array([1.5, 2.5])))
    parts.extend(ArrowValues(pa.array([None, 3.5])))
    assert isinstance(parts.whole(), ArrowValues)
    same = ValueParts(Repeated("m", 2))
    same.extend(Repeated("m", 1))
    assert same.whole() == Repeated("m", 3)
    same.extend(Repeated("n", 1))
    assert list(same.whole()) == ["m", "m", "m", "n"]


def test_a_list_that_was_handed_over_does_not_grow() -> None:
    given_over = [1, 2]
    parts = ValueParts()
    parts.extend(given_over)
    parts.extend([3])
    assert (given_over, list(parts.whole())) == ([1, 2], [1, 2, 3])


def test_numbers_that_are_not_finite_are_invalid() -> None:
    numbers, status = to_numbers(ArrowValues(pa.array([1.5, math.inf, math.nan, None])))
    assert (numbers.tolist(), status.tolist()) == ([1.5, 0.0, 0.0, 0.0], [0, 2, 2, 1])


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1.7e308, 1.7e308, -1.0], [1.7e308, 1.7e308, -1.0]),  # finite, although their sum is not
        ([math.inf, -math.inf, 2.5], [None, None, 2.5]),
        ([math.nan, 1.0], [None, 1.0]),
        ([math.inf, None, 1.0], [None, None, 1.0]),
        ([], []),
    ],
)
def test_numbers_of_columns_are_finite_or_missing(values: list[Any], wanted: list[Any]) -> None:
    column = plain_column(pa.array(values, pa.float64()))
    assert column is not None
    assert column.to_pylist() == wanted


def event(id_: int) -> bytes:
    """A native event."""
    return b'{"event_id": "%d", "model": "m", "timestamp": %d, "prediction": 1}' % (id_, id_)


@pytest.mark.parametrize("at", [None, slice(1, 5), [0, 2, 3, 5]])
def test_each_event_knows_its_message_which_is_kept_once(at: Sequence[int] | slice | None) -> None:
    """Of six events in three messages, of which a worker may refuse any."""
    envelopes = Json().decode([event(number) for number in range(6)])
    rows = np.array([0, 0, 2, 2, 2, 5])
    envelopes = type(envelopes)(**{**vars(envelopes), "row": rows})
    values = [b"m%d" % number for number in range(6)]
    numbers = np.arange(6)
    messages = Messages(values, [f"raw {value!r}" for value in values], numbers, numbers, numbers, {})
    events = Events()
    for _ in range(2):
        events.extend(envelopes, at, messages)
    wanted = rows.tolist() if at is None else rows[at].tolist()
    found = np.concatenate(events.message).tolist()
    assert [events.value[place] for place in found] == [b"m%d" % row for row in wanted * 2]
    assert [events.raw[place] for place in found] == [f"raw {values[row]!r}" for row in wanted * 2]
    assert len(events.value) == 2 * len(set(wanted))
    last = len(found) - 1
    refused = _refused(events, [(1, "a"), (last, "b")], "contract")
    assert [(one.offset, one.value, one.raw, one.stamp_ms, one.reason) for one in refused] == [
        (row, b"m%d" % row, f"raw {values[row]!r}", row, reason)
        for row, reason in ((wanted[1], "a"), (wanted[-1], "b"))
    ]
    assert Outputs().widened(events).prediction is not None
