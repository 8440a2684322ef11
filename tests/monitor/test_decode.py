"""Messages to envelopes: every byte string is an event or has a reason, and costs nobody else anything."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detectors.hashing import hash_strings
from monitor.decode import catalog
from monitor.decode.batch import Events, Messages, Outputs, make_batch, to_categories
from monitor.decode.columns import Columns
from monitor.decode.envelope import Envelopes
from monitor.decode.features import FeatureDecoder
from monitor.decode.json import LATEST_MS, Json, read_timestamps
from schemas.batch import CODE_INVALID, CODE_MISSING
from schemas.column import ColumnSpec, Kind, Source
from schemas.errors import UsageError

EVENT: dict[str, Any] = {
    "event_id": "f-1",
    "model": "flight-delay",
    "version": "3",
    "timestamp": "2013-03-01T10:00:00Z",
    "features": {"temp": 39.0, "carrier": "UA"},
    "prediction": 1,
    "score": 0.83,
    "latency_ms": 4.2,
    "tags": {"region": "eu"},
    "role": "challenger",
}


def message(**changed: Any) -> bytes:
    """One event; None removes a key."""
    return json.dumps({k: v for k, v in (EVENT | changed).items() if v is not None}).encode()


def test_a_full_event() -> None:
    got = Json().decode([message()])
    assert got.problems == []
    assert got.row.tolist() == [0]
    assert got.event_ms.tolist() == [1_362_132_000_000]
    assert got.id_hash.tolist() == hash_strings(pa.array(["f-1"])).tolist()
    assert (got.model, got.version, got.role) == (["flight-delay"], ["3"], ["challenger"])
    assert [json.loads(bytes(raw)) for raw in got.features] == [EVENT["features"]]
    assert (got.prediction, got.score, got.latency_ms) == ([1], [0.83], [4.2])
    assert (got.scores, got.error, got.tags) == ([None], [None], [{"region": "eu"}])


def test_the_least_that_an_event_needs() -> None:
    got = Json().decode([b'{"event_id":"a","model":"m","timestamp":0,"error":"timeout"}'])
    assert got.problems == []
    assert (got.version, got.role, got.prediction) == (["unversioned"], ["champion"], [None])
    assert bytes(got.features[0]) == b"{}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty message"),
        (b"nothing", "JSON is malformed: invalid character (byte 4)"),
        (b"[]", "Expected `object`, got `array`"),
        (b"\xef\xbb\xbf" + message(), "JSON is malformed: invalid character (byte 0)"),
        (message(event_id=None), "Object missing required field `event_id`"),
        (message(event_id=""), "Expected `str` of length >= 1 - at `$.event_id`"),
        (message(event_id=7), "Expected `str`, got `int` - at `$.event_id`"),
        (message(model="x" * 257), "Expected `str` of length <= 256 - at `$.model`"),
        (message(model="a\0"), "model: has a NUL character"),
        (message(version="a\0"), "version: has a NUL character"),
        (message(version=10**300), "version: has more than 256 digits"),
        (message(role="boss"), "Invalid enum value 'boss' - at `$.role`"),
        (message(prediction=None), "prediction: required, unless error is given"),
        (
            message(prediction=[1]),
            "Expected `bool | int | float | str | null`, got `array` - at `$.prediction`",
        ),
        (message(features=[1]), "features: not an object"),
        (message().replace(b'"UA"', b'"\xff"'), "features: not UTF-8"),
        (message().replace(b"39.0", b"NaN"), "JSON is malformed: invalid character (byte "),
        (message().replace(b"0.83", b"1e999"), "Number out of range - at `$.score`"),
        (
            message(timestamp="soon"),
            "timestamp: 'soon' is neither RFC 3339 with a zone nor epoch milliseconds",
        ),
        (message(timestamp="2013-03-01T10:00:00"), "timestamp: '2013-03-01T10:00:00' is neither RFC 3339"),
        (message(timestamp=-1), "timestamp: -1 is not between the years 1970 and 9999"),
        (message(timestamp=LATEST_MS), "timestamp: 253402300800000 is not between the years 1970 and 9999"),
        (message(timestamp=True), "Expected `int | str`, got `bool` - at `$.timestamp`"),
        (message().replace(b"39.0", b"[" * 5_000 + b"]" * 5_000), "nested too deeply"),
    ],
)
def test_what_is_no_event_has_a_reason_and_costs_no_neighbour(value: bytes, reason: str) -> None:
    got = Json().decode([message(event_id="before"), value, message(event_id="after")])
    assert got.row.tolist() == [0, 2]
    assert [row for row, _ in got.problems] == [1]
    assert got.problems[0][1].startswith(reason)
    assert got.id_hash.tolist() == hash_strings(pa.array(["before", "after"])).tolist()


def test_one_bad_message_in_a_hundred_costs_only_itself() -> None:
    values = [message(event_id=f"e{i}", features={"x": i}) if i % 100 else b"{broken" for i in range(1_000)]
    got = Json().decode(values)
    assert [row for row, _ in got.problems] == list(range(0, 1_000, 100))
    assert got.row.tolist() == [i for i in range(1_000) if i % 100]
    features, rows, problems = FeatureDecoder(Columns({}, 500)).decode(got.features)
    assert problems == []
    assert len(rows) == 990
    assert features.numbers[0].tolist() == [float(i) for i in range(1_000) if i % 100]


TEXT = st.one_of(st.text(min_size=1, max_size=6), st.sampled_from(["a", "\0", "ü", "\U0001f600"]))
FIELDS = st.fixed_dictionaries(
    {
        "event_id": TEXT,
        "model": TEXT,
        "timestamp": st.one_of(st.integers(-5, 2**45), st.datetimes().map(str)),
    },
    optional={
        "version": st.one_of(TEXT, st.integers(-(2**70), 2**70)),
        "features": st.dictionaries(TEXT, st.one_of(st.integers(), TEXT, st.none()), max_size=3),
        "prediction": st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), TEXT, st.none()),
        "score": st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 1), st.none()),
        "scores": st.dictionaries(TEXT, st.floats(0, 1), max_size=2),
        "error": st.one_of(TEXT, st.none()),
        "tags": st.dictionaries(TEXT, st.one_of(TEXT, st.integers()), max_size=2),
        "role": st.sampled_from(["champion", "shadow", "other"]),
        "more": st.integers(),
    },
)
JSON_BYTES = FIELDS.map(lambda fields: json.dumps(fields, ensure_ascii=False).encode())


def cut(raw: bytes, at: int, byte: int, keep: bool) -> bytes:
    """Overwrite a byte, or end there."""
    at %= len(raw)
    return raw[:at] + bytes([byte]) + raw[at + 1 :] if keep else raw[:at]


ANY_BYTES = st.one_of(
    JSON_BYTES,
    st.builds(cut, JSON_BYTES, st.integers(0, 999), st.integers(0, 255), st.booleans()),
    st.binary(max_size=30),
    JSON_BYTES.map(lambda raw: raw[:-1] + b"," + raw[1:]),  # every key twice
    JSON_BYTES.map(lambda raw: raw.replace(b": ", b" :\n")),
)


@given(st.lists(ANY_BYTES, max_size=6))
@settings(max_examples=50)
def test_every_message_is_an_event_or_has_a_reason_and_values_are_those_of_plain_json(
    values: list[bytes],
) -> None:
    got = Json().decode(values)
    assert sorted([*got.row.tolist(), *(row for row, _ in got.problems)]) == list(range(len(values)))
    assert all(reason for _, reason in got.problems)
    for at, row in enumerate(got.row.tolist()):
        event = json.loads(values[row].decode(errors="replace"))  # keys that mean nothing are not looked at
        assert got.model[at] == event["model"]
        assert got.version[at] == str(event.get("version", "unversioned"))
        assert got.prediction[at] == event.get("prediction")
        assert got.score[at] == event.get("score")
        assert got.scores[at] == event.get("scores")
        assert got.error[at] == event.get("error")
        assert got.tags[at] == event.get("tags")
        assert got.role[at] == event.get("role", "champion")
        assert json.loads(bytes(got.features[at])) == event.get("features", {})
        assert got.id_hash[at] == hash_strings(pa.array([event["event_id"]]))[0]
        if isinstance(event["timestamp"], int):
            assert got.event_ms[at] == event["timestamp"]


@given(st.lists(ANY_BYTES, min_size=2, max_size=4))
@settings(max_examples=50)
def test_neighbours_change_nothing(values: list[bytes]) -> None:
    together = Json().decode(values)
    alone = [Json().decode([value]) for value in values]
    assert together.row.tolist() == [i for i, one in enumerate(alone) if len(one)]
    assert sorted(together.problems) == [
        (i, one.problems[0][1]) for i, one in enumerate(alone) if one.problems
    ]
    assert together.event_ms.tolist() == [ms for one in alone for ms in one.event_ms.tolist()]


LATEST = datetime(9999, 12, 30, tzinfo=UTC)
INSTANTS = st.integers(0, round(LATEST.timestamp()) * 1_000_000).map(
    lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
)
FORMS = st.sampled_from(["%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S.%f+00:00", "%Y%m%dT%H%M%S.%fZ"])


@given(st.lists(st.tuples(INSTANTS, FORMS), min_size=1, max_size=5), st.booleans())
@example([(datetime(2041, 2, 2, 13, 40, 41, 321_000, tzinfo=UTC), "%Y%m%dT%H%M%S.%fZ")], False)
def test_timestamps_are_exact_to_the_millisecond_in_any_company(
    instants: list[tuple[datetime, str]], with_number: bool
) -> None:
    texts: list[str | int] = [
        instant.strftime(form.replace("%Y", f"{instant.year:04d}")) for instant, form in instants
    ]
    wanted = [(i - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) for i, _ in instants]
    event_ms, problems = read_timestamps([*texts, 5] if with_number else texts)
    assert problems == []
    assert event_ms[: len(texts)].tolist() == wanted


def test_offsets_of_a_timestamp_are_honoured() -> None:
    assert (
        read_timestamps(["2013-03-01T12:30:00+02:30", "2013-03-01T10:00:00Z"])[0].tolist()
        == [1_362_132_000_000] * 2
    )


def test_formats_are_found_by_name() -> None:
    assert "json" in catalog.formats()
    assert isinstance(catalog.build("json"), Json)
    with pytest.raises(UsageError, match=r"^'jsom' is not a format \(use one of .*json"):
        catalog.build("jsom")


# --- columns ----------------------------------------------------------------------------------------------


def test_an_event_with_more_keys_than_are_watched_is_counted_without_the_rest() -> None:
    columns = Columns({}, 500)
    decoder = FeatureDecoder(columns)
    raw = json.dumps({f"k{i}": i for i in range(2_000)}).encode()
    for _ in range(2):
        features, rows, problems = decoder.decode([raw, b'{"k0": 7}'])
        assert (len(features.numeric), rows.tolist(), problems) == (500, [0, 1], [])
        assert features.numbers[0].tolist() == [0.0, 7.0]
    assert len(columns.now.columns) == 500
    assert columns.ignored == 1_500


def test_an_event_whose_features_are_null_has_none() -> None:
    values = [message(features=None), message(), message(event_id="after", features=None)]
    got = Json().decode(values)
    assert (got.row.tolist(), got.problems) == ([0, 1, 2], [])
    assert [bytes(raw) for raw in got.features] == [b"{}", bytes(got.features[1]), b"{}"]


def test_features_of_a_megabyte_are_read_beside_small_ones() -> None:
    decoder = FeatureDecoder(Columns({}, 500))
    long = "x" * 1_000_000
    features, rows, problems = decoder.decode(
        [b'{"t": "a"}', json.dumps({"t": long}).encode(), b'{"t": "b"}']
    )
    assert (rows.tolist(), problems) == ([0, 1, 2], [])
    assert [features.categories[0].values[code].as_py() for code in features.categories[0].codes] == [
        "a",
        long,
        "b",
    ]


@pytest.mark.parametrize("values", [[True, False], [7, 8], ["a", "b"]])
def test_categories_are_read_by_arrow_again_after_a_restart(values: list[object]) -> None:
    """Not only texts: booleans and integers too, whose type the registered columns do not tell."""
    columns = Columns({"c": Kind.CATEGORICAL}, 500)
    columns.restore([ColumnSpec("c", Kind.CATEGORICAL, Source.FEATURE, ("c",))])
    decoder = FeatureDecoder(columns)
    raws = [json.dumps({"c": value}).encode() for value in values]
    first, _, _ = decoder.decode(raws)
    assert [column.spec.name for column in columns.now.fast] == ["c"]
    second, _, _ = decoder.decode(raws)
    for features in (first, second):
        found = features.categories[0]
        assert [found.values[code].as_py() for code in found.codes] == [str(v).lower() for v in values]


def test_a_registered_kind_wins_over_what_was_seen() -> None:
    columns = Columns({}, 500)
    decoder = FeatureDecoder(columns)
    decoder.decode([b'{"c": 1}'])
    columns.restore([ColumnSpec("c", Kind.CATEGORICAL, Source.FEATURE, ("c",))])
    features, _, _ = decoder.decode([b'{"c": 1}', b'{"c": "1"}'])
    assert features.categories[0].codes.tolist() == [0, 0]
    assert features.categories[0].values.to_pylist() == ["1"]


# --- batches ----------------------------------------------------------------------------------------------


def events_of(values: list[bytes], envelopes: Envelopes) -> Events:
    """Put the events of one fetch together."""
    events = Events()
    zeros = np.zeros(len(values), np.int64)
    events.extend(envelopes, None, Messages(values, values, zeros, np.arange(len(values)), zeros, {}))
    return events


def test_outputs_tags_and_numbers_become_columns_and_segments() -> None:
    values = [
        message(scores={"a": 0.5, "b": 0.25}, features={"hour": 3.0}),
        message(
            scores={"a": 1}, prediction=2, score=None, latency_ms=None, tags=None, features={"hour": None}
        ),
        message(prediction=None, error="timeout", scores=None, tags={"region": 7}, features={}),
    ]
    got = Json().decode(values)
    events = events_of(values, got)
    features, rows, _ = FeatureDecoder(Columns({}, 500)).decode(events.features)
    batch = make_batch(events, rows, features, Outputs().widened(events), ("region", "hour", "nowhere"))
    numeric = {
        spec.name: (n.tolist(), s.tolist())
        for spec, n, s in zip(batch.numeric, batch.numbers, batch.status, strict=True)
    }
    assert numeric == {
        "hour": ([3.0, 0.0, 0.0], [0, 1, 1]),
        "score": ([0.83, 0.0, 0.83], [0, 1, 0]),
        "score.a": ([0.5, 1.0, 0.0], [0, 0, 1]),
        "score.b": ([0.25, 0.0, 0.0], [0, 1, 1]),
        "latency_ms": ([4.2, 0.0, 4.2], [0, 1, 0]),
    }
    named = {
        spec.name: [c.values[code].as_py() if code >= 0 else code for code in c.codes.tolist()]
        for spec, c in [*zip(batch.categorical, batch.categories, strict=True)]
    }
    assert named == {"prediction": ["1", "2", CODE_MISSING], "error": [CODE_MISSING, CODE_MISSING, "timeout"]}
    segments = {
        name: [c.values[code].as_py() if code >= 0 else code for code in c.codes.tolist()]
        for name, c in (batch.segments or {}).items()
    }
    assert segments == {
        "region": ["eu", CODE_MISSING, "7"],
        "hour": ["3", CODE_MISSING, CODE_MISSING],
        "nowhere": [CODE_MISSING] * 3,
    }


def test_categories_of_any_scalars() -> None:
    found = to_categories(["a\0", "a\ufffd", None, 10**50, 3.0, 3, True, float("inf")])
    names = found.values.to_pylist()
    assert [names[code] if code >= 0 else code for code in found.codes.tolist()] == [
        "a\ufffd", "a\ufffd", CODE_MISSING, CODE_INVALID, "3", "3", "true", CODE_INVALID
    ]  # fmt: skip
    texts = to_categories(["a\0", "a\ufffd", None])
    assert texts.values.to_pylist() == ["a\ufffd"]
    assert texts.codes.tolist() == [0, 0, CODE_MISSING]


def test_features_that_cannot_be_read_are_handed_back_with_place_and_reason() -> None:
    features, rows, problems = FeatureDecoder(Columns({}, 9)).decode(
        [msgspec.Raw(b'{"a":1}'), b"{", b'{"a":2}']
    )
    assert (rows.tolist(), features.numbers.tolist()) == ([0, 2], [[1.0, 2.0]])
    assert [row for row, _ in problems] == [1]
    assert problems[0][1].startswith("features: ")
