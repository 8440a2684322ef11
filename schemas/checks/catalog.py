"""Find checks by walking the package: a new one is a new file and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from inspect import isabstract, isclass
from types import ModuleType

import schemas.checks as package
from schemas.batch import Batch
from schemas.checks.base import Check, Columns, Mask
from schemas.contract import Contract, RuleKey

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
    ['allowed', 'missing', 'pattern', 'probability', 'range', 'type']
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


def violations(batch: Batch, contract: Contract) -> list[tuple[RuleKey, Mask | None]]:
    """Hold a batch against a contract.

    Returns
    -------
    list of (RuleKey, bool array [n] or None)
        Every rule that the batch was held against, and which rows break it; None for no row.
    """
    columns = Columns(batch)
    return [
        (_key(check, column, contract), mask)
        for check in checks().values()
        for column, mask in check.masks(columns, contract).items()
    ]


def _key(check: Check, column: str, contract: Contract) -> RuleKey:
    known = contract.keys.get((check.name, column))
    if known is None:
        rule = check.rule(column, contract)
        known = RuleKey(check.name, column, "" if rule is None else rule.terms)
        contract.keys[check.name, column] = known
    return known
