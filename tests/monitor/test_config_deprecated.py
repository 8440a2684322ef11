"""An option under its old name works as under its new one, says so, and is never given twice."""

import json
from functools import partial

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from monitor.cli import run
from monitor.commands import check
from monitor.config import deprecated, loader
from monitor.config.deprecated import RENAMED, Renamed, with_old_names
from monitor.config.loader import examine_text
from monitor.config.options_table import tables
from monitor.config.schema import json_schema

BASE = """\
kafka: {bootstrap_servers: "b:9092"}
database_url: sqlite:///d.db
streams: [{topic: p, kind: predictions}]
"""
WINDOW = Renamed("defaults.window_sizes", "defaults.windows", "1.2", "2.0")
OF_MODELS = Renamed("models.*.window_sizes", "models.*.windows", "1.2", "2.0")
OF_STREAMS = Renamed("streams.*.name", "streams.*.topic", "1.2", "2.0")
MOVED = Renamed("listen_port", "http.port", "1.2", "2.0")
EVERY = (WINDOW, OF_MODELS, OF_STREAMS, MOVED)


def test_an_old_name_does_what_the_new_one_does_and_says_so():
    text = f"{BASE}defaults:\n  slice: 1m\n  window_sizes: [10m]\n"
    configuration, problems = examine_text(text, renamed=EVERY)
    assert problems == []
    renamed, _ = examine_text(text.replace("window_sizes", "windows"))
    assert configuration.model_dump() == renamed.model_dump()
    assert [str(warning) for warning in configuration.advice()] == [
        "driftline.yaml:6: defaults.window_sizes: is now called defaults.windows "
        "(still works until version 2.0)"
    ]
    assert list(configuration.old_names) == configuration.advice()


def test_a_star_stands_for_each_model_or_item():
    text = BASE.replace("topic: p,", "name: p,") + (
        "models:\n  churn: {window_sizes: [10m]}\n  fraud: {windows: [20m]}\n  other: {window_sizes: [30m]}\n"
    )
    configuration, problems = examine_text(text, renamed=EVERY)
    assert problems == []
    assert configuration.streams[0].topic == "p"
    shown = [str(warning) for warning in configuration.old_names]
    assert [line.partition(" (")[0] for line in shown] == [
        "driftline.yaml:5: models.churn.window_sizes: is now called models.churn.windows",
        "driftline.yaml:7: models.other.window_sizes: is now called models.other.windows",
        "driftline.yaml:3: streams[0].name: is now called streams[0].topic",
    ]


def test_an_option_may_move_to_a_section_that_is_not_there_yet():
    configuration, problems = examine_text(f"{BASE}listen_port: 9_000\n", renamed=EVERY)
    assert problems == []
    assert configuration.http.port == 9_000
    configuration, _ = examine_text(f"{BASE}http:\nlisten_port: 9_000\n", renamed=EVERY)
    assert configuration.http.port == 9_000


def test_both_names_at_once_are_a_problem():
    text = f"{BASE}defaults:\n  windows: [10m]\n  window_sizes: [20m]\n"
    configuration, problems = examine_text(text, renamed=EVERY)
    assert configuration is None
    assert [str(problem) for problem in problems] == [
        "driftline.yaml:6: defaults.window_sizes: is now called defaults.windows, which is given too "
        "(delete this one)"
    ]


def test_what_is_wrong_under_an_old_name_is_found_on_its_line():
    _, problems = examine_text(f"{BASE}defaults:\n  slice: 1m\n  window_sizes: [10m, 5 min]\n", renamed=EVERY)
    assert [problem.line for problem in problems] == [6]
    assert "defaults.windows[1]: '5 min'" in str(problems[0])


@pytest.mark.parametrize("text", ["http: 8\nlisten_port: 9_000\n", "models: 4\n", "defaults: [x]\n"])
def test_a_file_that_is_wrong_anyway_is_told_as_ever(text):
    configuration, problems = examine_text(BASE + text, renamed=EVERY)
    assert configuration is None
    assert any("must be a mapping" in problem.message for problem in problems)


def test_without_the_line_in_the_list_the_old_name_is_unknown():
    _, problems = examine_text(f"{BASE}defaults: {{window_sizes: [10m]}}\n", renamed=())
    assert "is an unknown key; did you mean windows?" in str(problems[0])


def test_the_schema_marks_old_names_and_leaves_the_original_alone():
    before = json.dumps(json_schema())
    schema = with_old_names(json_schema(), EVERY)
    assert json.dumps(json_schema()) == before
    settings, stream = schema["$defs"]["ModelSettings"]["properties"], schema["$defs"]["Stream"]
    assert settings["window_sizes"]["deprecated"] is True
    assert settings["window_sizes"]["description"] == (
        "This is now called defaults.windows (still works until version 2.0)."
    )
    assert {**settings["window_sizes"], "description": 0} == {
        **settings["windows"], "description": 0, "deprecated": True
    }  # fmt: skip
    assert schema["properties"]["listen_port"]["deprecated"] is True
    assert "topic" not in stream["required"]
    data = {
        "kafka": {"bootstrap_servers": "b"}, "database_url": "sqlite:///d.db", "listen_port": 9_000,
        "streams": [{"name": "p", "kind": "predictions"}], "defaults": {"window_sizes": ["10m"]},
    }  # fmt: skip
    Draft202012Validator(schema).validate(data)


def test_the_page_of_options_lists_no_old_name():
    for one in RENAMED:
        assert f"| `{one.old.rpartition('.')[2]}` |" not in tables()


@pytest.mark.parametrize(
    ("old", "new"), [("a.b", "a.b"), ("models.*", "models.x"), ("models.*.a", "defaults.a"), ("a", "b.*")]
)
def test_places_that_do_not_fit_are_refused(old, new):
    with pytest.raises(ValueError, match="cannot become"):
        Renamed(old, new, "1", "2")


def test_check_warns_with_file_and_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check, "examine", partial(loader.examine, renamed=EVERY))
    file = tmp_path / "driftline.yaml"
    file.write_text(f"{BASE}listen_port: 9000\n")
    assert run(["check", "-c", str(file)]) == 0
    told = capsys.readouterr().err
    assert f"{file}:4: listen_port: is now called http.port (still works until version 2.0) (warning)" in told


def test_what_the_product_renames_leads_to_options_that_there_are():
    schema = with_old_names(json_schema())
    assert (schema == json_schema()) == (not deprecated.RENAMED)
