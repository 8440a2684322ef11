"""Files that are not what they should be: missing, empty, not text, not YAML, not a mapping."""

import pytest

from monitor.config import examine, load
from monitor.config.loader import examine_text
from monitor.config.reader import read_text
from schemas.errors import ConfigurationError


def problems(text):
    return [str(problem) for problem in examine_text(text)[1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "driftline.yaml:1: is empty"),
        ("# only a comment\n", "driftline.yaml:1: is empty"),
        ("null\n", "driftline.yaml:1: is empty"),
        ("- a\n- b\n", "driftline.yaml:1: must be a mapping (key: value) at the top"),
        ("just text", "driftline.yaml:1: must be a mapping (key: value) at the top"),
        ("a: 1\nb: [1, 2\nc: 3\n", "driftline.yaml:3: is not YAML: "),
        ("a: 1\n\tb: 2\n", "driftline.yaml:2: is not YAML: "),
        ("a: 1\nb: 'open\n", "driftline.yaml:3: is not YAML: "),
        ("a: 1\nb: \x00\n", "driftline.yaml:2: is not YAML: character '\\x00' is not allowed here"),
        ("a: *nowhere\n", "driftline.yaml:1: is not YAML: found undefined alias"),
        ("a: 1\n---\nb: 2\n", "driftline.yaml:2: is not YAML: "),
        ("[" * 5_000, "driftline.yaml:1: is n"),
        ("a: 1\nb: 2\na: 3\n", "driftline.yaml:3: a: is given twice (first on line 1)"),
        ("models: {a: {}, b: {}, a: {}}", "driftline.yaml:1: models.a: is given twice (first on line 1)"),
        ("models:\n  1: {}\n", "driftline.yaml:2: models: key '1' is not text (write \"1\" in quotes)"),
        ("? [a, b]\n: c\n", "driftline.yaml:1: a key must be text, not a list or a mapping"),
        (
            "http: !!python/none x\n",
            "driftline.yaml:1: http: has the YAML tag 'tag:yaml.org,2002:python/none'",
        ),
        ("http: &a\n  host: *a\n", "driftline.yaml:1: http.host: refers to itself"),
        ("http: {port: 1" + "0" * 5_000 + "}", "driftline.yaml:1: http.port: '1000000"),
    ],
)
def test_problem(text, message):
    found = problems(text)
    assert any(problem.startswith(message) for problem in found), found


def test_a_file_that_is_not_there(tmp_path):
    file = tmp_path / "driftline.yaml"
    assert [str(problem) for problem in examine(str(file))[1]] == [
        f"{file}: cannot be read: No such file or directory"
    ]
    assert "Is a directory" in str(examine(str(tmp_path))[1][0])


def test_a_file_that_is_not_utf8(tmp_path):
    file = tmp_path / "driftline.yaml"
    file.write_bytes(b"a: 1\nb: \xff\n")
    assert [str(problem) for problem in examine(str(file))[1]] == [
        f"{file}:2: is not UTF-8 text (save the file as UTF-8)"
    ]


def test_a_byte_order_mark_is_no_problem(tmp_path):
    file = tmp_path / "driftline.yaml"
    file.write_bytes(
        b"\xef\xbb\xbf"
        + b"kafka: {bootstrap_servers: b}\ndatabase_url: sqlite:///d.db\nstreams: [{topic: p, kind: labels}]"
    )
    assert load(str(file)).kafka.bootstrap_servers == "b"


def test_load_raises_every_problem():
    with pytest.raises(ConfigurationError) as caught:
        load("/nowhere/driftline.yaml")
    assert caught.value.problems == ["/nowhere/driftline.yaml: cannot be read: No such file or directory"]


def test_anchors_and_merge_keys():
    data, positions, found = read_text("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\nc: *x\n")
    assert found == []
    assert data == {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}, "c": {"p": 1, "q": 2}}
    assert positions.line_of(("b", "q")) == 4


def test_merge_keys_take_mappings_only():
    _, _, found = read_text("a: &x [1]\nb:\n  <<: *x\n")
    assert [problem.message for problem in found] == ["must name a mapping (<<: *anchor)"]


def test_aliases_cannot_blow_up_memory():
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    assert any("holds too many values" in problem.message for problem in read_text(text)[2])


def test_timestamps_stay_text_and_yes_is_text():
    data, _, _ = read_text("a: 2026-01-01T00:00:00Z\nb: yes\nc: 0x10\nd: ~\ne: 1e3\n")
    assert data == {"a": "2026-01-01T00:00:00Z", "b": "yes", "c": 16, "d": None, "e": 1000.0}


def test_positions_of_keys_and_items_in_block_and_flow():
    _, positions, _ = read_text("a:\n  - x\n  - {b: 1,\n     c: [2,\n      3]}\n")
    lines = {
        path: positions.line_of(path) for path in [("a",), ("a", 1, "b"), ("a", 1, "c"), ("a", 1, "c", 1)]
    }
    assert lines == {("a",): 1, ("a", 1, "b"): 3, ("a", 1, "c"): 4, ("a", 1, "c", 1): 5}
    assert positions.line_of(("a", 1, "missing")) == 3
