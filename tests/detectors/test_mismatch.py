"""Patterns that are planted are named, and nothing is named that is not there."""

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from detectors.intervals import exact_proportion
from detectors.mismatch import Difference, Tolerance, mismatch
from detectors.mismatch.values import Type, Values, concatenate, fingerprints, missing, of_numbers, of_texts

RNG = np.random.default_rng(7)
WAITS = RNG.gamma(2.0, 30.0, 400) + 0.123456
CELSIUS = "events look like °F → °C: (x − 32)/1.8 of the table"
SPELLING = "the texts differ in capitals or in spaces around them alone"
NAMES = RNG.choice(["DE", "FR", "US"], 400)


def truths(values):
    return Values(
        np.full(len(values), Type.TRUTH, np.uint8),
        np.array(values, float),
        pa.nulls(len(values), pa.string()),
    )


def words(training, events, **options):
    return [(one.name, one.words, one.rows) for one in mismatch(training, events, **options).patterns]


@pytest.mark.parametrize(
    ("events", "name", "text"),
    [
        (WAITS * 60, "factor", "events are 60 × the table (minutes → seconds)"),
        (WAITS / 1.609344, "factor", "events are 0.621371 × the table (kilometres → miles)"),
        (WAITS * 1.19, "factor", "events are 1.19 × the table"),
        (-WAITS, "factor", "events have the other sign"),
        ((WAITS - 32) / 1.8, "conversion", CELSIUS),
        (np.round((WAITS - 32) / 1.8, 1), "conversion", CELSIUS),
        (WAITS + 5, "shift", "events are the table + 5"),
        (WAITS - 0.25, "shift", "events are the table − 0.25"),
        (np.round(WAITS, 1), "rounding", "events are rounded to 1 decimal"),
        (np.floor(WAITS * 10 + 0.5) / 10, "rounding", "events are rounded to 1 decimal"),
        (np.round(WAITS, -1), "rounding", "events are rounded to multiples of 10"),
        (np.trunc(WAITS), "rounding", "events are cut off to whole numbers"),
        (WAITS.astype(np.float16).astype(float), "rounding", "events are rounded to float16"),
        (np.zeros(400), "constant", "events always have the same value: 0"),
    ],
)  # fmt: skip
def test_planted_rules_of_numbers(events, name, text):
    differ = mismatch(of_numbers(WAITS), of_numbers(events)).differ
    assert differ > 390
    assert words(of_numbers(WAITS), of_numbers(events)) == [(name, text, differ)]


@pytest.mark.parametrize(
    ("events", "name", "text"),
    [
        (np.char.add(np.char.lower(NAMES), " "), "spelling", SPELLING),
        (np.array([{"DE": "1", "FR": "2", "US": "3"}[x] for x in NAMES]), "recoded",
         "each value has another name: 'US' → '3' and 2 more"),
        (np.full(400, "other"), "constant", 'events always have the same value: "other"'),
    ],
)  # fmt: skip
def test_planted_rules_of_texts(events, name, text):
    usual = max(sorted({*NAMES.tolist()}), key=NAMES.tolist().count)
    expected = text.replace("'US' → '3'", f"'{usual}' → '{ {'DE': 1, 'FR': 2, 'US': 3}[usual] }'")
    assert words(of_texts(NAMES.tolist()), of_texts(events.tolist())) == [(name, expected, 400)]


def test_the_table_may_be_the_one_that_is_wrong():
    assert words(of_numbers(np.round(WAITS)), of_numbers(WAITS)) == [
        ("rounding", "the table's values are rounded to whole numbers", 400)
    ]
    assert words(of_numbers(np.ones(400)), of_numbers(WAITS)) == [
        ("constant", "the table always has the same value: 1", 400)
    ]


def test_two_faults_are_both_named():
    events = WAITS * 60
    events[:150] = np.round(WAITS[:150])
    assert words(of_numbers(WAITS), of_numbers(events)) == [
        ("factor", "events are 60 × the table (minutes → seconds)", 250),
        ("rounding", "events are rounded to whole numbers", 150),
    ]


@pytest.mark.parametrize(("events", "name"), [(lambda x: x * 60, "factor"), (lambda x: x + 59_000, "shift")])
def test_a_factor_is_told_from_a_shift_where_values_hardly_vary(events, name):
    narrow = 1_000 + RNG.random(400)
    assert [found for found, *_ in words(of_numbers(narrow), of_numbers(events(narrow)))] == [name]


def test_instants_of_another_zone():
    at = [1_767_225_600_000.0 + 61_000 * minute for minute in range(400)]
    assert words(of_numbers(at), of_numbers([instant + 7_200_000 for instant in at])) == [
        ("shift", "events are the table + 7,200,000 (2 h, as in another time zone)", 400)
    ]


def test_defaults_for_what_is_missing():
    holes = WAITS.copy()
    holes[::4] = np.nan
    filled = np.where(np.isnan(holes), -1.0, holes)
    assert words(of_numbers(holes), of_numbers(filled)) == [
        ("default", "missing in the table, filled in events: mostly -1", 100)
    ]
    assert words(of_numbers(filled), of_numbers(holes)) == [
        ("default", "missing in events, filled in the table: mostly -1", 100)
    ]
    assert words(of_numbers(holes), of_numbers(WAITS)) == []


def test_values_of_the_event_before():
    previous = np.arange(400) - 2
    previous[:2] = -1
    late = WAITS[np.maximum(np.arange(400) - 2, 0)]
    [(name, text, rows)] = words(of_numbers(WAITS), of_numbers(late), previous=previous)
    assert (name, rows) == ("stale", 398)
    assert text.startswith("events have the table's value of the entity's event before")
    [(name, text, rows)] = words(of_numbers(late), of_numbers(WAITS), previous=previous)
    assert (name, text, rows) == (
        "stale",
        "the table has the served value of the entity's event before: it is stale",
        398,
    )
    assert words(of_numbers(WAITS), of_numbers(late)) == []


def test_nothing_is_made_of_chance():
    shuffled = RNG.permutation(WAITS)
    assert words(of_numbers(WAITS), of_numbers(shuffled)) == []
    few, others = RNG.integers(0, 3, 400).astype(float), RNG.integers(0, 3, 400).astype(float)
    assert [name for name, *_ in words(of_numbers(few), of_numbers(others))] == []
    assert words(of_texts(NAMES.tolist()), of_texts(RNG.permutation(NAMES).tolist())) == []
    assert words(of_numbers(WAITS[:2]), of_numbers(WAITS[:2] * 60)) == []
    flags = np.zeros(400)
    assert words(of_numbers(flags), of_numbers(np.where(np.arange(400) < 50, 1.0, flags))) == []
    ids = [f"a{at}" for at in range(50)]
    assert words(of_texts(ids), of_texts([f"b{id_}" for id_ in ids])) == []


def test_halves_are_rounded_up_down_or_to_the_even_number():
    exact = np.arange(400) / 4 + 0.25
    for rounded in (np.floor(exact + 0.5), np.ceil(exact - 0.5), np.round(exact)):
        found = mismatch(of_numbers(exact), of_numbers(rounded))
        assert [(one.words, one.rows) for one in found.patterns] == [
            ("events are rounded to whole numbers", found.differ)
        ]


def test_types_that_differ():
    numbers, texts = of_numbers([1, 2, 3]), of_texts(["1", "2", "x"])
    found = mismatch(numbers, texts)
    assert found.codes.tolist() == [Difference.TYPE, Difference.TYPE, Difference.VALUE]
    assert [one.words for one in found.patterns] == [
        "the same value as another type: a number in the table, a text in events"
    ]
    assert mismatch(numbers, texts, Tolerance(any_type=True)).codes.tolist() == [0, 0, Difference.VALUE]
    assert mismatch(truths([1, 0, 1]), of_texts(["true", "False", "no"])).codes.tolist() == [2, 2, 1]
    assert mismatch(of_texts(["007"]), of_numbers([7])).codes.tolist() == [Difference.VALUE]


def test_whole_numbers_are_exact_and_others_nearly():
    at = [1_767_225_600_000, 5.0, 0.1, math.inf, 1.5]
    events = [1_767_225_600_001, 5.000001, float(np.float32(0.1)), math.inf, -math.inf]
    assert mismatch(of_numbers(at), of_numbers(events)).codes.tolist() == [1, 0, 0, 0, 1]
    exact = Tolerance(relative=0.0)
    assert mismatch(of_numbers(at), of_numbers(events), exact).codes.tolist() == [1, 1, 1, 0, 1]
    wide = Tolerance(relative=0.0, absolute=2.0)
    assert mismatch(of_numbers(at), of_numbers(events), wide).codes.tolist() == [0, 0, 0, 0, 1]


def test_lists_count_as_there():
    lists = Values(np.full(2, Type.LIST, np.uint8), np.zeros(2), pa.nulls(2, pa.string()))
    assert mismatch(lists, lists).differ == 0
    assert mismatch(lists, missing(2)).codes.tolist() == [Difference.MISSING_IN_EVENTS] * 2
    assert mismatch(lists, of_texts(["a list", "x"])).codes.tolist() == [1, 1]


def test_patterns_of_personal_columns_quote_no_value():
    [pattern] = mismatch(of_numbers(WAITS), of_numbers(np.full(400, 7.5))).patterns
    assert "7.5" in pattern.words
    assert pattern.without_values().words == "events always have the same value: hidden"
    [pattern] = mismatch(of_texts(["a"] * 6 + ["b"] * 6), of_texts(["x"] * 6 + ["y"] * 6)).patterns
    assert pattern.without_values().words == "each value has another name: hidden"
    [pattern] = mismatch(of_numbers([np.nan] * 5), of_numbers([7.5] * 5)).patterns
    assert pattern.without_values().words == "missing in the table, filled in events: hidden"


def test_fingerprints_tell_rows_apart_and_know_nothing_of_absent_columns():
    one = {"x": of_numbers([1, 1, np.nan, 1]), "y": of_texts(["1", None, "1", "1"])}
    found = fingerprints(one, 4)
    assert found[0] == found[3]
    assert len(set(found.tolist())) == 3
    assert fingerprints({"y": one["y"], "z": missing(4), "x": one["x"]}, 4).tolist() == found.tolist()
    swapped = fingerprints({"x": of_texts(["1"]), "y": of_numbers([1])}, 1)
    assert swapped[0] != found[0]
    assert fingerprints({"x": truths([1])}, 1)[0] != fingerprints({"x": of_numbers([1])}, 1)[0]


def test_parts_of_a_column_go_together():
    whole = concatenate([of_numbers([1.0, np.nan]), of_texts(["a"]), missing(1)])
    assert whole.labels().to_pylist() == ["1", None, "a", None]
    assert concatenate([]).labels().to_pylist() == []


@pytest.mark.parametrize(("k", "n"), [(0, 7), (1, 100), (50, 100), (7, 7), (3, 100_000)])
@pytest.mark.parametrize("level", [0.95, 0.999])
def test_the_exact_interval_is_that_of_scipy(k, n, level):
    found = exact_proportion(k, n, level)
    expected = stats.binomtest(k, n).proportion_ci(level, "exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_no_rows_have_no_share():
    assert exact_proportion(0, 0) is None
