"""Every importer: its examples become the contracts they should, and damaged documents a clear message."""

from __future__ import annotations

import copy
import json
import pkgutil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.contracts import importers as package
from monitor.contracts.catalog import Example, contract_of, importer_of, importers, read_contract
from monitor.contracts.contract import OPTIONS, problem_of
from monitor.contracts.document import Node
from monitor.contracts.yaml_text import block
from schemas.errors import UsageError

EXAMPLES = [
    pytest.param(name, example, id=f"{name}-{at}")
    for name, one in importers().items()
    for at, example in enumerate(one.examples())
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List every place in a document."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in below for place in places(item, (*path, key)))]


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Put something else in one place of a document."""
    if not path:
        return value
    result = copy.deepcopy(document)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return result


def test_every_module_is_an_importer():
    modules = {info.name for info in pkgutil.iter_modules(package.__path__)}
    assert set(importers()) == modules
    assert all(one.examples() for one in importers().values())


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_its_examples_are_read(name: str, example: Example):
    before = copy.deepcopy(example.document)
    contract = contract_of(Node("example", example.document))
    assert contract == example.contract
    assert contract.notes == example.contract.notes
    assert example.document == before


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_it_alone_knows_them(name: str, example: Example):
    document = Node("example", example.document)
    assert [one for one, importer in importers().items() if importer.matches(document)] == [name]
    assert importer_of(document) is importers()[name]


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_files_are_read_the_same(name: str, example: Example, kind: str, tmp_path):
    file = tmp_path / f"contract.{kind}"
    file.write_text(json.dumps(example.document) if kind == "json" else "\n".join(block(example.document)))
    assert read_contract(str(file)) == example.contract


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_options_are_those_of_the_configuration(name: str, example: Example):
    for options in example.contract.columns.values():
        assert set(options) <= set(OPTIONS)
        assert problem_of(options) is None
    assert all(note.startswith("left out: ") for note in example.contract.notes)


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
@given(data=st.data())
def test_damaged_documents_are_refused_or_read(name: str, example: Example, data: st.DataObject):
    strange = st.sampled_from([None, True, 7, -1.5, "x", "", [], {}, [None], {"x": 1}, [[1]], "(", 10**400])
    path = data.draw(st.sampled_from(places(example.document)))
    document = changed(example.document, path, data.draw(strange))
    try:
        contract = importers()[name].read(Node("damaged.json", document))
    except UsageError as refused:
        message = str(refused)
    else:
        message = "damaged.json: "
        assert all(problem_of(options) is None for options in contract.columns.values())
    assert message.startswith("damaged.json: ")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner)))  # fmt: skip
def test_whether_a_document_matches_can_always_be_said(value: Any):
    for importer in importers().values():
        assert importer.matches(Node("x", value)) in (True, False)
