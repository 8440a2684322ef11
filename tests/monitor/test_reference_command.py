"""``driftline reference``, and references that the configuration names as files, on both databases."""

import hashlib
import json
import logging

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import insert, select

from detectors.profile import Profile
from detectors.reference import Reference
from monitor import cli
from monitor.by_hand import who
from monitor.clock import ManualClock
from monitor.config import load
from monitor.frames import reference_from_frame
from monitor.judging.judge import Judge
from monitor.references.configured import ConfiguredReferences, build_configured
from monitor.references.lifecycle import load as load_reference
from monitor.references.lifecycle import promote
from monitor.store import audit, schema
from monitor.store.engine import create, immediate, reading
from monitor.store.tables import (
    model_column,
    model_version,
    partition_model,
    partition_state,
    reference,
    reference_pointer,
    slice_profile,
)
from monitor.telemetry import Telemetry
from tests.kit.tables import take_out_tables
from tests.monitor.test_frames_stream import through_the_stream

START_MS, MINUTE, HOUR = 1_362_132_000_000, 60_000, 3_600_000


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def engine(database_url):
    engine = create(database_url)
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def config(tmp_path, database_url):
    file = tmp_path / "driftline.yaml"
    file.write_text(f"""\
kafka: {{bootstrap_servers: "127.0.0.1:1"}}
database_url: "{database_url}"
streams: [{{topic: p, kind: predictions}}]
defaults: {{windows: [1h], reference: {{first: 1h, min_rows: 20}}}}
models:
  trained: {{reference: {{file: train.parquet, min_rows: 20}}}}
  broken: {{reference: {{file: nowhere.csv}}}}
""")
    return str(file)


@pytest.fixture
def run(config, capsys):
    def run(*arguments, json_too=True):
        code = cli.run(
            ["reference", arguments[0], "-c", config, *arguments[1:], *(["--json"] if json_too else [])]
        )
        out, err = capsys.readouterr()
        return code, json.loads(out) if json_too and out else out, err

    return run


def frame_of(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "timestamp": START_MS + np.arange(rows) * MINUTE,
            "temp": rng.normal(60, 10, rows).round(1),
            "carrier": rng.choice(["UA", "AA"], rows),
            "prediction": rng.integers(0, 2, rows),
        }
    )


def deliver(engine, model, version, profiles, hash_=None):
    with immediate(engine) as connection:
        rows = [
            {"model": model, "version": version, "slice_ms": start, "rows": p.rows, "sources": "{}",
             "bytes": p.to_bytes(), "reference_hash": hash_}
            for start, p in profiles.items()
        ]  # fmt: skip
        connection.execute(insert(slice_profile), rows)


def make_known(engine, *keys, first_ms=START_MS, newest_ms=START_MS + HOUR):
    """Register model versions, as ingestion does with their first events."""
    counts = dict.fromkeys(("fetched", "counted", "late", "future", "dead_lettered", "duplicates"), 0)
    with immediate(engine) as connection:
        connection.execute(
            insert(partition_state).values(
                topic="p", partition=0, kind="predictions", topic_id="", epoch=1, owner_token="t",
                next_offset=5,
                max_event_ms=newest_ms, reached_end=True, seen_at_ms=0, **counts,
            )
        )  # fmt: skip
        for model, version in keys:
            connection.execute(
                insert(model_version).values(
                    model=model, version=version, role="champion", first_slice_ms=first_ms, created_at_ms=0
                )
            )
        for model in {model for model, _ in keys}:
            connection.execute(
                insert(partition_model).values(
                    topic="p", partition=0, model=model, max_event_ms=newest_ms, arrived_at_ms=0
                )
            )


def pointers(engine):
    with reading(engine) as connection:
        rows = connection.execute(select(reference_pointer).order_by("model", "version", "revision"))
        return [(row.model, row.version, row.revision, row.hash, row.from_ms) for row in rows]


# --- build, list, show, promote ---------------------------------------------------------------------------


def test_a_table_becomes_a_reference_with_what_makes_it_traceable(engine, run, config, tmp_path):
    frame = frame_of()
    frame.to_csv(tmp_path / "train.csv", index=False)
    notes = ("--label", "team=ops", "--label", "run=3", "--commit", "abc123", "--mlflow-run", "r-1")
    code, built, _ = run("build", "--model", "m", "--from", str(tmp_path / "train.csv"), *notes)
    assert code == 0
    assert built["hash"] == reference_from_frame(frame, load(config).for_model("m")).hash
    assert (built["rows"], built["new"], built["since"]) == (200, True, None)
    code, found, _ = run("show", built["hash"][:6])
    assert code == 0
    digest = hashlib.sha256((tmp_path / "train.csv").read_bytes()).hexdigest()
    metadata = found["metadata"]
    assert (metadata["file"], metadata["training_data_sha256"]) == ("train.csv", digest)
    assert (metadata["commit"], metadata["mlflow_run"]) == ("abc123", "r-1")
    assert metadata["labels"] == {"team": "ops", "run": "3"}
    assert found["from"] == "2013-03-01T10:00:00.000Z"
    assert found["used_by"] == []
    carrier = next(column for column in found["columns"] if column["name"] == "carrier")
    assert carrier["bins"][0]["share"] == carrier["bins"][0]["count"] / 200
    assert sum(item["count"] for item in carrier["bins"]) == 200


def test_building_again_keeps_the_first_notes(engine, run, tmp_path):
    frame_of().to_parquet(tmp_path / "train.parquet")
    table = str(tmp_path / "train.parquet")
    _, first, _ = run("build", "--model", "m", "--from", table, "--commit", "one")
    _, again, _ = run("build", "--model", "m", "--from", table, "--commit", "two")
    assert (first["hash"], first["new"], again["new"]) == (again["hash"], True, False)
    assert run("show", first["hash"])[1]["metadata"]["commit"] == "one"


def test_list_and_show_for_people(engine, run, tmp_path):
    assert run("list", json_too=False)[1] == "no references yet\n"
    frame_of().to_parquet(tmp_path / "train.parquet")
    table = str(tmp_path / "train.parquet")
    _, out, _ = run("build", "--model", "m", "--version", "1", "--from", table, "--promote", json_too=False)
    assert "200 rows, 3 columns" in out
    assert "promoted from the first event on" in out
    with reading(engine) as connection:
        (entry,) = audit.listed(connection, None, None, 10)
    assert (entry.actor, entry.via, entry.detail) == (who(), "command", "from the first event on")
    assert entry.path.startswith("reference promote ")
    assert entry.path.endswith(" --model m --version 1")
    _, listed, _ = run("list", json_too=False)
    assert "200 rows  2013-03-01T10:00:00.000Z to 2013-03-01T13:20:00.000Z  train.parquet  m/1" in listed
    assert run("list", "--model", "other")[1] == {"items": []}
    assert len(run("list", "--model", "m")[1]["items"]) == 1
    _, shown, _ = run("show", listed.split()[0], json_too=False)
    assert "carrier (categorical feature)" in shown
    assert "promoted: m/1" in shown


def test_a_reference_is_promoted_at_the_next_window_unless_somebody_says_otherwise(
    engine, run, config, tmp_path
):
    frame_of().to_parquet(tmp_path / "train.parquet")
    settings = load(config).for_model("m")
    rows = frame_of(90).to_dict("records")
    deliver(engine, "m", "1", through_the_stream(rows, settings))
    table = str(tmp_path / "train.parquet")
    _, built, _ = run("build", "--model", "m", "--version", "1", "--from", table)
    promoted = ("promote", built["hash"][:10], "--model", "m", "--version", "1")
    assert run(*promoted, "--effective", "2013-03-01T10:30:20Z")[1]["since"] == "2013-03-01T10:30:00.000Z"
    assert run(*promoted, "--effective", "now")[1]["since"] == "2013-03-01T11:30:00.000Z"
    assert run(*promoted)[1]["since"] == "2013-03-01T12:00:00.000Z"
    assert [(p[2], p[4] - START_MS) for p in pointers(engine)] == [
        (1, 30 * MINUTE),
        (2, 90 * MINUTE),
        (3, 2 * HOUR),
    ]
    code, _, err = run(*promoted, "--effective", "2013-03-01T10:00:00Z")
    assert code == 2
    assert "a new one cannot begin before that" in err


def test_a_stretch_of_the_stream_becomes_a_reference(engine, run, config):
    settings = load(config).for_model("m")
    deliver(engine, "m", "1", through_the_stream(frame_of(120).to_dict("records"), settings))
    stretch = ("--from", "2013-03-01T10:00:00Z", "--to", "2013-03-01T11:00:00Z")
    code, built, _ = run("build", "--from-stream", *stretch, "--model", "m", "--version", "1")
    assert (code, built["rows"], built["from"]) == (0, 60, "2013-03-01T10:00:00.000Z")
    with reading(engine) as connection:
        assert load_reference(connection, built["hash"]).to_ms == START_MS + HOUR


def test_a_stretch_on_bins_already_is_refused(engine, run, config):
    settings = load(config).for_model("m")
    slices = through_the_stream(frame_of(120).to_dict("records"), settings)
    made = reference_from_frame(frame_of(120), settings)
    deliver(
        engine, "m", "1", {s: p.rebinned(made.binning, made.hash)[0] for s, p in slices.items()}, made.hash
    )
    stretch = ("--from", "2013-03-01T10:00:00Z", "--to", "2013-03-01T11:00:00Z")
    code, _, err = run("build", "--from-stream", *stretch, "--model", "m", "--version", "1")
    assert code == 2
    assert "60 of 60 rows of this stretch are counted on the bins of a reference already" in err
    code, _, err = run("build", "--from-stream", *stretch, "--model", "m", "--version", "2")
    assert code == 2
    assert "0 rows in this stretch of the stream (a reference needs at least 20" in err


def test_kinds_that_the_stream_has_registered_win(engine, run, tmp_path):
    with immediate(engine) as connection:
        connection.execute(
            insert(model_column).values(
                model="m", version="1", name="temp", kind="categorical", source="feature"
            )
        )
    frame_of().to_csv(tmp_path / "train.csv", index=False)
    _, built, _ = run("build", "--model", "m", "--version", "1", "--from", str(tmp_path / "train.csv"))
    columns = run("show", built["hash"])[1]["columns"]
    assert next(column for column in columns if column["name"] == "temp")["kind"] == "categorical"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "ab"], "there is no reference ab"),
        (["show", "xyz"], "'xyz' is no beginning of a reference's hash"),
        (["build", "--model", "m", "--from", "no.csv"], "no.csv: cannot be read: No such file"),
        (["build", "--model", "m", "--from", "x", "--promote"], "--promote needs --version"),
        (["build", "--model", "m", "--from", "x", "--effective", "now"], "it needs --promote"),
        (["build", "--model", "m", "--from", "x", "--label", "team"], "--label 'team' is not KEY=VALUE"),
        (
            ["build", "--model", "m", "--version", "1", "--from-stream", "--from", "x"],
            "--from-stream needs --to",
        ),
        (
            ["build", "--model", "m", "--version", "1", "--from-stream", "--from", "x", "--to", "y"],
            "--from: 'x'",
        ),
        (["promote", "ab", "--model", "m", "--version", "1", "--effective", "soon"], "--effective: 'soon'"),
    ],
)
def test_what_cannot_be_meant(engine, run, arguments, message):
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err


def test_an_ambiguous_prefix_is_refused(engine, run):
    with immediate(engine) as connection:
        for i in range(2):
            row = {
                "hash": f"abcd{i}" + "0" * 59,
                "bytes": b"",
                "rows": 1,
                "metadata": "{}",
                "created_at_ms": 0,
            }
            connection.execute(insert(reference).values(row))
    code, _, err = run("show", "abc")
    assert code == 2
    assert "more than one reference begins with abc (abcd000, abcd100; give more digits)" in err


def test_a_database_without_tables_is_unavailable(run, database_url):
    take_out_tables(database_url)
    code, _, err = run("list")
    assert code == 3
    said = "does not exist yet" if "sqlite" in database_url else "has no Driftline tables yet"
    assert f"{said} (run: driftline db upgrade" in err


# --- files that the configuration names -------------------------------------------------------------------


def judge_of(config, engine):
    return Judge(load(config), engine, ManualClock(START_MS), Telemetry())


def test_a_configured_file_is_built_once_for_all_versions(engine, config, tmp_path, monkeypatch):
    frame_of().to_parquet(tmp_path / "train.parquet")
    make_known(engine, ("trained", "1"), ("trained", "2"))
    judge_of(config, engine).sweep()
    found = pointers(engine)
    assert [(p[0], p[1], p[4]) for p in found] == [("trained", "1", 0), ("trained", "2", 0)]
    assert len({p[3] for p in found}) == 1
    with immediate(engine) as connection:
        row = {
            "model": "trained",
            "version": "3",
            "role": "champion",
            "first_slice_ms": 0,
            "created_at_ms": 0,
        }
        connection.execute(insert(model_version).values(row))
    monkeypatch.setattr(
        "monitor.references.configured.reference_from_file", lambda *_: pytest.fail("built again")
    )
    judge_of(config, engine).sweep()
    assert [p[1] for p in pointers(engine)] == ["1", "2", "3"]


def test_a_broken_file_is_complained_of_once_and_stops_nobody(engine, config, tmp_path, caplog):
    frame_of().to_parquet(tmp_path / "train.parquet")
    make_known(engine, ("broken", "1"), ("trained", "1"))
    judge = judge_of(config, engine)
    for _ in range(3):
        judge.sweep()
    assert [p[0] for p in pointers(engine)] == ["trained"]
    (complaint,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (complaint.model, complaint.version) == ("broken", "1")
    assert "nowhere.csv: cannot be read: No such file" in complaint.getMessage()
    frame_of(300).to_csv(tmp_path / "nowhere.csv", index=False)
    judge.sweep()
    assert [p[0] for p in pointers(engine)] == ["broken", "trained"]


def test_somebody_else_may_be_first(engine, config, tmp_path):
    frame_of().to_parquet(tmp_path / "train.parquet")
    settings, key = load(config).for_model("trained"), ("trained", "1")
    made = build_configured(engine, key, settings, {}, 0, tmp_path)
    assert isinstance(made, Reference)
    assert build_configured(engine, key, settings, {}, 0, tmp_path) is None
    assert ConfiguredReferences(engine, tmp_path).build(key, settings, {}, 0) is None
    with immediate(engine) as connection:
        assert not promote(connection, key, made.hash, from_ms=0, by="x", now_ms=0)
    assert isinstance(Profile(made.binning, made.hash).rows, int)
