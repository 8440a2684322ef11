"""Contracts: equal ones are equal, what is written is read back, and faults are told with their place."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import cli
from monitor.config.reader import read_text
from monitor.config.settings import TASKS
from monitor.contracts.catalog import contract_of, export, exporters
from monitor.contracts.contract import Contract, problem_of
from monitor.contracts.document import parse, read_document
from monitor.contracts.patterns import fitting
from monitor.contracts.yaml_text import block, flow
from schemas.errors import ConfigurationError, UsageError

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
numbers = st.integers(-(10**9), 10**9) | st.floats(-1e300, 1e300, allow_nan=False)
shares = st.floats(0, 1)
POLICIES: tuple[dict[str, Any], ...] = (
    {}, {"action": "count"}, {"limit": 0.5}, {"limit": "5 rows", "severity": "page"},
    {"action": "quarantine", "stop": {"share": 0.5, "rows": 10}},
)  # fmt: skip
CONDITIONS = (
    {"expression": "a < b"}, {"expression": "a is null or c in ['x']", "limit": "5 rows", "show": ["c"]},
    {"expression": "a < b", "action": "quarantine", "severity": "page"},
)  # fmt: skip
scalars = texts | st.booleans() | numbers
plain_values = st.recursive(
    st.none() | scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=8
)


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@st.composite
def columns(draw):
    kind = draw(st.sampled_from(["numeric", "categorical", None]))
    options = {"kind": kind, "nullable": draw(st.booleans()), "required": draw(st.booleans())}
    if kind == "numeric":
        bounds = sorted(draw(st.lists(numbers, min_size=2, max_size=2)))
        options |= draw(st.sampled_from([{}, {"min": bounds[0]}, {"max": bounds[1]},
                                         {"min": bounds[0], "max": bounds[1]}]))  # fmt: skip
    if kind == "categorical":
        if draw(st.booleans()):
            options["values"] = draw(st.lists(scalars, min_size=1, max_size=4, unique_by=repr))
        if draw(st.booleans()):
            options["pattern"] = draw(st.sampled_from(["N[0-9]+", "^N[0-9]+$", "a|b", "(?i)^x", "x$", "é.*"]))
    for name in ("max_missing", "limit"):
        if draw(st.booleans()):
            options[name] = draw(shares | st.integers(0, 99).map(lambda n: f"{n} rows"))
    if draw(st.booleans()):
        options["severity"] = draw(st.sampled_from(["info", "warn", "page"]))
    if draw(st.booleans()):
        options |= {"unique": draw(st.booleans()), "freshness": draw(st.sampled_from(["2h", "90s"]))}
    if draw(st.booleans()):
        options |= {"personal": draw(st.booleans()), "rules": {"type": draw(st.sampled_from(POLICIES))}}
    if draw(st.booleans()):
        options["tolerance_psi"] = draw(st.floats(0, 10))
    return options


contracts = st.builds(
    Contract,
    st.dictionaries(names, columns(), max_size=4),
    task=st.none() | st.sampled_from(TASKS),
    positive_label=st.none() | scalars,
    segments=st.lists(names, max_size=3, unique=True).map(tuple),
    rules=st.dictionaries(names, st.sampled_from(CONDITIONS), max_size=2),
    freshness=st.none() | st.just("2h"),
    model=names,
    version=names,
)


@given(contracts, st.sampled_from(sorted(exporters())))
def test_what_is_exported_is_imported_the_same(contract: Contract, name: str):
    found = contract_of(parse(export(contract, name), "contract.yaml"))
    assert found == contract
    assert (found.model, found.version, found.notes) == (contract.model, contract.version, ())
    assert found.fingerprint == contract.fingerprint


@given(st.dictionaries(names, plain_values, min_size=1))
def test_yaml_is_read_as_it_is_meant(value):
    for text in (flow(value), "\n".join(block(value))):
        data, _, problems = read_text(text)
        assert [str(problem) for problem in problems] == []
        assert data == value


@given(columns())
def test_options_that_go_together_are_no_problem(options):
    assert problem_of(Contract({"x": options}).columns["x"]) is None


def test_an_unknown_task():
    with pytest.raises(UsageError, match=r"task: 'sorting' is no task \(use binary_classification"):
        Contract({}, task="sorting")


def test_equal_contracts_have_one_fingerprint():
    one = Contract({"a": {"min": 1}, "b": {"required": True}}, model="x", version="1")
    two = Contract({"b": {"limit": 0.0}, "a": {"kind": "numeric", "min": 1.0, "nullable": True}})
    assert one == two
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != Contract({"a": {"min": 2}, "b": {}}).fingerprint


@pytest.mark.parametrize(
    ("pattern", "extent", "valid", "invalid"),
    [
        ("^N[0-9]+$", "part", ["N1"], ["xN1", "N1x"]),
        ("AIR", "part", ["AIR", "xAIRx", "a\nAIR"], ["A"]),
        ("a|b", "part", ["xb", "ax"], ["c"]),
        ("^a|b$", "part", ["ax", "xb"], ["xa", "bx"]),
        ("N", "start", ["N", "Nx"], ["xN"]),
        ("a|b", "whole", ["a", "b"], ["ab"]),
        (r"x\$", "part", ["x$", "x$y"], ["x"]),
        ("(?i)air", "part", ["xAIR"], ["x"]),
    ],
)
def test_patterns_mean_the_same_in_full(pattern, extent, valid, invalid):
    fit = fitting(pattern, extent)
    assert [text for text in valid if not re.fullmatch(fit, text)] == []
    assert [text for text in invalid if re.fullmatch(fit, text) or re.search(fit, text)] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xfe{", "is not UTF-8 text"),
        (b'{"a": NaN}', "is not JSON: NaN is no JSON number"),
        (b'{"a": ', "is not JSON: "),
    ],
)
def test_files_that_hold_no_document(content, message, tmp_path):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(f"{file}: {message}")):
        read_document(str(file))


def test_yaml_with_faults_tells_the_line(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("kind: DataContract\nkind: Other\n")
    with pytest.raises(ConfigurationError, match=r"x\.yaml:2: kind: is given twice"):
        read_document(str(file))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"hello": 1}, "x.json: is no contract that is known, but a mapping with hello (known are"),
        ([1], "x.json: is no contract that is known, but a document of its own making"),
        ({"fields": [{"type": "string"}]}, "x.json: fields[0].name: is missing (give a text)"),
        ({"fields": [{"name": "a", "constraints": {"minimum": 2, "maximum": 1}}]},
         "x.json: fields[0]: 2 is greater than 1 (use max ≥ min)"),
        ({"signature": {"inputs": '[{"type": "tensor", "tensor-spec": {}}]'}},
         "x.json: signature.inputs[0]: is a tensor, whose numbers have no names (log the model with a"),
        ({"flavors": {}}, "x.json: signature: is missing or has no inputs"),
        ({"signature": {"inputs": "[{"}}, "x.json: signature.inputs: is not JSON: "),
        ({"kind": "DataContract", "apiVersion": "v2.2.2"}, "x.json: apiVersion: 'v2.2.2' cannot be read"),
        ({"kind": "DataContract", "schema": [{"name": n, "properties": [{"name": "a"}]} for n in "ab"]},
         "x.json: schema: has 2 tables, a, b (leave the one of the model)"),
        ({"properties": {"a": {"$ref": "other.json"}}},
         "x.json: properties.a[\"$ref\"]: 'other.json' is another file (use #/$defs/… in the same file)"),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, "refers to itself, or is nested too deeply"),
        ({"resources": []}, "x.json: resources: has 0 resources with a schema, none"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(document, message):
    with pytest.raises(UsageError) as error:
        contract_of(parse(json.dumps(document), "x.json"))
    assert message in str(error.value)


def test_an_unknown_format():
    with pytest.raises(UsageError, match=r"--format: 'avro' is no format \(use odcs\)"):
        export(Contract({}), "avro")


CONFIGURATION = """\
kafka: {bootstrap_servers: "127.0.0.1:9092"}
database_url: sqlite:///driftline.db
streams: [{topic: p, kind: predictions}]
defaults: {columns: {temp: {max_missing: 0.02}}}
models:
  flights: {task: regression, columns: {temp: {kind: numeric, min: -40}, carrier: {values: [UA, "NO"]}}}
"""


def test_export_of_a_configuration(tmp_path, capsys):
    file, written = tmp_path / "driftline.yaml", tmp_path / "contract.yaml"
    file.write_text(CONFIGURATION)
    assert (
        cli.run(["contract", "export", "-c", str(file), "--model", "flights", "--contract-version", "2.1"])
        == 0
    )
    written.write_text(capsys.readouterr().out)
    found = contract_of(read_document(str(written)))
    assert found == Contract(
        {"temp": {"kind": "numeric", "min": -40, "max_missing": 0.02}, "carrier": {"values": ["UA", "NO"]}},
        task="regression",
    )
    assert (found.model, found.version) == ("flights", "2.1")
    assert cli.run(["contract", "diff", str(file), str(written)]) == 0
    assert capsys.readouterr().out == "no changes\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "x"], "models: has no entry 'x' (there are: flights)"),
        (["--model", "flights", "--format", "x"], "--format: 'x' is no format (use odcs)"),
        ([], "Missing option '--model'"),
    ],
)
def test_export_of_what_is_not_there(arguments, message, tmp_path, capsys):
    file = tmp_path / "driftline.yaml"
    file.write_text(CONFIGURATION)
    assert cli.run(["contract", "export", "-c", str(file), *arguments]) == 2
    assert message in capsys.readouterr().err
