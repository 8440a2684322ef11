"""What a check is: it says which rows of a batch break a rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from schemas.batch import CODE_INVALID, CODE_MISSING, INVALID, MISSING, OK, Batch, Categories
from schemas.column import Kind
from schemas.contract import ColumnRules, Contract, Rule
from schemas.expressions.truth import Truth

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """A situation in which a check promises something; the suite holds it to that.

    Parameters
    ----------
    contract : Contract
    clean : Batch
        No row breaks a rule of the check.
    bad : Batch
        Some rows do, also beside missing values.
    masks : mapping of str to list of bool
        Which rows of `bad` break the rule, by column; other columns are clean or not checked.
    """

    contract: Contract
    clean: Batch
    bad: Batch
    masks: Mapping[str, list[bool]]


class Check(ABC):
    """One kind of rule. A subclass in a file of this package is found by the catalog."""

    name: ClassVar[str]
    formula: ClassVar[str]
    """What is counted, in a sentence."""

    @abstractmethod
    def rule(self, column: str, contract: Contract) -> Rule | None:
        """Return the rule on a column; None if there is none of this kind."""

    @abstractmethod
    def masks(self, columns: Columns, contract: Contract) -> dict[str, Mask | None]:
        """Find the rows that break the rules; None where none does. Only columns with a rule are in it."""

    def skipped(self, _columns: Columns, _contract: Contract) -> dict[str, Mask]:
        """Find the rows that cannot be held against a rule, by column; columns without any are left out."""
        return {}

    def columns(self, contract: Contract) -> tuple[str, ...]:
        """Columns that the contract may have a rule of this kind for."""
        return tuple(rules.column for rules in contract.columns)

    def shown(self, column: str, _contract: Contract) -> tuple[str, ...]:
        """Columns whose values show what is wrong with a row."""
        return (column,)

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Example, ...]:
        """Return situations for the suite."""


class ColumnCheck(Check):
    """A check that looks at one column at a time, by what the contract says of it."""

    @abstractmethod
    def agreed(self, rules: ColumnRules) -> Rule | None:
        """Return the rule that a contract has for a column; None if there is none of this kind."""

    @abstractmethod
    def mask(self, rules: ColumnRules, values: Values) -> Mask | None:
        """Find the rows that break the rule; None if none does."""

    def rule(self, column: str, contract: Contract) -> Rule | None:
        """Return the rule on a column."""
        rules = contract.of(column)
        return None if rules is None else self.agreed(rules)

    def masks(self, columns: Columns, contract: Contract) -> dict[str, Mask | None]:
        """Look at the columns of the contract one by one."""
        return {
            rules.column: self.mask(rules, columns.values(rules.column))
            for rules in contract.columns
            if self.applies(rules)
        }

    @abstractmethod
    def applies(self, rules: ColumnRules) -> bool:
        """Whether a contract has a rule of this kind for a column."""


@dataclass(frozen=True)
class Values:
    """One column of a batch; a column that the batch does not have is missing in all rows.

    Parameters
    ----------
    rows : int
    kind : Kind or None
        None if the batch does not have the column.
    numbers : float64 array [n] or None
        Of a numeric column.
    categories : Categories or None
        Of a categorical column.
    status : uint8 array [n] or None
        Of a numeric column or a vector.
    is_clean : bool
        Every row is known to hold a valid value.
    """

    rows: int
    kind: Kind | None = None
    numbers: NDArray[np.float64] | None = None
    categories: Categories | None = None
    status: NDArray[np.uint8] | None = None
    is_clean: bool = False

    def missing(self) -> Mask | None:
        """Rows without a value; None if there are none."""
        if self.kind is None:
            return some(np.ones(self.rows, np.bool_))
        return self._where(MISSING, CODE_MISSING)

    def invalid(self) -> Mask | None:
        """Rows with a value of another type; None if there are none."""
        return None if self.kind is None else self._where(INVALID, CODE_INVALID)

    def present(self) -> Mask | None:
        """Rows with a value, of whatever type; None if there are none."""
        missing = self.missing()
        return some(np.ones(self.rows, np.bool_) if missing is None else ~missing)

    def valid(self, mask: Mask) -> Mask | None:
        """Leave of a mask over numbers only rows that hold one; None if that leaves none."""
        return some(mask if self.status is None else mask & (self.status == OK))

    def among(self, is_bad: Mask) -> Mask | None:
        """Rows whose category is among the bad ones; None if there are none."""
        if self.categories is None or not is_bad.any():
            return None
        # Codes -1 and -2 pick the last two entries.
        return some(np.concatenate((is_bad, [False, False]))[self.categories.codes])

    def _where(self, status: int, code: int) -> Mask | None:
        if self.is_clean:
            return None
        if self.categories is not None:
            return some(self.categories.codes == code)
        if self.status is None:
            return None
        return some(self.status == status)


class Columns:
    """The columns of a batch by name.

    Attributes
    ----------
    truths : dict of str to Truth
        Of the expressions that were evaluated already.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._numeric = {spec.name: i for i, spec in enumerate(batch.numeric)}
        self._categorical = {spec.name: i for i, spec in enumerate(batch.categorical)}
        self._vectors = {spec.name: status for spec, status in batch.vectors}
        self._values: dict[str, Values] = {}
        self.truths: dict[str, Truth] = {}

    @cached_property
    def _is_clean(self) -> list[bool]:
        clean: list[bool] = np.logical_not(self.batch.status.any(axis=1)).tolist()
        return clean

    def values(self, name: str) -> Values:
        """Return one column."""
        found = self._values.get(name)
        if found is None:
            found = self._values[name] = self._column(name)
        return found

    def _column(self, name: str) -> Values:
        rows, batch = len(self.batch), self.batch
        if (at := self._numeric.get(name)) is not None:
            status, is_clean = batch.status[at], self._is_clean[at]
            return Values(rows, Kind.NUMERIC, batch.numbers[at], status=status, is_clean=is_clean)
        if (at := self._categorical.get(name)) is not None:
            categories = batch.categories[at]
            is_clean = not rows or bool(categories.codes.min() >= 0)
            return Values(rows, Kind.CATEGORICAL, categories=categories, is_clean=is_clean)
        if name in self._vectors:
            return Values(rows, Kind.VECTOR, status=self._vectors[name])
        return Values(rows)


def some(mask: Mask) -> Mask | None:
    """Return the mask, or None if no row is in it."""
    return mask if mask.any() else None
