"""Values of another type than their column has: found all at once, and read as if each had been looked at."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.decode import features as features_module
from monitor.decode import odd_rows as odd_rows_module
from monitor.decode.columns import Columns
from monitor.decode.features import TEACHERS, FeatureDecoder
from monitor.decode.odd_rows import FEWEST, odd_rows
from tests.monitor.test_formats_in_columns import shown

SCHEMA = pa.schema(
    {
        "number": pa.float64(),
        "whole": pa.int64(),
        "text": pa.string(),
        "truth": pa.bool_(),
        "list": pa.list_(pa.float64()),
        "user": pa.struct({"age": pa.float64(), "é.+ x": pa.string()}),
    }
)
RIGHT: dict[str, Any] = {"number": -1.5, "whole": 7, "text": "a", "truth": True, "list": [1.5, None]}
WRONG: dict[str, tuple[Any, ...]] = {
    "number": ("n/a", True, [1.5], {"a": 1}),
    "whole": ("7", False, [7], {}, 1.5, -2e3),
    "text": (1, -1.5, True, ["a"], {"b": "a"}),
    "truth": ("true", 0, -1, [True], {}),
    "list": ("[1]", 1.5, -1, True, {"a": [1]}),
}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\t", " \t: \n")])
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, several in WRONG.items() for value in several]
)
def test_each_type_knows_what_is_none_of_its_values(
    name: str, value: Any, separators: tuple[str, str]
) -> None:
    good = [
        RIGHT,
        dict.fromkeys(RIGHT),
        {},
        {"user": {"age": 3}},
        {"user": None},
        {"text": '"number": "n/a"'},
    ]
    objects: list[dict[str, Any]] = [*good * 60, RIGHT | {name: value}, {"user": {"age": "3", "é.+ x": None}}]
    raws = [json.dumps(one, separators=separators, ensure_ascii=False).encode() for one in objects]
    odd = odd_rows(raws, SCHEMA)
    assert odd is not None
    assert np.flatnonzero(odd).tolist() == [len(raws) - 2, len(raws) - 1]


def test_where_it_cannot_be_told() -> None:
    right, wrong = b'{"x": 1.5}', b'{"x": "n/a"}'
    numbers = pa.schema({"x": pa.float64()})
    assert odd_rows([right] * (FEWEST - 1), numbers) is None  # too few to be worth it
    assert odd_rows([right] * FEWEST, pa.schema({"user": pa.struct({})})) is None
    assert odd_rows([right, wrong, wrong] * FEWEST, numbers) is None  # most of them
    several = pa.schema({"x": pa.float64(), "user": pa.struct({"x": pa.string()})})
    assert odd_rows([right] * FEWEST, several) is None  # a key that is two things
    assert (
        odd_rows([right] * FEWEST, pa.schema({f"{'x' * 400}{at}": pa.float64() for at in range(60)})) is None
    )


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 2**70), st.floats(),
    st.sampled_from(["a", '"', '"x0": "b"', "é"]),
    st.lists(st.floats() | st.none(), max_size=2), st.fixed_dictionaries({"x0": st.integers(0, 3)}),
)  # fmt: skip
USUAL: tuple[Any, ...] = (1.5, 7, "a", True, [1.5], {"x0": 1, "y": "b"})


@st.composite
def blocks(draw: st.DrawFn) -> list[bytes]:
    """Objects that are mostly alike, a few of which have values of other types, new keys, or no end."""
    columns = {f"x{at}": draw(st.sampled_from(USUAL)) for at in range(draw(st.integers(1, 4)))}
    objects: list[Any] = [columns] * (TEACHERS + 25)
    raws = [json.dumps(one).encode() for one in objects]
    for at in draw(st.lists(st.integers(0, len(raws) - 1), max_size=8)):
        changed = columns | draw(st.dictionaries(st.sampled_from([*columns, "new"]), VALUES, max_size=2))
        raw = json.dumps(changed, separators=draw(st.sampled_from([(",", ":"), (", ", " : ")]))).encode()
        raws[at] = draw(st.sampled_from([raw, raw, raw, raw[:-1], raw[:-1] + b',"x0":1}']))
    return raws


@given(several=st.lists(blocks(), min_size=1, max_size=2))
def test_the_same_comes_out_as_if_each_had_been_looked_at(several: list[list[bytes]]) -> None:
    """Also in the next block, with what the decoder has learned from the one before."""
    ours, theirs = (FeatureDecoder(Columns({}, 500)) for _ in range(2))
    for raws in several:
        with mock.patch.object(odd_rows_module, "FEWEST", 4):
            found = ours.decode(raws)
        with mock.patch.object(features_module, "odd_rows", return_value=None):
            wanted = theirs.decode(raws)
        assert shown(found[0]) == shown(wanted[0])
        assert found[1].tolist() == wanted[1].tolist()
        assert found[2] == wanted[2]
        assert ours.columns.now.columns == theirs.columns.now.columns


def test_only_the_rows_concerned_are_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    raws = [b'{"number": 1.5, "text": "a"}'] * 2_000
    decoder = FeatureDecoder(Columns({}, 500))
    decoder.decode(raws)
    raws[::100] = [b'{"number": "n/a", "text": "a"}'] * 20
    looked_at: list[int] = []
    passing, one_by_one = FeatureDecoder._passing, FeatureDecoder._one_by_one

    def counted_passing(self: Any, raws: Any, rows: Any, *rest: Any) -> Any:
        looked_at.append(len(rows))
        return passing(self, raws, rows, *rest)

    def counted(self: Any, raws: Any, rows: Any, *rest: Any) -> None:
        looked_at.append(len(rows))
        one_by_one(self, raws, rows, *rest)

    monkeypatch.setattr(FeatureDecoder, "_passing", counted_passing)
    monkeypatch.setattr(FeatureDecoder, "_one_by_one", counted)
    found, rows, problems = decoder.decode(raws)
    assert (len(rows), problems) == (2_000, [])
    assert np.flatnonzero(found.status[0]).tolist() == list(range(0, 2_000, 100))
    assert sum(looked_at) <= 20 + TEACHERS
