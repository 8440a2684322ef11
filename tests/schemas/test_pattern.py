"""Patterns take time linear in a value, so that whoever sends events does not choose how long they take."""

from schemas.checks.base import Columns
from schemas.checks.example_batches import batch
from schemas.checks.pattern import PatternCheck
from schemas.contract import ColumnRules, Contract


def test_a_pattern_that_others_take_for_ever_with_is_matched() -> None:
    values = ["a" * 50_000, "a" * 50_000 + "b"]
    contract = Contract((ColumnRules("tail", pattern="(a+)+|(a|a)*"),))
    masks = PatternCheck().masks(Columns(batch(categorical={"tail": values})), contract)
    mask = masks["tail"]
    assert mask is not None
    assert mask.tolist() == [False, True]
