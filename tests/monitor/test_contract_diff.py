"""``driftline contract diff``: compatible is what lets pass all that passed before."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitor import cli
from monitor.contracts.contract import Contract
from monitor.contracts.difference import changes, is_compatible
from monitor.contracts.yaml_text import block
from tests.monitor.test_contract import CONFIGURATION, contracts


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


CASES = [
    ("range wider", {"min": 0, "max": 9}, {"min": -1, "max": 10}, False),
    ("lower bound gone", {"min": 0}, {"kind": "numeric"}, False),
    ("range narrower", {"max": 9}, {"max": 8}, True),
    ("lower bound new", {"kind": "numeric"}, {"min": 0}, True),
    ("more values", {"values": ["a"]}, {"values": ["b", "a"]}, False),
    ("fewer values", {"values": ["a", "b"]}, {"values": ["a"]}, True),
    ("values new", {"kind": "categorical"}, {"values": ["a"]}, True),
    ("any value", {"values": ["a"]}, {"kind": "categorical"}, False),
    ("kind changed", {"kind": "numeric"}, {"kind": "categorical"}, True),
    ("kind fixed", {}, {"kind": "numeric"}, True),
    ("kind inferred", {"kind": "numeric"}, {}, False),
    ("pattern new", {"kind": "categorical"}, {"pattern": "a"}, True),
    ("pattern changed", {"pattern": "a"}, {"pattern": "b"}, True),
    ("pattern gone", {"pattern": "a"}, {"kind": "categorical"}, False),
    ("not nullable", {}, {"nullable": False}, True),
    ("nullable", {"nullable": False}, {}, False),
    ("required", {"required": False}, {}, True),
    ("optional", {}, {"required": False}, False),
    ("more missing", {"max_missing": 0.1}, {"max_missing": 0.2}, False),
    ("fewer missing", {"max_missing": 0.2}, {"max_missing": 0.1}, True),
    ("any missing", {"max_missing": 0.2}, {}, False),
    ("missing limited", {}, {"max_missing": 0.1}, True),
    ("higher limit", {}, {"limit": 0.1}, False),
    ("lower limit", {"limit": 0.1}, {}, True),
    ("louder", {"severity": "info"}, {"severity": "page"}, False),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "breaking"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_changes_of_a_column(old, new, breaking):
    found = changes(Contract({"x": old}), Contract({"x": new}))
    assert {change.breaking for change in found} == {breaking}
    assert found[0].place.startswith("columns.x.")


def test_columns_that_come_and_go():
    old = Contract({"a": {}, "b": {}})
    new = Contract({"b": {}, "c": {}, "d": {"required": False}}, task="regression")
    assert [(one.place, one.breaking, one.summary) for one in changes(old, new)] == [
        ("columns.a", True, "removed"),
        ("columns.c", True, "added, required"),
        ("task", False, "inferred → regression"),
        ("columns.d", False, "added, optional"),
    ]


@given(contracts)
def test_a_contract_does_not_differ_from_itself(contract):
    assert changes(contract, contract) == []


@given(contracts, contracts)
def test_no_changes_means_equal_contracts(one, two):
    assert (changes(one, two) == []) == (one == two)


@st.composite
def steps(draw):
    """Draw rules of one column, and a value with a share of missing ones."""

    def rules():
        said = {"kind": "numeric", "nullable": draw(st.booleans())}
        if draw(st.booleans()):
            said["min"] = draw(st.integers(0, 4))
        if draw(st.booleans()):
            said["max"] = draw(st.integers(4, 8))
        if draw(st.booleans()):
            said["max_missing"] = draw(st.sampled_from([0.0, 0.1, 0.5]))
        if draw(st.booleans()):
            said["limit"] = draw(st.sampled_from([0.0, 0.1, 0.5]))
        return said

    old, other = rules(), rules()
    # Few of all pairs are compatible; of those that differ in a rule or two, many are.
    changed = draw(st.sets(st.sampled_from(["nullable", "min", "max", "max_missing", "limit"]), max_size=2))
    new = {key: value for key, value in old.items() if key not in changed}
    new |= {key: value for key, value in other.items() if key in changed}
    return old, new, draw(st.integers(0, 8)), draw(st.sampled_from([0.0, 0.05, 0.3, 1.0]))


def suits(said, value, missing):
    """Whether a window with this value and share of missing ones keeps the rules."""
    low, high = said.get("min", value), said.get("max", value)
    limit = said.get("limit", 0)
    most = said.get("max_missing", 1 if said["nullable"] else limit)
    outside = 0 if low <= value <= high else 1 - missing
    return outside <= limit and missing <= most


@settings(max_examples=200)
@given(steps())
def test_what_suited_before_suits_after_compatible_changes(step):
    old, new, value, missing = step
    assume(is_compatible(changes(Contract({"x": old}), Contract({"x": new}))))
    assert suits(new, value, missing) or not suits(old, value, missing)


@pytest.fixture
def files(tmp_path):
    def write(name, content):
        file = tmp_path / name
        file.write_text(content if isinstance(content, str) else "\n".join(block(content)))
        return str(file)

    return write


def test_the_command(files, capsys):
    old = files("old.yaml", CONFIGURATION)
    new = files("new.yaml", CONFIGURATION.replace("min: -40", "min: -20").replace("[UA,", "[UA, AA,"))
    assert cli.run(["contract", "diff", old, new]) == 1
    assert capsys.readouterr().out == (
        "breaking  columns.temp.min: -40 → -20\n"
        "compatible  columns.carrier.values: more: AA\n"
        "1 breaking, 1 compatible\n"
    )
    assert cli.run(["contract", "diff", new, old, "--json", "--model", "flights"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["compatible"] is False
    assert [change["place"] for change in found["changes"]] == ["columns.carrier.values", "columns.temp.min"]
    assert found["old"]["file"] == new
    assert len(found["old"]["fingerprint"]) == 64


def test_a_contract_of_another_tool_and_its_notes(files, capsys):
    old = files("old.yaml", CONFIGURATION)
    new = files("table.yaml", {"fields": [
        {"name": "temp", "type": "number", "constraints": {"minimum": -50}, "format": "odd"},
        {"name": "carrier", "type": "string"},
    ]})  # fmt: skip
    assert cli.run(["contract", "diff", old, new]) == 1
    out, err = capsys.readouterr()
    assert err == f"{new}: left out: temp: format odd\n"
    assert "breaking  task: regression → inferred\n" in out
    assert "compatible  columns.temp.min: -40 → -50\n" in out


def test_usage(files, capsys):
    one = files("one.yaml", CONFIGURATION)
    two = files("two.yaml", CONFIGURATION + "  other: {}\n")
    assert cli.run(["contract", "diff", one, two]) == 2
    assert (
        "two.yaml: has 2 models: say which with --model (there are: flights, other)"
        in capsys.readouterr().err
    )
    assert cli.run(["contract", "diff", one, "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "nowhere.yaml: cannot be read: No such file or directory\n"
    assert (
        cli.run(["contract", "diff", one, files("bad.yaml", CONFIGURATION.replace("min: -40", "min: x"))])
        == 2
    )
    assert "bad.yaml:6: models.flights.columns.temp.min: " in capsys.readouterr().err
