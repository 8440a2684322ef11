"""``driftline init``: whatever it writes, ``driftline check`` accepts."""

from __future__ import annotations

import json
import logging
import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from monitor import cli
from monitor.config import load
from monitor.contracts.catalog import importers
from monitor.contracts.configured import read_any
from monitor.contracts.yaml_text import block
from tests.meta.project import ROOT

ROWS = 200


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def table() -> pa.Table:
    draw = random.Random(7)
    return pa.table(
        {
            "timestamp": pa.array([1_767_225_600_000 + at for at in range(ROWS)], pa.timestamp("ms", "UTC")),
            "temp": [None if at % 20 == 0 else draw.uniform(-10, 30) for at in range(ROWS)],
            "seats": [draw.randint(50, 400) for _ in range(ROWS)],
            "carrier": [draw.choice(["UA", "AA", "NO"]) for _ in range(ROWS)],
            "tail": [f"N{at}" for at in range(ROWS)],
            "new": [at % 2 == 0 for at in range(ROWS)],
            "plane": [{"age": at % 9, "maker": "B"} for at in range(ROWS)],
            "embedding": [[0.1, 0.2]] * ROWS,
            "bought": pa.array([0] * ROWS, pa.date32()),
            "nothing": pa.nulls(ROWS),
            'we"ird\n# name': ["a\n- b: {", *["c"] * (ROWS - 1)],
            "proba": [draw.random() for _ in range(ROWS)],
            "target": [draw.choice(["yes", "no"]) for _ in range(ROWS)],
        }
    )


@pytest.fixture
def made(tmp_path, capsys):
    def made(*arguments: str):
        file = str(tmp_path / "driftline.yaml")
        assert cli.run(["init", *arguments, "-o", file, "--force"]) == 0
        capsys.readouterr()
        assert cli.run(["check", "-c", file]) == 0, capsys.readouterr().err
        assert capsys.readouterr().out == f"{file}: fine (1 stream, 1 model, 0 receivers)\n"
        return file

    return made


@pytest.fixture
def parquet(tmp_path):
    pyarrow.parquet.write_table(table(), tmp_path / "flight-delay.parquet")
    return str(tmp_path / "flight-delay.parquet")


def test_of_a_table_only_kinds_are_rules(made, parquet):
    file = made("--from", parquet)
    [(name, model)] = load(file).models.items()
    assert (name, model.task, model.positive_label) == ("flight-delay", "binary_classification", "yes")
    assert {name: column.kind for name, column in model.columns.items()} == {
        "temp": "numeric", "seats": "numeric", "carrier": "categorical", "tail": "categorical",
        "new": "categorical", "plane.age": "numeric", "plane.maker": "categorical", "embedding": None,
        "bought": None, "nothing": None, 'we"ird\n# name': "categorical",
    }  # fmt: skip
    assert all(set(said) <= {"kind"} for said in read_any(file, None).columns.values())
    written = Path(file).read_text(encoding="utf-8")
    for comment in (
        '        # values: [AA, "NO", UA]\n',
        "        # max_missing: 0.11\n",
        '    # segments: [carrier, new, "we\\"ird\\n# name"]  # also',
        "    # target was taken for the label; events call it label\n",
        "      embedding: {}  # lists\n",
        "      tail:  # many values\n",
    ):
        assert comment in written


def test_comments_can_be_made_rules(made, parquet, tmp_path):
    file = tmp_path / "rules.yaml"
    lines = Path(made("--from", parquet)).read_text(encoding="utf-8").split("\n")
    file.write_text("\n".join(line.replace("        # ", "        ") for line in lines))
    columns = read_any(str(file), None).columns
    assert columns["carrier"] == {"kind": "categorical", "values": ["AA", "NO", "UA"], "max_missing": 0.01}
    assert columns["temp"]["min"] < -10 < 30 < columns["temp"]["max"]


def test_strict_makes_rules_of_what_was_seen(made, parquet):
    columns = read_any(made("--from", parquet, "--strict", "--model", "m"), "m").columns
    seats = table()["seats"].to_pylist()
    assert columns["seats"] == {"kind": "numeric", "min": min(seats), "max": max(seats), "nullable": False}
    assert columns["temp"]["max_missing"] == 0.05
    assert columns["new"]["values"] == [False, True]
    assert columns['we"ird\n# name']["values"] == ["a\n- b: {", "c"]
    assert "values" not in columns["tail"]


@pytest.mark.parametrize(
    ("label", "task", "positive"),
    [
        ([0, 1], "binary_classification", None),
        (["n", "y"], "binary_classification", "y"),
        (["a", "b"], "binary_classification", "b"),
        (["a", "b", "c"], "multiclass_classification", None),
        ([0.5, 1.25], "regression", None),
        (list(range(50)), "regression", None),
        (["a"], None, None),
    ],
)
def test_the_task_is_told_by_labels(label, task, positive, made, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("temp,answer\n" + "".join(f"{at},{label[at % len(label)]}\n" for at in range(60)))
    model = load(made("--from", str(file), "--label", "answer")).models["t"]
    assert (model.task, model.positive_label) == (task, positive)
    assert list(model.columns) == ["temp"]


@pytest.mark.parametrize("name", importers())
def test_of_a_contract_of_another_tool(name, made, tmp_path):
    for at, example in enumerate(importers()[name].examples()):
        source = tmp_path / f"contract{at}.yaml"
        source.write_text("\n".join(block(example.document)))
        assert read_any(made("--from", str(source), "--model", "m"), "m") == example.contract


def test_parts_of_the_event_are_no_columns(made, tmp_path, capsys):
    source = tmp_path / "MLmodel"
    inputs = [{"name": name, "type": "double"} for name in ("temp", "event_id", "label")]
    source.write_text("\n".join(block({"signature": {"inputs": json.dumps(inputs)}})))
    assert list(read_any(made("--from", str(source)), None).columns) == ["temp"]


def test_it_prints_and_does_not_replace(parquet, tmp_path, capsys):
    assert cli.run(["init", "--from", parquet]) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "x.yaml"
    assert cli.run(["init", "--from", parquet, "-o", str(file)]) == 0
    assert file.read_text() == printed
    assert cli.run(["init", "--from", parquet, "-o", str(file)]) == 2
    assert "is there already (use --force to replace it, or another name)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "more", "message"),
    [
        ("x.csv", "", [], "x.csv: "),
        ("x.csv", "a,b\n", [], "x.csv: has no rows (nothing can be inferred)"),
        ("x.csv", "a,b\n1,2\n3\n", [], "x.csv: CSV parse error"),
        ("x.csv", "a\n1\n", ["--label", "b"], "x.csv: --label: 'b' is no column (there are: a)"),
        ("x.csv", None, [], "x.csv: cannot be read: No such file or directory"),
        ("x", None, [], "x: cannot be read: No such file or directory"),
        ("x.json", "{}", [], "x.json: is no contract that is known, but a mapping with nothing"),
        ("x.json", '{"fields": []}', ["--strict"], "--strict is for tables; "),
        ("x.csv", "a\n1\n", ["--topic", "t"], "give either --from FILE or --topic TOPIC"),
        ("x.csv", "a\n1\n", ["-o", "/nowhere/x.yaml"], "/nowhere/x.yaml: cannot be written: No such file"),
    ],
)
def test_what_cannot_be_meant(name, content, more, message, tmp_path, capsys):
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    assert cli.run(["init", "--from", str(file), *more]) == 2
    assert message in capsys.readouterr().err


def test_the_example_of_the_page(made, tmp_path):
    page = (ROOT / "docs" / "contracts.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"<!-- (flights\.\w+) -->\n```\w+\n(.*?)```", page, re.DOTALL))
    source = tmp_path / "flights.csv"
    source.write_text(shown["flights.csv"])
    file = made("--from", str(source), "--label", "late")
    assert shown["flights.yaml"] in Path(file).read_text(encoding="utf-8")
