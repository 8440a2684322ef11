"""``driftline skew``: files on both sides, as people have them, and what it says of careless use."""

import doctest
import gzip
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from monitor import cli
from monitor.config.settings import ModelSettings
from monitor.skew import skew
from schemas.errors import UsageError

DOCS = Path(__file__).parents[2] / "docs"
START_MS, MINUTE = 1_767_225_600_000, 60_000
ROWS = 200


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def config(tmp_path):
    return configure(tmp_path, [{"topic": "p", "kind": "predictions"}])


def configure(tmp_path, streams):
    file = tmp_path / "driftline.yaml"
    options = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "database_url": "sqlite:///never-opened.db",
        "streams": streams,
        "models": {"fraud": {"columns": {"email": {"personal": True}}}},
    }
    file.write_text(json.dumps(options))
    return str(file)


def table():
    """A training table of which events can be made."""
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "event_id": [f"e-{at}" for at in range(ROWS)],
            "timestamp": pd.to_datetime(START_MS + np.arange(ROWS) * MINUTE, unit="ms", utc=True),
            "customer": [f"c-{at % 7}" for at in range(ROWS)],
            "wait": rng.integers(1, 300, ROWS).astype(float),
            "plan": rng.choice(["basic", "plus"], ROWS),
            "email": [f"u{at}@example.org" for at in range(ROWS)],
            "label": rng.integers(0, 2, ROWS),
        }
    )


def events_of(frame, model="fraud", **changed):
    """Messages with the features of rows, some of them changed."""
    features = frame.drop(columns=["event_id", "timestamp", "label"]).assign(**changed).to_dict("records")
    stamps = frame.timestamp.dt.as_unit("ms").astype("int64").tolist()
    return [
        {"event_id": id_, "model": model, "timestamp": at, "prediction": 1, "features": one}
        for id_, at, one in zip(frame.event_id, stamps, features, strict=True)
    ]


def write(path, events):
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(path)


def run(capsys, *arguments):
    code = cli.run(["skew", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def found(capsys, *arguments):
    """What JSON says, with the columns by their names."""
    code, out, err = run(capsys, *arguments, "--json")
    assert err == ""
    data = json.loads(out)
    return code, data, {column["name"]: column for column in data["columns"]}


def test_what_was_served_otherwise_is_told(tmp_path, config, capsys):
    rows = table()
    rows.to_parquet(tmp_path / "train.parquet")
    served = rows[rows.index % 10 != 9]
    messages = events_of(
        served, wait=served.wait * 60, email=served.email.where(served.index > 3, "x@example.org")
    )
    messages += [*events_of(rows[:3], model="another"), messages[0]]
    file = write(tmp_path / "events.jsonl", messages)
    code, data, columns = found(capsys, "-c", config, "fraud", tmp_path / "train.parquet", "--events", file)
    assert code == 1
    assert (data["model"], data["key"], data["limit"]) == ("fraud", ["event_id"], "0 % of rows")
    assert data["keys"] == {
        "training_rows": 200, "events": 181, "compared": 180, "training_only": 20, "events_only": 0,
        "training_without_key": 0, "events_without_key": 0, "training_repeated": 0, "events_repeated": 1,
        "training_ambiguous": 0, "events_ambiguous": 0, "unreadable": 0, "unpaired": 0,
    }  # fmt: skip
    assert list(columns) == ["wait", "email", "customer", "plan"]
    wait, email = columns["wait"], columns["email"]
    assert (wait["differ"], wait["share"], wait["above"]) == (180, 1.0, True)
    assert wait["patterns"] == [
        {"name": "factor", "rows": 180, "words": "events are 60 × the table (minutes → seconds)"}
    ]
    assert (wait["first_at"], wait["last_at"]) == ("2026-01-01T00:00:00.000Z", "2026-01-01T03:18:00.000Z")
    assert wait["examples"][1] == {
        "key": "e-1",
        "at": "2026-01-01T00:01:00.000Z",
        "training": f"{rows.wait[1]:g}",
        "events": f"{rows.wait[1] * 60:g}",
    }
    assert (email["by"]["value"], email["personal"]) == (4, True)
    assert {(one["key"], one["training"], one["events"]) for one in email["examples"]} == {
        (f"e-{at}", None, None) for at in range(3)
    }
    assert "example.org" not in json.dumps(data)
    assert columns["plan"]["share_high"] < 0.05
    assert data["training_only"] == []


def test_people_read_the_same(tmp_path, config, capsys):
    rows = table()
    rows.to_parquet(tmp_path / "train.parquet")
    file = write(tmp_path / "events.jsonl", [*events_of(rows, wait=rows.wait + 3), {"nonsense": 1}])
    code, out, _ = run(capsys, "-c", config, "fraud", tmp_path / "train.parquet", "--events", file)
    assert code == 1
    lines = out.splitlines()
    assert lines[0].endswith("train.parquet compared with their events, by event_id")
    assert "  1 messages cannot be read" in lines
    assert "    events are the table + 3 (200)" in lines
    assert (
        f"    e-0 at 2026-01-01T00:00:00.000Z: {rows.wait[0]:g} in the table, {rows.wait[0] + 3:g} in events"
        in lines
    )
    assert lines[-1] == "certainly more than 0 % of rows differ: wait"


@pytest.mark.parametrize(
    ("limit", "changed", "code"),
    [
        ("0", 0, 0), ("0", 1, 1), ("1 %", 0, 0), ("1%", 4, 0), ("1 %", 14, 1), ("0.01", 14, 1),
        ("5 rows", 5, 0), ("5 rows", 6, 1),
    ],
)  # fmt: skip
def test_the_limit_decides_the_exit_code(limit, changed, code, tmp_path, config, capsys):
    rows = table()
    rows.to_parquet(tmp_path / "train.parquet")
    file = write(
        tmp_path / "events.jsonl", events_of(rows, plan=rows.plan.where(rows.index >= changed, "gone"))
    )
    arguments = ["-c", config, "fraud", tmp_path / "train.parquet", "--events", file, "--fail-above", limit]
    got, _, columns = found(capsys, *arguments)
    assert (got, columns["plan"]["differ"], columns["plan"]["above"]) == (code, changed, bool(code))


def test_every_form_of_file_says_the_same(tmp_path, config, capsys):
    rows = table()
    rows.to_parquet(tmp_path / "train.parquet")
    rows.to_csv(tmp_path / "train.csv", index=False)
    served = rows.assign(wait=rows.wait.where(rows.index % 4 > 0, 0.0))
    events = events_of(served)
    write(tmp_path / "events.jsonl", events)
    with gzip.open(tmp_path / "events.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(event) + "\n" for event in events))
    served.to_parquet(tmp_path / "events.parquet")
    served.assign(model="fraud").to_csv(tmp_path / "events.csv", index=False)
    records = pa.Table.from_pandas(
        served.assign(model="fraud", prediction=1, timestamp=[e["timestamp"] for e in events])
    )
    with pa.ipc.new_stream(tmp_path / "events.arrow", records.schema) as writer:
        writer.write_table(records)
    arrow = configure(tmp_path, [{"topic": "p", "kind": "predictions", "format": "auto"}])
    expected: dict = {}
    for training in ("train.parquet", "train.csv"):
        for name in ("events.jsonl", "events.jsonl.gz", "events.parquet", "events.csv", "events.arrow"):
            code, _, columns = found(
                capsys, "-c", arrow, "fraud", tmp_path / training, "--events", tmp_path / name
            )
            one = {
                name: (column["by"], column["first_at"])
                for name, column in columns.items()
                if name != "label"
            }
            expected = expected or one
            assert (code, one) == (1, expected), (training, name)
    assert expected["wait"][0]["value"] == 50


@pytest.mark.parametrize("indent", [None, 2])
def test_long_lines_and_messages_over_several_lines(indent, tmp_path, config, capsys):
    rows = table()[:2].assign(plan="x" * 9_000)
    rows.to_parquet(tmp_path / "t.parquet")
    file = tmp_path / "events.json"
    file.write_text(json.dumps(events_of(rows)[0], indent=indent) + "\n\n")
    code, data, _ = found(capsys, "-c", config, "fraud", tmp_path / "t.parquet", "--events", file)
    assert (code, data["keys"]["compared"], data["keys"]["unreadable"]) == (0, 1, 0)


def test_several_files_are_read_together(tmp_path, config, capsys):
    rows = table()
    rows.to_parquet(tmp_path / "train.parquet")
    first = write(tmp_path / "a.jsonl", events_of(rows[:120]))
    rows[100:].drop(columns="label").to_parquet(tmp_path / "b.parquet")
    code, data, _ = found(
        capsys,
        "-c",
        config,
        "fraud",
        tmp_path / "train.parquet",
        "--events",
        first,
        "--events",
        tmp_path / "b.parquet",
    )
    assert (code, data["keys"]["compared"], data["keys"]["events_repeated"]) == (0, 200, 20)


def test_a_key_of_several_parts_under_other_names(tmp_path, config, capsys):
    rows = table()
    rows.rename(columns={"timestamp": "at", "customer": "who"}).drop(columns="event_id").to_parquet(
        tmp_path / "t.parquet"
    )
    late = rows.groupby("customer").wait.shift(1).fillna(rows.wait)
    file = write(tmp_path / "events.jsonl", events_of(rows, wait=late))
    arguments = ["-c", config, "fraud", tmp_path / "t.parquet", "--events", file]
    code, data, columns = found(capsys, *arguments, "--key", "who=customer", "--key", "at=timestamp")
    assert (code, data["key"], data["keys"]["compared"]) == (1, ["customer", "timestamp"], ROWS)
    assert [one["name"] for one in columns["wait"]["patterns"]] == ["stale"]
    assert columns["wait"]["examples"][0]["key"].startswith("c-")
    assert "customer" not in columns


def test_tags_and_nested_features_are_columns(tmp_path, config, capsys):
    frame = pd.DataFrame({"order": ["1", "2"], "user.age": [30, 41], "user.home.zip": ["007", "8"]})
    frame.to_parquet(tmp_path / "t.parquet")
    events = [
        {"event_id": f"x{at}", "model": "fraud", "timestamp": START_MS, "prediction": 1,
         "tags": {"order": at}, "features": {"user": {"age": age, "home": {"zip": zip_}}}}
        for at, age, zip_ in ((1, 30, "007"), (2, 40, 8), (3, 1, "x"))
    ]  # fmt: skip
    file = write(tmp_path / "events.jsonl", events)
    arguments = ["-c", config, "fraud", tmp_path / "t.parquet", "--events", file, "--key", "order=tags.order"]
    _, data, columns = found(capsys, *arguments)
    assert (data["keys"]["compared"], data["keys"]["events_only"]) == (2, 1)
    assert {name: {way: n for way, n in one["by"].items() if n} for name, one in columns.items()} == {
        "user.age": {"value": 1},
        "user.home.zip": {"type": 1},
    }
    _, _, columns = found(capsys, *arguments, "--any-type", "--column", "user.home.zip")
    assert [(name, one["differ"]) for name, one in columns.items()] == [("user.home.zip", 0)]


def test_a_feature_that_is_asked_for_and_never_served_differs_everywhere(tmp_path, config, capsys):
    rows = table()
    rows.to_parquet(tmp_path / "train.parquet")
    events = events_of(rows)
    for event in events:
        del event["features"]["plan"]
    file = write(tmp_path / "events.jsonl", events)
    arguments = ["-c", config, "fraud", tmp_path / "train.parquet", "--events", file]
    code, data, columns = found(capsys, *arguments)
    assert (code, data["training_only"]) == (0, ["plan"])
    code, data, columns = found(capsys, *arguments, "--column", "plan", "--column", "wait")
    assert (code, columns["plan"]["by"]["missing_in_events"], data["training_only"]) == (1, ROWS, [])


def test_messages_are_read_as_their_stream_says(tmp_path, capsys):
    rows = table()
    rows.to_parquet(tmp_path / "train.parquet")
    flat = [
        {"id": event["event_id"], "at": event["timestamp"], "out": 1, **event["features"]}
        for event in events_of(rows)
    ]
    file = write(tmp_path / "events.jsonl", flat)
    fields = {"event_id": "id", "timestamp": "at", "prediction": "out"}
    streams = [
        {"topic": "p", "kind": "predictions"},
        {"topic": "q", "kind": "predictions", "format": "flat", "model": "fraud", "fields": fields},
        {"topic": "other", "kind": "predictions", "model": "churn"},
        {"topic": "l", "kind": "labels"},
    ]
    arguments = ["-c", configure(tmp_path, streams), "fraud", tmp_path / "train.parquet", "--events", file]
    code, _, err = run(capsys, *arguments)
    assert (code, err) == (
        2,
        "--events: there are several streams (say with --topic which one the files are like: p, q)\n",
    )
    assert run(capsys, *arguments, "--topic", "q")[0] == 0
    code, _, err = run(capsys, *arguments, "--topic", "p")
    assert code == 2
    assert "there are no events of the model (200 messages cannot be read, the first: " in err
    code, _, err = run(capsys, *arguments, "--topic", "l")
    assert (code, err) == (2, "--topic: no stream of predictions is 'l' (there are: p, q, other)\n")


def test_messages_in_files_that_tell_no_time_have_none(tmp_path, capsys):
    rows = table()
    rows.to_parquet(tmp_path / "train.parquet")
    flat = [{"id": one["event_id"], "out": 1, **one["features"]} for one in events_of(rows, wait=-rows.wait)]
    stream = {"topic": "q", "kind": "predictions", "format": "flat", "model": "fraud"}
    config = configure(tmp_path, [{**stream, "fields": {"event_id": "id", "prediction": "out"}}])
    file = write(tmp_path / "events.jsonl", flat)
    _, _, columns = found(capsys, "-c", config, "fraud", tmp_path / "train.parquet", "--events", file)
    wait = columns["wait"]
    assert (wait["differ"], wait["first_at"], wait["examples"][0]["at"]) == (ROWS, None, None)


def test_requests_and_responses_that_came_apart(monkeypatch):
    from monitor.decode.catalog import every
    from monitor.decode.reading import Paired
    from monitor.skew.batch import Wanted
    from monitor.skew.messages import EventReader, Fetch

    paired = next(one for one in every() if isinstance(one, Paired))
    example = next(one for one in paired.examples() if one.other is not None)
    request, response = example.message, example.other
    assert response is not None
    reader = EventReader(paired.name, example.reading, Wanted(("event_id",)))
    fetches = [Fetch([one.value], dict(enumerate([one])).__getitem__) for one in (response, request, request)]
    batches = list(reader.read(fetches))
    assert sum(map(len, batches)) == len(paired.joined(request, response, example.reading))
    assert (reader.unpaired, reader.unreadable) == (1, 0)
    monkeypatch.setattr("monitor.skew.messages.MOST_WAITING", 0)
    reader = EventReader(paired.name, example.reading, Wanted(("event_id",)))
    assert list(reader.read(fetches)) == []
    assert (reader.unpaired, reader.unreadable) == (3, 0)


def test_numbers_beyond_floats_and_halves_of_characters(tmp_path, config, capsys):
    pd.DataFrame({"event_id": ["a", "b"], "x": [1.0, 2.0], "y": ["é", "u"]}).to_parquet(
        tmp_path / "t.parquet"
    )
    lines = [
        '{"event_id":"a","model":"fraud","timestamp":1,"prediction":1,"features":{"x":1e999,"y":"é"}}',
        '{"event_id":"b","model":"fraud","timestamp":1,"prediction":1,"features":{"x":%s,"y":"u"}}'
        % ("9" * 350),
    ]
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(lines))
    code, data, columns = found(capsys, "-c", config, "fraud", tmp_path / "t.parquet", "--events", file)
    assert code == 1
    assert data["keys"]["compared"] + data["keys"]["unreadable"] == 2
    assert columns["y"]["differ"] == 0


# --- careless use -----------------------------------------------------------------------------------------


def careless(tmp_path, config, capsys, frame, events, *arguments):
    frame.to_parquet(tmp_path / "t.parquet")
    file = write(tmp_path / "events.jsonl", events)
    code, out, err = run(capsys, "-c", config, "fraud", tmp_path / "t.parquet", "--events", file, *arguments)
    assert (code, out) == (2, "")
    return err.replace(f"{tmp_path}/", "").strip()


def test_keys_that_never_meet(tmp_path, config, capsys):
    rows = table()
    message = careless(
        tmp_path, config, capsys, rows.assign(event_id=rows.event_id.str.upper()), events_of(rows)
    )
    assert message == (
        "events.jsonl: none of 200 events has a key of the table (the table has 'E-0', 'E-1', 'E-2' …; "
        "events have 'e-0', 'e-1', 'e-2' …)"
    )


def test_personal_keys_are_not_shown(tmp_path, config, capsys):
    rows = table()
    frame = rows.assign(email=rows.email.str.upper())
    message = careless(tmp_path, config, capsys, frame, events_of(rows), "--key", "email")
    assert message == "events.jsonl: none of 200 events has a key of the table"
    file = write(tmp_path / "events.jsonl", events_of(rows, wait=rows.wait + 1))
    rows.to_parquet(tmp_path / "t.parquet")
    code, data, columns = found(
        capsys, "-c", config, "fraud", tmp_path / "t.parquet", "--events", file, "--key", "email"
    )
    assert (code, {one["key"] for one in columns["wait"]["examples"]}) == (1, {None})
    assert "example.org" not in json.dumps(data)


def test_a_key_that_is_not_there(tmp_path, config, capsys):
    rows = table()
    message = careless(tmp_path, config, capsys, rows.drop(columns="event_id"), events_of(rows))
    assert message == (
        "t.parquet: there is no column 'event_id' (--key names columns; there are: timestamp, customer, "
        "wait, plan, email, label)"
    )
    message = careless(tmp_path, config, capsys, rows, events_of(rows), "--key", "wait=order")
    assert message == "events.jsonl: none of 200 events has a key of order (see --key)"
    message = careless(tmp_path, config, capsys, rows, events_of(rows), "--entity", "who")
    assert message.startswith("t.parquet: there is no column 'who' (--entity names columns")
    assert careless(tmp_path, config, capsys, rows, events_of(rows), "--key", "=x") == (
        "--key: '=x' (NAME or COLUMN=NAME is allowed, as in order=event_id)"
    )
    assert "names a part twice" in careless(tmp_path, config, capsys, rows, [], "--key", "a", "--key", "a")


def test_a_key_that_is_not_unique(tmp_path, config, capsys):
    rows = table()
    message = careless(tmp_path, config, capsys, rows, events_of(rows), "--key", "customer")
    assert message == (
        "t.parquet: no row has a key of its own: the key is missing in 0 of 200 rows, and 200 share theirs "
        "with rows that differ (--key may be given for each part of a key)"
    )
    alone = rows.drop_duplicates("customer")
    message = careless(tmp_path, config, capsys, alone, events_of(rows), "--key", "customer")
    assert message == (
        "events.jsonl: the key customer stands for several events that differ, in all 7 rows that have any "
        "(--key may be given for each part of a key)"
    )


def test_nothing_to_compare(tmp_path, config, capsys):
    rows = table()
    assert (
        careless(tmp_path, config, capsys, rows[:0], events_of(rows)) == "t.parquet: there are no rows in it"
    )
    assert careless(tmp_path, config, capsys, rows, events_of(rows, model="other")) == (
        "events.jsonl: there are no events of the model (0 messages cannot be read)"
    )
    message = careless(tmp_path, config, capsys, rows[["event_id", "label"]], events_of(rows))
    assert message == "no feature is on both sides (table: none; events: customer, email, plan, wait)"
    message = careless(tmp_path, config, capsys, rows, events_of(rows), "--column", "age")
    assert message == "--column: the table has no feature 'age' (there are: customer, email, plan, wait)"
    assert careless(tmp_path, config, capsys, rows, [], "--fail-above", "many").startswith("--fail-above: ")
    assert careless(tmp_path, config, capsys, rows, [], "--from", "now") == (
        "--from and --to are for topics (leave them out, or --events)"
    )


def test_files_that_cannot_be_read(tmp_path, config, capsys):
    table().to_parquet(tmp_path / "t.parquet")
    (tmp_path / "empty").write_bytes(b"")
    for name, message in (("gone", "gone: cannot be read: "), ("empty", "empty: ")):
        for training, events in (("t.parquet", name), (name, "t.parquet")):
            code, _, err = run(
                capsys, "-c", config, "fraud", tmp_path / training, "--events", tmp_path / events
            )
            assert code == 2
            assert message in err


def test_a_wrong_instant_names_its_row(tmp_path, config, capsys):
    rows = table().assign(timestamp="2026-01-01")
    rows.loc[6, "timestamp"] = "soon"
    message = careless(tmp_path, config, capsys, rows, events_of(table()), "--key", "timestamp")
    assert message.startswith("t.parquet: row 7: timestamp: 'soon' is no instant (use RFC 3339")


# --- frames -----------------------------------------------------------------------------------------------


def test_frames_with_columns_of_every_type():
    training = pd.DataFrame(
        {
            "id": pd.array([2**60, 2**60 + 1, pd.NA], dtype="Int64"),
            "mixed": pd.Series([1, "1", None], dtype=object),
            "when": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"]),
            "kind": pd.Categorical(["a", "b", "a"]),
            "many": pd.Series([[1.0], None, [2.0]], dtype=object),
        }
    )
    events = training.iloc[[1, 0, 2]].reset_index(drop=True)
    found = skew(training, events, key="id")
    assert (found.keys.compared, found.keys.training_without_key, found.keys.events_without_key) == (2, 1, 1)
    assert {column.name: column.differ for column in found.columns} == dict.fromkeys(
        ("kind", "many", "mixed", "when"), 0
    )
    mixed = pd.Series([1, "1", None], dtype=object)
    changed = events.assign(mixed=mixed, many=None, when=events["when"] + pd.Timedelta(hours=1))
    found = skew(training, changed, key="id", examples=1)
    ways = {column.name: {way: n for way, n in column.by.items() if n} for column in found.columns}
    assert ways == {"mixed": {"type": 2}, "when": {"value": 2}, "many": {"missing_in_events": 1}, "kind": {}}
    assert training.columns.tolist() == ["id", "mixed", "when", "kind", "many"]


def test_a_frame_by_its_index_of_one_model():
    training = pd.DataFrame({"x": [1.0, 2.0]}, index=pd.Index(["a", "b"], name="event_id"))
    events = pd.DataFrame({"event_id": list("aabb"), "model": list("nmnm"), "x": [9.0, 1.0, 9.0, 2.5]})
    found = skew(training, events, model="m", settings=ModelSettings())
    assert [(column.compared, column.differ) for column in found.columns] == [(2, 1)]


def test_repeated_rows_count_once_and_contradictions_not_at_all():
    training = pd.DataFrame({"event_id": list("aabbc"), "x": [1, 1, 2, 3, 4]})
    events = pd.DataFrame({"event_id": list("abccdd"), "x": [1, 2, 4, 4, 5, 6]})
    keys = skew(training, events).keys
    assert (keys.compared, keys.training_repeated, keys.training_ambiguous) == (2, 1, 2)
    assert (keys.events_repeated, keys.events_ambiguous, keys.events_only) == (1, 0, 3)
    keys = skew(training, events.assign(x=[1, 2, 4, 5, 5, 6])).keys
    assert (keys.compared, keys.events_ambiguous) == (1, 1)


def test_what_came_before_is_told_by_time_alone():
    rng = np.random.default_rng(3)
    training = pd.DataFrame(
        {"event_id": map(str, range(60)), "who": ["a", "b"] * 30, "x": rng.normal(size=60), "at": range(60)}
    )
    late = training.groupby("who").x.shift(1).fillna(training.x)
    events = training.drop(columns="who").assign(x=late)

    def patterns(**columns):
        [x] = [
            one for one in skew(training, events.assign(**columns), entity="who").columns if one.name == "x"
        ]
        return [one.name for one in x.patterns], x.first_ms

    assert patterns(timestamp=START_MS + training["at"]) == (["stale"], START_MS + 2)
    assert patterns(timestamp=START_MS) == ([], START_MS)
    assert patterns() == ([], None)


def test_values_of_no_kind_are_refused_by_name():
    training = pd.DataFrame({"event_id": ["a", "b"], "x": [object(), 1]})
    with pytest.raises(
        UsageError, match=r"training: x: values of type object cannot be compared \(use numbers"
    ):
        skew(training, training)


def test_intervals_hold_for_all_columns_together():
    training = pd.DataFrame({"event_id": map(str, range(100)), **{f"x{at}": 0 for at in range(20)}})
    events = training.assign(x0=[1] * 4 + [0] * 96)
    [column] = [one for one in skew(training, events).columns if one.name == "x0"]
    [alone] = skew(training, events, columns=["x0"]).columns
    limits = [column.share.low, alone.share.low, 0.04, alone.share.high, column.share.high]
    assert limits == sorted(filter(None, limits))
    assert len(set(limits)) == 5


def test_examples_of_the_page():
    result = doctest.testfile(str(DOCS / "skew.md"), module_relative=False, encoding="utf-8")
    assert result.attempted > 3
    assert result.failed == 0
