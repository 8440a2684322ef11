"""What every check promises, by its own examples; a new check is a new file and is held to all of this."""

from __future__ import annotations

import copy
import sys
import types
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from schemas.batch import CODE_MISSING, MISSING, Batch, Categories
from schemas.checks.base import Check, Columns, Example
from schemas.checks.catalog import checks, declared, violations
from schemas.contract import ColumnRules, Contract, Tally
from schemas.policy import Limit

CASES = [
    pytest.param(check, example, id=f"{name}-{i}")
    for name, check in checks().items()
    for i, example in enumerate(check.examples())
]


def found(check: Check, batch: Batch, contract: Contract) -> dict[str, list[bool]]:
    """Rows that break the rules, by column; columns without any are left out."""
    masks = check.masks(Columns(batch), contract)
    assert all(mask is None or (mask.dtype == bool and mask.any()) for mask in masks.values())
    return {name: mask.tolist() for name, mask in masks.items() if mask is not None}


def content(batch: Batch) -> Any:
    return copy.deepcopy(
        (
            batch.event_ms.tolist(),
            batch.numbers.tolist(),
            batch.status.tolist(),
            [(c.codes.tolist(), c.values.to_pylist()) for c in batch.categories],
        )
    )


def without_values(batch: Batch) -> Batch:
    """The same batch with all values missing."""
    return replace(
        batch,
        numbers=np.zeros_like(batch.numbers),
        status=np.full_like(batch.status, MISSING),
        categories=tuple(Categories(np.full_like(c.codes, CODE_MISSING), c.values) for c in batch.categories),
    )


@pytest.mark.parametrize(("check", "example"), CASES)
def test_a_clean_batch_breaks_nothing_and_a_bad_one_exactly_what_is_declared(
    check: Check, example: Example
) -> None:
    assert found(check, example.clean, example.contract) == {}
    assert found(check, example.bad, example.contract) == example.masks


@pytest.mark.parametrize(("check", "example"), CASES)
def test_missing_values_break_no_other_rule(check: Check, example: Example) -> None:
    if check.name != "missing":
        assert found(check, without_values(example.bad), example.contract) == {}


@pytest.mark.parametrize(("check", "example"), CASES)
def test_an_empty_batch_breaks_nothing(check: Check, example: Example) -> None:
    nothing = example.bad.take(np.zeros(0, np.intp))
    assert found(check, nothing, example.contract) == {}
    assert all(mask is None for _, mask, _ in violations(nothing, example.contract))


@pytest.mark.parametrize(("check", "example"), CASES)
def test_the_batch_is_left_as_it_is(check: Check, example: Example) -> None:
    before = content(example.bad)
    first = found(check, example.bad, example.contract)
    assert content(example.bad) == before
    assert found(check, example.bad, example.contract) == first


@pytest.mark.parametrize(("check", "example"), CASES)
def test_rows_are_judged_one_by_one(check: Check, example: Example) -> None:
    order = np.random.default_rng(5).permutation(len(example.bad))
    wanted = {name: [mask[i] for i in order] for name, mask in example.masks.items()}
    assert found(check, example.bad.take(order), example.contract) == wanted


@pytest.mark.parametrize(("check", "example"), CASES)
def test_every_column_that_is_checked_has_a_rule_with_words(check: Check, example: Example) -> None:
    for column in check.masks(Columns(example.bad), example.contract):
        rule = check.rule(column, example.contract)
        assert rule is not None
        assert rule.words
        assert rule.fault
        assert rule.policy.limit == Limit()
    assert check.rule("nobody named this", Contract()) is None
    assert check.formula


def test_a_module_without_a_check_is_refused() -> None:
    module = types.ModuleType("idle")
    with pytest.raises(TypeError, match="idle declares no check"):
        declared(module)
    assert "idle" not in sys.modules


def test_columns_without_rules_are_not_looked_at() -> None:
    example = checks()["range"].examples()[0]
    assert violations(example.bad, Contract()) == []
    assert violations(example.bad, Contract((ColumnRules("age"), ColumnRules("other")))) == []


def test_vectors_are_of_a_type_and_may_be_missing() -> None:
    from schemas.column import ColumnSpec, Kind

    states = np.array([0, 1, 2], np.uint8)
    batch = Batch(
        np.arange(3),
        (),
        np.zeros((0, 3)),
        np.zeros((0, 3), np.uint8),
        vectors=((ColumnSpec("v", Kind.VECTOR), states),),
    )
    rules = ColumnRules("v", Kind.NUMERIC, low=0.0, counts_missing=True)
    broken = {
        key.check: None if mask is None else mask.tolist()
        for key, mask, _ in violations(batch, Contract((rules,)))
    }
    assert broken == {"missing": [False, True, False], "range": None, "type": [True, False, True]}


def test_other_terms_are_another_rule() -> None:
    check = checks()["range"]
    old, new = (check.rule("age", Contract((ColumnRules("age", high=high),))) for high in (120.0, 130.0))
    assert old is not None
    assert new is not None
    assert old.terms != new.terms
    assert old.words == "are above 120"


def test_a_tally_survives_its_plain_state() -> None:
    tally = Tally()
    example = checks()["range"].examples()[0]
    for key, mask, _ in violations(example.bad, example.contract):
        tally.add(key, 5, None if mask is None else example.bad.event_ms[mask])
    assert Tally.from_state(tally.state()).counts == tally.counts
    first = tally.state()[0]
    assert (first.rows, first.broken, first.first_ms, first.last_ms) == (5, 2, 0, 2_000)
