"""A table gives exactly the counts, kinds and hash that the same rows give as JSON events of a stream."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.profile import Profile, profile_batch
from detectors.reference import build
from monitor.config.settings import ModelSettings
from monitor.decode.batch import Events, Messages, make_batch
from monitor.decode.json import Json
from monitor.frames import Batches, frame_table, reference_from_file, reference_from_frame
from monitor.frames.names import KnownKinds
from monitor.profiling import ModelState
from schemas.column import Source

START_MS, MINUTE = 1_362_132_000_000, 60_000
INFINITE = {float("inf"): "1e999", float("-inf"): "-1e999"}


def settings_of(**options):
    return ModelSettings.model_validate(
        {"windows": ["5m"], "reference": {"min_rows": 2}, "segments": ["carrier", "flag"], **options}
    )


def text_of(value):
    """Write a value as JSON; infinity as a number that is too large."""
    if isinstance(value, float) and value in INFINITE:
        return INFINITE[value]
    if isinstance(value, list):
        return f"[{','.join(map(text_of, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(key)}:{text_of(item)}' for key, item in value.items())}}}"
    return json.dumps(value)


def nested(row):
    features: dict = {}
    for name, value in row.items():
        at = features
        *above, last = name.split(".")
        for key in above:
            at = at.setdefault(key, {})
        at[last] = value
    return features


def event_of(number, row):
    outputs = {name: row[name] for name in ("prediction", "latency_ms", "error", "score") if name in row}
    scores = {k.removeprefix("score."): v for k, v in row.items() if k.startswith("score.") and v is not None}
    known = {"timestamp", "event_id", *outputs, *(k for k in row if k.startswith("score."))}
    event = {"event_id": f"e{number}", "model": "m", "timestamp": row["timestamp"], **outputs}
    if outputs.get("prediction") is None and outputs.get("error") is None:
        event["error"] = "none was made"
    event["features"] = nested({name: value for name, value in row.items() if name not in known})
    return text_of(event | ({"scores": scores} if scores else {})).encode()


def through_the_stream(rows, chosen, split=3):
    """Profiles by slice, from JSON events in several batches."""
    state = ModelState(chosen, (), ())
    slices: dict[int, Profile] = {}
    messages = [event_of(number, row) for number, row in enumerate(rows)]
    for part in np.array_split(np.arange(len(rows)), split):
        values = [messages[i] for i in part]
        envelopes = Json().decode(values)
        assert envelopes.problems == []
        events = Events()
        zeros = np.zeros(len(part), np.int64)
        events.extend(envelopes, None, Messages(values, values, zeros, part.astype(np.int64), zeros, {}))
        features, kept, problems = state.decoder.decode(events.features)
        assert problems == []
        if len(kept):
            batch = make_batch(events, kept, features, state.widen(events), chosen.segments)
            found = profile_batch(batch, chosen.slice_ms, sample_rows=chosen.slice_sample_rows)
            for start, profile in found.items():
                slices.setdefault(start, Profile(sample_rows=chosen.slice_sample_rows)).merge(profile)
    return slices


def reference_of(slices, chosen):
    return build(
        slices,
        slice_ms=chosen.slice_ms,
        window_ms=chosen.windows[0].length_ms,
        segments=chosen.segments,
        max_segment_values=chosen.max_segment_values,
    )


def pooled(profiles):
    total = Profile()
    total.merge(*profiles)
    return total


def counts_of(profile):
    """Everything exact about a profile on cells; columns without a value do not matter."""
    named = {name: s for name, s in profile.summaries.items() if s.ok or s.invalid}
    order = sorted(range(len(profile.groups)), key=lambda i: profile.groups[i])
    place = {group: i for i, group in enumerate(order)}
    cells = {
        name: (
            c.shift,
            sorted(zip([place[g] for g in c.group], c.cell.tolist(), c.count.tolist(), strict=True)),
        )
        for name, c in profile.cells.items()
        if name in named
    }
    return (
        {name: (s.spec, s.ok, s.invalid, s.lowest, s.highest) for name, s in named.items()},
        [(profile.groups[i], int(profile.group_rows[i])) for i in order],
        cells,
    )


def from_table(table, chosen):
    slices: dict[int, Profile] = {}
    for batch in Batches(table, chosen):
        for start, profile in profile_batch(batch, chosen.slice_ms).items():
            slices.setdefault(start, Profile()).merge(profile)
    return slices


# The sign of a zero that is the smallest value depends on the order of rows: it is left out.
numbers = (st.floats(-1e30, 1e30) | st.sampled_from([0.0, 1.0, 2.5, 5e-324, *INFINITE])).map(
    lambda x: x + 0.0
)
whole = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
texts = st.sampled_from(["UA", "AA", "", "ünïcode", "007", "true", "NaN"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)
KINDS = {
    "float": (numbers, "float64"),
    "int": (whole, "Int64"),
    "text": (texts, "str"),
    "bool": (st.booleans(), "boolean"),
    "list": (st.lists(st.floats(-5, 5), max_size=3), "object"),
    "category": (st.sampled_from(["a", "b"]), "category"),
}


@st.composite
def tables(draw):
    """Rows as dictionaries, and the same rows as a frame with one dtype a column."""
    n = draw(st.integers(2, 30))
    columns = {"timestamp": (draw(st.lists(st.integers(0, 20 * MINUTE), min_size=n, max_size=n)), "int64")}
    columns["timestamp"] = ([START_MS + t for t in columns["timestamp"][0]], "int64")
    names = draw(st.lists(st.sampled_from(["x", "y", "user.age", "user.home.zip", "n"]), unique=True))
    chosen = {name: draw(st.sampled_from(sorted(KINDS))) for name in names}
    chosen |= draw(st.sampled_from([{}, {"carrier": "text"}, {"carrier": "category", "flag": "bool"}]))
    chosen |= draw(
        st.sampled_from(
            [
                {"prediction": kind, "latency_ms": "float", "error": "text"}
                for kind in ("int", "float", "text", "bool")
            ]
            + [
                {"prediction": "int", "score": "unit"},
                {"prediction": "text", "score.a": "unit", "score.b": "unit"},
            ]
        )
    )
    kinds = KINDS | {"unit": (st.floats(0, 1), "float64")}
    for name, kind in chosen.items():
        values, dtype = kinds[kind]
        if name == "error":
            values = values.filter(bool)
        is_finite = name in ("prediction", "latency_ms") and kind == "float"
        values = values.filter(lambda value: value not in INFINITE) if is_finite else values
        columns[name] = (draw(st.lists(st.none() | values, min_size=n, max_size=n)), dtype)
    if "error" not in columns:
        columns["error"] = ([None] * n, "object")
    for i, (prediction, error) in enumerate(zip(columns["prediction"][0], columns["error"][0], strict=True)):
        if prediction is None and error is None:
            columns["error"][0][i] = "none was made"
    frame = pd.DataFrame({name: pd.Series(values, dtype=dtype) for name, (values, dtype) in columns.items()})
    rows = [{name: values[i] for name, (values, _) in columns.items()} for i in range(n)]
    return rows, frame


OPTIONS = [
    {},
    {"task": "regression"},
    {"task": "binary_classification", "columns": {"x": {"kind": "categorical"}, "y": {"kind": "numeric"}}},
]


@settings(max_examples=60)
@given(tables(), st.sampled_from(OPTIONS), st.integers(1, 4))
def test_a_frame_counts_as_the_stream_does(made, options, split):
    rows, frame = made
    chosen = settings_of(**options)
    slices = through_the_stream(rows, chosen, split)
    found = from_table(frame_table(frame, KnownKinds(chosen, {})), chosen)
    assert {start: counts_of(p) for start, p in found.items()} == {s: counts_of(p) for s, p in slices.items()}
    if chosen.task is None or any(row["prediction"] is not None for row in rows):
        # With a task, a stream without a single prediction has the column all the same.
        assert reference_from_frame(frame, chosen).hash == reference_of(slices, chosen).hash


@settings(max_examples=20)
@given(tables())
def test_parquet_counts_as_the_stream_does(tmp_path_factory, made):
    rows, frame = made
    chosen = settings_of()
    file = tmp_path_factory.mktemp("tables") / "rows.parquet"
    frame.to_parquet(file)
    expected = reference_of(through_the_stream(rows, chosen), chosen)
    assert reference_from_file(file, chosen).hash == expected.hash


@pytest.fixture(scope="module")
def flights():
    """Several thousand rows with all that occurs in practice."""
    rng = np.random.default_rng(11)
    n = 6_000
    frame = pd.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(n)],
            "timestamp": START_MS + np.sort(rng.integers(0, 400 * MINUTE, n)),
            "temp": np.round(rng.normal(60, 15, n), 1),
            "distance": rng.integers(80, 3_000, n),
            "carrier": rng.choice(["UA", "AA", "DL", "B6"], n),
            "tailnum": [f"N{i}" for i in rng.integers(0, 4_000, n)],
            "flag": rng.random(n) < 0.3,
            "prediction": rng.integers(0, 2, n),
            "score": rng.random(n),
        }
    )
    frame.loc[rng.random(n) < 0.05, "temp"] = np.nan
    frame.loc[rng.random(n) < 0.02, "carrier"] = None
    return frame


def rows_of(frame):
    plain = frame.astype(object).where(frame.notna(), None)
    return plain.to_dict("records")


def test_csv_parquet_and_frame_give_the_hash_of_the_stream(flights, tmp_path):
    chosen = settings_of(sample_per_minute=6)
    expected = reference_of(through_the_stream(rows_of(flights), chosen, 7), chosen)
    flights.to_csv(tmp_path / "rows.csv", index=False)
    flights.to_parquet(tmp_path / "rows.parquet", row_group_size=500)
    shuffled = flights.sample(frac=1, random_state=2)
    assert reference_from_frame(flights, chosen).hash == expected.hash
    assert reference_from_frame(shuffled, chosen).hash == expected.hash
    assert reference_from_file(tmp_path / "rows.csv", chosen).hash == expected.hash
    assert reference_from_file(tmp_path / "rows.parquet", chosen).hash == expected.hash
    assert expected.relations is not None
    assert 200 < expected.relations.gram.rows < len(flights)  # a sample of them
    assert len(expected.relations.windows) == len(expected.windows)


def test_reading_in_small_parts_changes_nothing(flights, tmp_path, monkeypatch):
    chosen = settings_of()
    expected = reference_from_frame(flights, chosen)
    flights.to_csv(tmp_path / "rows.csv", index=False)
    flights.to_parquet(tmp_path / "rows.parquet")
    monkeypatch.setattr("monitor.frames.table.MOST_ROWS", 300)
    monkeypatch.setattr("monitor.frames.csv_file.MOST_ROWS", 300)
    monkeypatch.setattr("monitor.frames.csv_file.BLOCK_BYTES", 5_000)
    assert reference_from_file(tmp_path / "rows.csv", chosen).hash == expected.hash
    assert reference_from_file(tmp_path / "rows.parquet", chosen).hash == expected.hash


def test_registered_columns_decide_kinds_and_paths(flights, tmp_path):
    chosen = settings_of()
    state = ModelState(chosen, (), ())
    state.decoder.decode([b'{"distance": "far", "user.home": 1, "temp": 3.5}'])
    specs = {spec.spec.name: spec.spec for spec in state.columns.now.columns.values()}
    frame = flights.assign(**{"user.home": 1.5})
    columns = {spec.name: spec for spec in reference_from_frame(frame, chosen, specs).binning.columns}
    assert columns["distance"] == specs["distance"]
    assert columns["user.home"].path == ("user.home",)
    assert columns["temp"].source is Source.FEATURE
