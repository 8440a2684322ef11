"""Find checks by walking the package: a new one is a new file and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from inspect import isabstract, isclass
from types import ModuleType
from typing import NamedTuple

import schemas.checks as package
from schemas.batch import Batch
from schemas.checks.base import Check, Columns, Mask
from schemas.contract import Contract, Rule, RuleKey

INFRASTRUCTURE = ("base", "catalog", "example_batches")


@cache
def checks() -> dict[str, Check]:
    """Return every check of the package by name, in alphabetical order.

    Raises
    ------
    TypeError
        If two checks have the same name, or a module declares none.

    Examples
    --------
    >>> list(checks())
    ['agreement', 'allowed', 'fresh', 'missing', 'pattern', 'probability', 'range', 'type']
    """
    found: dict[str, Check] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        if module in INFRASTRUCTURE:
            continue
        for kind in declared(importlib.import_module(f"{package.__name__}.{module}")):
            if kind.name in found:
                msg = f"two checks are named {kind.name!r}"
                raise TypeError(msg)
            found[kind.name] = kind()
    return dict(sorted(found.items()))


def declared(module: ModuleType) -> list[type[Check]]:
    """Checks that a module declares.

    Raises
    ------
    TypeError
        If there is none.
    """
    kinds = [
        kind
        for kind in vars(module).values()
        if isclass(kind) and issubclass(kind, Check) and kind.__module__ == module.__name__
        if not isabstract(kind)
    ]
    if not kinds:
        msg = f"{module.__name__} declares no check"
        raise TypeError(msg)
    return kinds


class Held(NamedTuple):
    """A rule that a batch was held against.

    Parameters
    ----------
    key : RuleKey
    broken : bool array [n] or None
        Which rows break it; None for no row.
    skipped : bool array [n] or None
        Which rows could not be held against it; None for no row.
    """

    key: RuleKey
    broken: Mask | None
    skipped: Mask | None = None


def violations(batch: Batch, contract: Contract) -> list[Held]:
    """Hold a batch against a contract; returns every rule that it was held against."""
    columns = Columns(batch)
    found = []
    for check in checks().values():
        masks = check.masks(columns, contract)
        skipped = check.skipped(columns, contract)
        found += [
            Held(_key(check, column, contract), mask, skipped.get(column)) for column, mask in masks.items()
        ]
    return found


def rules_of(contract: Contract) -> Iterator[tuple[RuleKey, Rule]]:
    """Every rule that a contract says, and what violations of it are counted by."""
    for check in checks().values():
        for column in check.columns(contract):
            rule = check.rule(column, contract)
            if rule is not None:
                yield _key(check, column, contract), rule


def _key(check: Check, column: str, contract: Contract) -> RuleKey:
    known = contract.keys.get((check.name, column))
    if known is None:
        rule = check.rule(column, contract)
        known = RuleKey(check.name, column, "" if rule is None else rule.counted_as)
        contract.keys[check.name, column] = known
    return known
